//! The weather of the demo world: what is wrong just now. The script changes it; the back end and
//! the phones read it at every request.

use super::cohort::{Cohort, Network, Region, Release};
use parking_lot::RwLock;
use std::fmt;
use std::time::Duration;

/// More faults at once than any script has; further ones are not taken.
const MAX_FAULTS: usize = 32;

/// The share of sessions that end in a crash on a good day.
const CALM_CRASH_RATIO: f64 = 0.0005;

/// Something that goes wrong. Its `Display` tells people what begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// Every request from a region takes longer.
    SlowRegion {
        /// Which.
        region: Region,
        /// By how much.
        extra: Duration,
    },
    /// The REST API answers 500.
    Errors {
        /// To this share of requests, 0..=1.
        ratio: f64,
    },
    /// A release crashes.
    Crashes {
        /// Which.
        release: Release,
        /// In this share of sessions, 0..=1.
        ratio: f64,
    },
    /// A network loses connections, those of the phones' reports too.
    DroppedNetwork {
        /// Which kind.
        network: Network,
        /// In which region.
        region: Region,
        /// This share of them, 0..=1.
        ratio: f64,
    },
    /// The WebSocket gateway holds every message back; REST and the feed are well.
    SlowChat {
        /// For this long.
        extra: Duration,
    },
}

/// The faults in force, shared by everybody in the demo world. Each change is seen whole.
#[derive(Debug, Default)]
pub struct Conditions {
    faults: RwLock<Vec<Fault>>,
}

// === impl Conditions ===

impl Conditions {
    /// A good day.
    #[must_use]
    pub fn calm() -> Self {
        Self::default()
    }

    /// Brings a fault; one that is there already stays single.
    pub fn begin(&self, fault: Fault) {
        let mut faults = self.faults.write();
        if !faults.contains(&fault) && faults.len() < MAX_FAULTS {
            faults.push(fault);
        }
    }

    /// Ends a fault.
    pub fn end(&self, fault: &Fault) {
        self.faults.write().retain(|known| known != fault);
    }

    /// Ends all faults.
    pub fn clear(&self) {
        self.faults.write().clear();
    }

    /// What a request from `region` takes longer.
    #[must_use]
    pub fn extra_delay(&self, region: Region) -> Duration {
        self.total(|fault| match fault {
            Fault::SlowRegion { region: slow, extra } if *slow == region => Some(*extra),
            _ => None,
        })
    }

    /// What a message through the WebSocket gateway takes longer.
    #[must_use]
    pub fn chat_delay(&self) -> Duration {
        self.total(|fault| match fault {
            Fault::SlowChat { extra } => Some(*extra),
            _ => None,
        })
    }

    /// The share of REST requests that are answered 500.
    #[must_use]
    pub fn error_ratio(&self) -> f64 {
        self.largest(0.0, |fault| match fault {
            Fault::Errors { ratio } => Some(*ratio),
            _ => None,
        })
    }

    /// The share of a cohort's connections that get nowhere.
    #[must_use]
    pub fn lost_ratio(&self, cohort: &Cohort) -> f64 {
        self.largest(0.0, |fault| match fault {
            Fault::DroppedNetwork { network, region, ratio }
                if *network == cohort.network && *region == cohort.region =>
            {
                Some(*ratio)
            }
            _ => None,
        })
    }

    /// The share of a release's sessions that end in a crash.
    #[must_use]
    pub fn crash_ratio(&self, release: Release) -> f64 {
        self.largest(CALM_CRASH_RATIO, |fault| match fault {
            Fault::Crashes { release: crashing, ratio } if *crashing == release => Some(*ratio),
            _ => None,
        })
    }

    fn total(&self, pick: impl Fn(&Fault) -> Option<Duration>) -> Duration {
        self.faults.read().iter().filter_map(pick).sum()
    }

    fn largest(&self, calm: f64, pick: impl Fn(&Fault) -> Option<f64>) -> f64 {
        let worst = self.faults.read().iter().filter_map(pick).fold(calm, f64::max);
        worst.clamp(0.0, 1.0)
    }
}

// === impl Fault ===

