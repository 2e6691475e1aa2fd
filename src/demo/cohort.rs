//! Who the simulated phones are: releases, operating systems, networks and regions, and the 24
//! cohorts that they make. An explanation of an alert names one or two of these dimensions.

use crate::model::probe::names;
use std::time::Duration;

/// A release of the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Release {
    /// The one that everybody knows to be good.
    V4_1_0,
    /// The new one.
    V4_2_0,
}

/// The operating system of a phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Os {
    /// Speaks as opentelemetry-android does: with `url.template` and a duration histogram.
    Android,
    /// Speaks as opentelemetry-swift does: without either.
    Ios,
}

/// How a phone is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// A few milliseconds to the first router.
    Wifi,
    /// Tens of milliseconds of radio before anything else.
    Cell,
}

/// Where a phone is. The back end stands in the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Region {
    /// Next door.
    EuWest,
    /// Across one ocean.
    UsEast,
    /// Far away, and still well within the objective.
    ApSouth,
}

names!(Release { V4_1_0 = "4.1.0", V4_2_0 = "4.2.0" });
names!(Os { Android = "Android", Ios = "iOS" });
names!(Network { Wifi = "wifi", Cell = "cell" });
names!(Region { EuWest = "eu-west", UsEast = "us-east", ApSouth = "ap-south" });

/// Phones that have everything in common; each cohort runs one instance of the SDK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cohort {
    /// The app's version.
    pub release: Release,
    /// The operating system.
    pub os: Os,
    /// How it is connected.
    pub network: Network,
    /// Where it is.
    pub region: Region,
}

// === impl Cohort ===

impl Cohort {
    /// The most instances of the SDK that a fleet may have.
    pub const LIMIT: usize = 24;

    /// Every combination, [`Cohort::LIMIT`] of them.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut cohorts = Vec::with_capacity(Self::LIMIT);
        for &release in Release::ALL {
            for &os in Os::ALL {
                for &network in Network::ALL {
                    for &region in Region::ALL {
                        cohorts.push(Self { release, os, network, region });
                    }
                }
            }
        }
        cohorts
    }
}

impl Os {
    /// The model that phones of this system report.
    #[must_use]
    pub const fn device_model(self) -> &'static str {
        match self {
            Self::Android => "Pixel 9",
            Self::Ios => "iPhone 16",
        }
    }

    /// `error.type` of a request that got no answer, as this system's HTTP client names it.
    #[must_use]
    pub const fn connection_error(self) -> &'static str {
        match self {
            Self::Android => "java.net.SocketTimeoutException",
            Self::Ios => "NSURLErrorTimedOut",
        }
    }

    /// `exception.type` of the crash that the script brings.
    #[must_use]
    pub const fn crash_type(self) -> &'static str {
        match self {
            Self::Android => "java.lang.NullPointerException",
            Self::Ios => "EXC_BAD_ACCESS",
        }
    }
}

impl Network {
    /// The radio's share of a request on a good day, milliseconds: lowest and highest.
    #[must_use]
    pub const fn radio_ms(self) -> (u64, u64) {
        match self {
            Self::Wifi => (2, 8),
            Self::Cell => (25, 55),
        }
    }
}

impl Region {
    /// The round trip to the back end on a good day.
    #[must_use]
    pub const fn round_trip(self) -> Duration {
        Duration::from_millis(match self {
            Self::EuWest => 12,
            Self::UsEast => 45,
            Self::ApSouth => 80,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// Guarantees one SDK instance a combination, and never more than the limit.
    #[test]
    fn cohorts_are_all_combinations_once() {
        let all = Cohort::all();
        assert_eq!(all.len(), Cohort::LIMIT);
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), Cohort::LIMIT);
    }
}
