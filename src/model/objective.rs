//! Service level objectives: what counts as good, how much of it there must be, when to page.

use super::labels::Labels;
use super::matcher::Where;
use super::probe::{Phase, names};
use crate::base::duration;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_128;

/// The identity of an indicator: selector, filter and threshold; not the SLO's name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct IndicatorId(pub u128);

/// A service level objective.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    /// Unique over all files; the alert's name.
    pub name: String,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Words for people.
    pub description: Option<String>,
    /// Where to read what to do.
    pub runbook: Option<String>,
    /// The share of events that must be good, above 0 and below 1.
    pub objective: f64,
    /// The rolling window in which it must hold.
    pub window: Duration,
    /// What is counted.
    pub indicator: Indicator,
    /// When the budget burns too fast.
    pub burn: Vec<BurnPair>,
    /// Phones: without any item for this long, where there was traffic the hour before, data is
    /// missing. Probes: derived from the schedule.
    pub absent_after: Duration,
    /// Labels added to the alerts.
    pub labels: Labels,
}

/// What an SLO counts.
#[derive(Clone, Debug, PartialEq)]
pub enum Indicator {
    /// Good: succeeded and took at most `under`.
    Latency {
        /// Which events.
        source: Source,
        /// Filter on their attributes.
        filter: Where,
        /// Inclusive threshold, nanoseconds.
        under_ns: u64,
        /// Of probes: measure this phase instead of the run's value.
        phase: Option<Phase>,
    },
    /// Good: succeeded.
    Availability {
        /// Which events.
        source: Source,
        /// Filter on their attributes.
        filter: Where,
    },
    /// Bad events against all events, each with a selector of its own.
    Ratio {
        /// Events that spend the budget.
        bad: Selector,
        /// Events that the budget is measured against.
        total: Selector,
    },
}

/// A source with its filter.
#[derive(Clone, Debug, PartialEq)]
pub struct Selector {
    /// Which events.
    pub source: Source,
    /// Filter on their attributes.
    pub filter: Where,
}

/// Which events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Runs of the probe of this name.
    Probe(String),
    /// Phones' HTTP client spans by method and templated path.
    Http {
        /// Upper case.
        method: String,
        /// The path template, `/rooms/{id}/messages`.
        path: String,
    },
    /// Phones' spans of this name.
    Span(String),
    /// Phones' log events of this name.
    Event(String),
}

/// How bad a burning budget is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Wake somebody.
    Page,
    /// Look at it in working hours.
    Ticket,
}

names!(Severity { Page = "page", Ticket = "ticket" });

/// A pair of windows: fires when `budget` of the whole window's budget was spent within `long` and
/// it still burns within `short`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BurnPair {
    /// The share of the budget spent when it fires, 0..1.
    pub budget: f64,
    /// The long window.
    pub long: Duration,
    /// The short window: decides how fast the alert resolves.
    pub short: Duration,
    /// Page or ticket.
    pub severity: Severity,
}

// === impl Slo ===

impl Slo {
    /// The share of events that may be bad.
    #[must_use]
    pub fn budget_ratio(&self) -> f64 {
        1.0 - self.objective
    }

    /// Whether its events come from a probe, and which.
    #[must_use]
    pub fn probe(&self) -> Option<&str> {
        match &self.indicator {
            Indicator::Latency { source: Source::Probe(name), .. }
            | Indicator::Availability { source: Source::Probe(name), .. } => Some(name),
            _ => None,
        }
    }
}

// === impl BurnPair ===

impl BurnPair {
    /// The burn rate at which it fires: budget × window ÷ long (SRE workbook, "Alerting on SLOs").
    #[must_use]
    pub fn factor(&self, window: Duration) -> f64 {
        self.budget * window.as_secs_f64() / self.long.as_secs_f64()
    }

    /// The largest burn rate that an objective admits, when everything fails.
    #[must_use]
    pub fn max_burn(objective: f64) -> f64 {
        1.0 / (1.0 - objective)
    }

    /// `1h/5m`, for annotations.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", duration::format(self.long), duration::format(self.short))
    }
}