impl Fault {
    /// What people are told when it is over.
    #[must_use]
    pub fn relief(&self) -> String {
        match self {
            Self::SlowRegion { region, .. } => format!("{} is as fast as before", region.as_str()),
            Self::Errors { .. } => "the REST API answers again".to_owned(),
            Self::Crashes { release, .. } => {
                format!("release {} is rolled back: the crashing feature is off", release.as_str())
            }
            Self::DroppedNetwork { network, region, .. } => {
                format!("the {} in {} holds again", words(*network), region.as_str())
            }
            Self::SlowChat { .. } => "the chat gateway is as fast as before".to_owned(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SlowRegion { region, extra } => {
                let (region, ms) = (region.as_str(), extra.as_millis());
                write!(f, "{region} slows down: +{ms} ms on every request")
            }
            Self::Errors { ratio } => {
                write!(f, "the REST API answers 500 to {} of its requests", percent(*ratio))
            }
            Self::Crashes { release, ratio } => {
                let release = release.as_str();
                write!(f, "release {release} starts to crash: {} of its sessions", percent(*ratio))
            }
            Self::DroppedNetwork { network, region, ratio } => {
                let (network, region) = (words(*network), region.as_str());
                write!(f, "the {network} in {region} drops {} of its connections", percent(*ratio))
            }
            Self::SlowChat { extra } => {
                let ms = extra.as_millis();
                write!(f, "the chat gateway stalls: +{ms} ms on every WebSocket message")
            }
        }
    }
}

fn words(network: Network) -> &'static str {
    match network {
        Network::Wifi => "wifi",
        Network::Cell => "cellular network",
    }
}

fn percent(ratio: f64) -> String {
    format!("{:.0} %", ratio * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::cohort::Os;

    /// Guarantees that a fault hits exactly whom it names, and nobody after its end.
    #[test]
    fn a_fault_hits_whom_it_names() {
        let conditions = Conditions::calm();
        let phone =
            |network, region| Cohort { release: Release::V4_1_0, os: Os::Ios, network, region };
        let slow = Fault::SlowRegion { region: Region::ApSouth, extra: Duration::from_millis(400) };
        let dropped =
            Fault::DroppedNetwork { network: Network::Cell, region: Region::UsEast, ratio: 0.75 };
        let crashes = Fault::Crashes { release: Release::V4_2_0, ratio: 0.3 };
        for fault in [slow, slow, dropped, crashes] {
            conditions.begin(fault);
        }
        assert_eq!(conditions.extra_delay(Region::ApSouth), Duration::from_millis(400));
        assert_eq!(conditions.extra_delay(Region::EuWest), Duration::ZERO);
        assert_eq!(conditions.lost_ratio(&phone(Network::Cell, Region::UsEast)), 0.75);
        assert_eq!(conditions.lost_ratio(&phone(Network::Wifi, Region::UsEast)), 0.0);
        assert_eq!(conditions.lost_ratio(&phone(Network::Cell, Region::ApSouth)), 0.0);
        assert_eq!(conditions.crash_ratio(Release::V4_2_0), 0.3);
        assert_eq!(conditions.crash_ratio(Release::V4_1_0), CALM_CRASH_RATIO);
        assert_eq!(conditions.chat_delay(), Duration::ZERO);

        conditions.end(&slow);
        assert_eq!(conditions.extra_delay(Region::ApSouth), Duration::ZERO);
        assert_eq!(conditions.crash_ratio(Release::V4_2_0), 0.3);
        conditions.clear();
        assert_eq!(conditions.crash_ratio(Release::V4_2_0), CALM_CRASH_RATIO);
    }

    /// Guarantees the sentences that people read.
    #[test]
    fn faults_are_told_in_words() {
        let slow = Fault::SlowRegion { region: Region::ApSouth, extra: Duration::from_millis(400) };
        assert_eq!(slow.to_string(), "ap-south slows down: +400 ms on every request");
        assert_eq!(slow.relief(), "ap-south is as fast as before");
        let dropped =
            Fault::DroppedNetwork { network: Network::Cell, region: Region::UsEast, ratio: 0.75 };
        assert_eq!(
            dropped.to_string(),
            "the cellular network in us-east drops 75 % of its connections"
        );
    }
}
