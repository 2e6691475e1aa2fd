//! When targets are worked on, so that probes of them do not run.
//!
//! A window begins when its cron expression comes, by the clock of its zone, and lasts as long as it
//! says, by elapsed time. Windows that touch or overlap are one. A slot within is missed by
//! arrangement: it says nothing about the target.

use super::cron::{CronSchedule, parse_cron};
use super::spec::ProbeSpec;
use crate::base::clock::UnixNanos;
use crate::model::labels::Labels;
use chrono_tz::Tz;
use parking_lot::{Mutex, RwLock};
use std::sync::Arc;
use std::time::Duration;

/// So many windows that overlap are drawn together; after them it is asked again.
const MAX_JOINED: usize = 64;
/// So many windows are looked through for the last that ended.
const MAX_PASSED: usize = 10_000;
/// A window that ended longer ago matters to nobody.
const MAX_LOOKBACK: Duration = Duration::from_secs(800 * 86_400);

/// Windows that come again and again, and for which probes.
#[derive(Debug)]
pub struct Maintenance {
    /// Unique; said wherever a probe does not run because of it.
    pub name: String,
    /// As the user wrote it.
    pub expression: String,
    /// Whose clock decides.
    pub zone: Tz,
    /// From begin to end.
    pub length: Duration,
    /// Names of probes, with `*` for any part; empty means that labels alone decide.
    pub probes: Vec<String>,
    /// Labels that a probe must have.
    pub labels: Labels,
    schedule: CronSchedule,
    /// What was reckoned last, good until the next window begins or this one ends.
    reckoned: Mutex<Option<Reckoned>>,
}

/// A window that is open.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window {
    /// When it ends.
    pub until: UnixNanos,
    /// The maintenance's name.
    pub name: String,
}

/// How maintenance stands for a probe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rest {
    /// The open window that ends last.
    pub window: Option<Window>,
    /// When the last window ended that is over.
    pub ended: Option<UnixNanos>,
}

/// All maintenance. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Calendar(Arc<RwLock<Vec<Arc<Maintenance>>>>);

#[derive(Clone, Debug)]
struct Reckoned {
    from: UnixNanos,
    /// Exclusive.
    until: UnixNanos,
    rest: Rest,
}

// === impl Maintenance ===

impl Maintenance {
    /// Windows that begin by a cron expression.
    ///
    /// # Errors
    /// What is wrong with the expression, and what to write instead.
    pub fn new(
        name: &str,
        (expression, zone): (&str, Tz),
        length: Duration,
        probes: Vec<String>,
        labels: Labels,
    ) -> Result<Self, String> {
        Ok(Self {
            name: name.to_owned(),
            expression: expression.to_owned(),
            zone,
            length,
            probes,
            labels,
            schedule: parse_cron(expression, zone)?,
            reckoned: Mutex::default(),
        })
    }

    /// What it was made of, for comparisons.
    #[must_use]
    pub fn definition(&self) -> impl PartialEq + std::fmt::Debug + use<'_> {
        let Self { name, expression, zone, length, probes, labels, .. } = self;
        (name, expression, zone, length, probes, labels)
    }

    /// Whether it is for a probe of that name and with those labels.
    #[must_use]
    pub fn concerns(&self, name: &str, labels: &Labels) -> bool {
        let named = self.probes.is_empty() || self.probes.iter().any(|glob| fits(glob, name));
        named && self.labels.iter().all(|(name, value)| labels.get(name) == Some(value))
    }

    /// When the next window begins.
    #[must_use]
    pub fn next_after(&self, now: UnixNanos) -> Option<UnixNanos> {
        self.schedule.next_after(now)
    }

    /// How it stands at an instant.
    #[must_use]
    pub fn at(&self, now: UnixNanos) -> Rest {
        let mut reckoned = self.reckoned.lock();
        let fresh = reckoned.as_ref().filter(|known| known.from <= now && now < known.until);
        if let Some(known) = fresh {
            return known.rest.clone();
        }
        let found = self.reckon(now);
        reckoned.insert(found).rest.clone()
    }

    fn reckon(&self, now: UnixNanos) -> Reckoned {
        let begins = self.schedule.next_after(now.minus(self.length));
        if let Some(begins) = begins.filter(|begins| *begins <= now) {
            let until = self.end_of(begins, now);
            let window = Some(Window { until, name: self.name.clone() });
            return Reckoned { from: now, until, rest: Rest { window, ended: None } };
        }
        let until = begins.unwrap_or(UnixNanos(u64::MAX));
        Reckoned { from: now, until, rest: Rest { window: None, ended: self.last_end(now) } }
    }

    /// When the windows are over that follow from one that began, without a pause.
    fn end_of(&self, begins: UnixNanos, now: UnixNanos) -> UnixNanos {
        let mut until = begins.plus(self.length);
        let mut after = begins;
        for _ in 0..MAX_JOINED {
            match self.schedule.next_after(after).filter(|next| *next <= until) {
                Some(next) => (after, until) = (next, next.plus(self.length)),
                None => break,
            }
        }
        // However many were joined, the answer lies ahead.
        until.max(UnixNanos(now.0.saturating_add(1)))
    }

    /// The end of the last window before an instant at which none is open.
    fn last_end(&self, now: UnixNanos) -> Option<UnixNanos> {
        let mut back = self.length;
        let mut last = loop {
            let from = now.minus(self.length).minus(back);
            match self.schedule.next_after(from).filter(|begins| *begins <= now) {
                Some(begins) => break begins,
                None if back > MAX_LOOKBACK => return None,
                None => back = back.saturating_mul(2),
            }
        };
        for _ in 0..MAX_PASSED {
            match self.schedule.next_after(last).filter(|next| *next <= now) {
                Some(next) => last = next,
                None => break,
            }
        }
        Some(last.plus(self.length).min(now))
    }
}