/// The SRE workbook's pairs for a window: 2 % in 1 h / 5 m and 5 % in 6 h / 30 m page, 10 % in
/// 1 d / 2 h and in 3 d / 6 h make a ticket. Windows shorter than 28 d scale long and short with
/// them, whole slots each, the short one at least two.
#[must_use]
pub fn workbook_pairs(window: Duration) -> Vec<BurnPair> {
    const MINUTE: u64 = 60;
    const TABLE: [(f64, u64, u64, Severity); 4] = [
        (0.02, 60 * MINUTE, 5 * MINUTE, Severity::Page),
        (0.05, 360 * MINUTE, 30 * MINUTE, Severity::Page),
        (0.10, 1_440 * MINUTE, 120 * MINUTE, Severity::Ticket),
        (0.10, 4_320 * MINUTE, 360 * MINUTE, Severity::Ticket),
    ];
    let full = 28 * 86_400;
    let scale = |seconds: u64, slots: u64| {
        let scaled = if window.as_secs() >= full {
            seconds
        } else {
            // Scaled from 30 days, the window for which the table was made.
            seconds * window.as_secs() / (30 * 86_400)
        };
        Duration::from_secs((scaled / 10 * 10).max(slots * 10))
    };
    TABLE
        .into_iter()
        .map(|(budget, long, short, severity)| {
            let short = scale(short, 2);
            BurnPair { budget, long: scale(long, 2).max(short * 2), short, severity }
        })
        .collect()
}

// === impl Indicator ===

impl Indicator {
    /// The hash of everything that decides what is counted. The same in every version.
    #[must_use]
    pub fn id(&self) -> IndicatorId {
        IndicatorId(xxh3_128(self.canonical().as_bytes()))
    }

    /// The indicator in words that are unique to it, `latency probe=chat-echo under=100ms`.
    #[must_use]
    pub fn canonical(&self) -> String {
        match self {
            Self::Latency { source, filter, under_ns, phase } => {
                let phase = phase.map(|p| format!(" phase={}", p.as_str())).unwrap_or_default();
                format!("latency {source}{} under={under_ns}ns{phase}", Filter(filter))
            }
            Self::Availability { source, filter } => {
                format!("availability {source}{}", Filter(filter))
            }
            Self::Ratio { bad, total } => format!(
                "ratio bad {}{} total {}{}",
                bad.source,
                Filter(&bad.filter),
                total.source,
                Filter(&total.filter)
            ),
        }
    }

    /// `latency`, `availability` or `ratio`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Latency { .. } => "latency",
            Self::Availability { .. } => "availability",
            Self::Ratio { .. } => "ratio",
        }
    }
}

struct Filter<'a>(&'a Where);

impl std::fmt::Display for Filter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut matches = self.0.0.clone();
        matches.sort();
        for mut one in matches {
            one.values.sort();
            write!(f, " {}={:?}", one.key, one.values)?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Probe(name) => write!(f, "probe={name}"),
            Self::Http { method, path } => write!(f, "http={method} {path}"),
            Self::Span(name) => write!(f, "span={name}"),
            Self::Event(name) => write!(f, "event={name}"),
        }
    }
}

impl std::fmt::Debug for IndicatorId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees the workbook's factors for 30 days: 14.4, 6, 3, 1.
    #[test]
    fn factors_are_the_workbooks() {
        let window = Duration::from_secs(30 * 86_400);
        let factors: Vec<f64> = workbook_pairs(window)
            .iter()
            .map(|pair| (pair.factor(window) * 100.0).round() / 100.0)
            .collect();
        assert_eq!(factors, [14.4, 6.0, 3.0, 1.0]);
    }

    /// Guarantees that a short window scales its pairs and keeps two slots for the short one.
    #[test]
    fn short_windows_scale() {
        let pairs = workbook_pairs(Duration::from_secs(86_400));
        assert_eq!(pairs[0].long, Duration::from_secs(120));
        assert_eq!(pairs[0].short, Duration::from_secs(20));
        assert_eq!(pairs[3].long, Duration::from_secs(8_640));
    }

    /// Guarantees that name, objective and order of filters leave the counts alone.
    #[test]
    fn identity_is_what_is_counted() {
        use crate::model::matcher::AttributeMatch;
        let latency = |values: [&str; 2], under_ns| Indicator::Latency {
            source: Source::Span("send".to_owned()),
            filter: Where(vec![AttributeMatch {
                key: "os.name".to_owned(),
                values: values.iter().map(|v| (*v).to_owned()).collect(),
            }]),
            under_ns,
            phase: None,
        };
        assert_eq!(latency(["iOS", "Android"], 5).id(), latency(["Android", "iOS"], 5).id());
        assert_ne!(latency(["iOS", "Android"], 5).id(), latency(["iOS", "Android"], 6).id());
    }
}