/// The same definition; what was reckoned does not matter.
impl PartialEq for Maintenance {
    fn eq(&self, other: &Self) -> bool {
        self.definition() == other.definition()
    }
}

/// Whether a name fits a pattern in which `*` stands for any part.
#[must_use]
pub fn fits(glob: &str, name: &str) -> bool {
    let mut parts = glob.split('*');
    let Some(rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    let mut rest = rest;
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

// === impl Rest ===

impl Rest {
    /// How all of some maintenance stands together.
    #[must_use]
    pub fn of(all: &[Arc<Maintenance>], now: UnixNanos) -> Self {
        all.iter().map(|maintenance| maintenance.at(now)).fold(Self::default(), |sum, rest| Self {
            window: sum.window.max(rest.window),
            ended: sum.ended.max(rest.ended),
        })
    }
}

// === impl Calendar ===

impl Calendar {
    /// Puts other maintenance into force.
    pub fn replace(&self, all: Vec<Arc<Maintenance>>) {
        *self.0.write() = all;
    }

    /// The window that keeps a probe from running.
    #[must_use]
    pub fn window(&self, spec: &ProbeSpec, now: UnixNanos) -> Option<Window> {
        let all = self.0.read();
        let concerned = all.iter().filter(|one| one.concerns(&spec.name, &spec.labels));
        concerned.filter_map(|maintenance| maintenance.at(now).window).max()
    }
}

// === impl Window ===

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "in maintenance: {} until {}", self.name, self.until.to_rfc3339())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use chrono_tz::Europe::Berlin;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn at(text: &str) -> UnixNanos {
        let at = DateTime::parse_from_rfc3339(text).expect("a time");
        UnixNanos::from_seconds(at.timestamp() as u64)
    }

    fn windows(expression: &str, length: Duration) -> Maintenance {
        Maintenance::new("work", (expression, Berlin), length, Vec::new(), Labels::default())
            .expect("an expression")
    }

    /// Guarantees when a window is open, on days on which the clock changes too: it begins by the clock
    /// on the wall and lasts by elapsed time.
    #[test]
    fn windows_open_by_the_wall_and_close_by_elapsed_time() {
        let check = |begin: &str, end: &str| {
            let nightly = windows("30 1 * * *", HOUR * 2);
            let (begin, end) = (at(begin), at(end));
            let second = Duration::from_secs(1);
            assert_eq!(nightly.at(begin.minus(second)).window, None, "{begin:?}");
            for inside in [begin, begin.plus(HOUR), end.minus(second)] {
                let window = nightly.at(inside).window.expect("open");
                assert_eq!((window.until, window.name.as_str()), (end, "work"), "{inside:?}");
            }
            let over = nightly.at(end);
            assert_eq!((over.window, over.ended), (None, Some(end)));
            // Asked in any order, the answer is the same.
            assert!(nightly.at(begin).window.is_some());
            assert_eq!(nightly.at(end.plus(HOUR * 10)).ended, Some(end));
        };
        check("2026-11-24T01:30:00+01:00", "2026-11-24T03:30:00+01:00");
        // Two o'clock does not come: half past one plus two hours is half past four.
        check("2026-03-29T01:30:00+01:00", "2026-03-29T04:30:00+02:00");
        // Two o'clock comes twice.
        check("2026-10-25T01:30:00+02:00", "2026-10-25T02:30:00+01:00");
    }

    /// Guarantees that windows which overlap are one, and that frequent ones do not slow anybody down.
    #[test]
    fn windows_that_overlap_are_one() {
        let joined = windows("0,30 2 * * *", HOUR);
        let until = at("2026-11-24T03:30:00+01:00");
        let found = joined.at(at("2026-11-24T02:10:00+01:00")).window.expect("open");
        assert_eq!(found.until, until);
        let always = windows("* * * * *", HOUR);
        let mut now = at("2026-11-24T02:10:00+01:00");
        for _ in 0..100 {
            let window = always.at(now).window.expect("always open");
            assert!(window.until > now);
            now = window.until;
        }
        let yearly = windows("0 0 29 2 *", HOUR);
        assert_eq!(
            yearly.at(at("2026-01-01T00:00:00+01:00")).ended,
            Some(at("2024-02-29T01:00:00+01:00"))
        );
    }

    /// Guarantees which probes a window is for.
    #[test]
    fn probes_are_named_by_pattern_and_label() {
        let check = |glob: &str, name: &str, expected: bool| {
            assert_eq!(fits(glob, name), expected, "{glob} {name}");
        };
        check("chat-*", "chat-echo", true);
        check("chat-*", "chat-", true);
        check("chat-*", "my-chat-echo", false);
        check("*", "anything", true);
        check("chat", "chat", true);
        check("chat", "chat2", false);
        check("*-eu-*", "chat-eu-1", true);
        check("*a*a", "a", false);
        check("a*a", "aa", true);
        check("", "x", false);
        let labels = Labels::new([("region", "eu")]);
        let one = Maintenance::new("x", ("0 0 * * *", Berlin), HOUR, vec!["chat-*".into()], labels);
        let one = one.expect("valid");
        assert!(one.concerns("chat-a", &Labels::new([("region", "eu"), ("x", "y")])));
        assert!(!one.concerns("chat-a", &Labels::new([("region", "us")])));
        assert!(!one.concerns("feed", &Labels::new([("region", "eu")])));
    }
}
