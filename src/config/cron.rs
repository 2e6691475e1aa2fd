//! Checks cron expressions and knows how far apart they fire. When exactly is the business of the
//! probe's schedule; this only refuses what cannot be one.

use chrono::{Datelike, NaiveDate};
use std::time::Duration;

/// A cron expression, taken apart. Bit n is set when n fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cron {
    seconds: u64,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    /// Sunday is 0.
    weekdays: u64,
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// Days that hold the rarest firing, 29 February, more than once.
const CALENDAR_DAYS: usize = 9 * 366;

/// A field of an expression.
struct Field {
    what: &'static str,
    first: u32,
    last: u32,
    names: &'static [&'static str],
}

const FIELDS: [Field; 6] = [
    Field { what: "second", first: 0, last: 59, names: &[] },
    Field { what: "minute", first: 0, last: 59, names: &[] },
    Field { what: "hour", first: 0, last: 23, names: &[] },
    Field { what: "day of the month", first: 1, last: 31, names: &[] },
    Field { what: "month", first: 1, last: 12, names: &MONTHS },
    Field { what: "day of the week", first: 0, last: 7, names: &WEEKDAYS },
];

// === impl Cron ===

impl Cron {
    /// Reads five fields (minute to day of the week) or six (second first). Sunday is 0 or 7.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let written: Vec<&str> = text.split_whitespace().collect();
        let fields = match written.len() {
            5 => std::iter::once("0").chain(written).collect::<Vec<_>>(),
            6 => written,
            count => return Err(format!("a cron expression has 5 or 6 fields, not {count}")),
        };
        let masks: Vec<u64> = FIELDS
            .iter()
            .zip(fields)
            .map(|(field, text)| field.parse(text))
            .collect::<Result<_, _>>()?;
        let [seconds, minutes, hours, days, months, weekdays] =
            masks.try_into().map_err(|_| "a cron expression has 5 or 6 fields".to_owned())?;
        let sunday = weekdays >> 7 & 1;
        let cron =
            Self { seconds, minutes, hours, days, months, weekdays: weekdays & 0x7f | sunday };
        let every_day = (2..=31).fold(2, |mask, day| mask | 1 << day);
        if cron.days != every_day && cron.weekdays != 0x7f {
            return Err("day of the month and day of the week cannot both be restricted".to_owned());
        }
        Ok(cron)
    }

    /// The longest time between two firings, an hour of summer time aside; `None` when it never
    /// fires.
    pub(super) fn longest_gap(&self) -> Option<Duration> {
        let firings = self.seconds_of_day();
        let (first, last) = (*firings.first()?, *firings.last()?);
        let within = firings.iter().zip(firings.iter().skip(1)).map(|(a, b)| b - a).max();
        let mut longest = u64::from(within.unwrap_or(0));
        let start = NaiveDate::from_ymd_opt(2024, 1, 1)?;
        let days = start.iter_days().take(CALENDAR_DAYS).zip(0_u64..);
        let firing_days: Vec<u64> =
            days.filter(|(date, _)| self.fits(*date)).map(|(_, number)| number).collect();
        if firing_days.is_empty() {
            return None;
        }
        for (day, next) in firing_days.iter().zip(firing_days.iter().skip(1)) {
            let gap = (next - day) * 86_400 + u64::from(first) - u64::from(last);
            longest = longest.max(gap);
        }
        Some(Duration::from_secs(longest))
    }

    fn fits(&self, date: NaiveDate) -> bool {
        let has = |mask: u64, bit: u32| mask >> bit & 1 == 1;
        has(self.days, date.day())
            && has(self.months, date.month())
            && has(self.weekdays, date.weekday().num_days_from_sunday())
    }

    /// When it fires on a day, in seconds since midnight.
    fn seconds_of_day(&self) -> Vec<u32> {
        let has = |mask: u64, bit: u32| mask >> bit & 1 == 1;
        (0..86_400)
            .filter(|second| {
                has(self.hours, second / 3_600)
                    && has(self.minutes, second / 60 % 60)
                    && has(self.seconds, second % 60)
            })
            .collect()
    }
}

// === impl Field ===

impl Field {
    fn parse(&self, text: &str) -> Result<u64, String> {
        text.split(',').try_fold(0, |mask, part| Ok(mask | self.parse_part(part)?))
    }

    /// `*`, `7`, `1-5`, and each with `/2`.
    fn parse_part(&self, part: &str) -> Result<u64, String> {
        let wrong = || format!("`{}` is not a {}", super::scalar::quoted(part), self.what);
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<u32>().map_err(|_| wrong())?)),
            None => (part, None),
        };
        let (first, last) = if range == "*" {
            // Seven is Sunday again: a range over all days does not need it.
            (self.first, if self.names.len() == WEEKDAYS.len() { 6 } else { self.last })
        } else if let Some((first, last)) = range.split_once('-') {
            (self.value(first).ok_or_else(wrong)?, self.value(last).ok_or_else(wrong)?)
        } else {
            let value = self.value(range).ok_or_else(wrong)?;
            // `5/15` is short for `5-59/15`.
            (value, if step.is_some() { self.last } else { value })
        };
        let step = step.unwrap_or(1);
        if step == 0 || first > last {
            return Err(wrong());
        }
        Ok((first..=last).step_by(step as usize).fold(0, |mask, bit| mask | 1 << bit))
    }

    fn value(&self, text: &str) -> Option<u32> {
        let lower = text.to_ascii_lowercase();
        let named = (self.first..).zip(self.names).find(|(_, name)| **name == lower);
        let value = named.map(|(value, _)| value).or_else(|| text.parse().ok())?;
        (self.first..=self.last).contains(&value).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees the dialect: five or six fields, names, ranges, steps, Sunday twice.
    #[test]
    fn reads_crontabs_dialect() {
        let check = |text: &str, expected: Result<u64, &str>| {
            let gap = Cron::parse(text)
                .and_then(|cron| cron.longest_gap().ok_or_else(|| "never".to_owned()))
                .map(|gap| gap.as_secs());
            match expected {
                Ok(seconds) => assert_eq!(gap, Ok(seconds), "{text}"),
                Err(part) => {
                    assert!(gap.as_ref().is_err_and(|e| e.contains(part)), "{text}: {gap:?}");
                }
            }
        };
        check("*/5 * * * *", Ok(300));
        check("*/10 * * * * *", Ok(10));
        check("0 8-18/2 * * *", Ok(14 * 3_600));
        check("30 6 * * mon-fri", Ok(3 * 86_400));
        check("0 0 * * 0", Ok(7 * 86_400));
        check("0 0 * * 7", Ok(7 * 86_400));
        check("0 0 * * SUN", Ok(7 * 86_400));
        check("0 0 1 * *", Ok(31 * 86_400));
        check("0 0 29 2 *", Ok(1_461 * 86_400));
        check("0 0 30 2 *", Err("never"));
        check("0 0 1 * 1", Err("cannot both"));
        check("* * * *", Err("5 or 6 fields, not 4"));
        check("60 * * * *", Err("`60` is not a minute"));
        check("* * * * 8", Err("`8` is not a day of the week"));
        check("*/0 * * * *", Err("`*/0` is not a minute"));
        check("5-1 * * * *", Err("`5-1` is not a minute"));
        check("* * 0 * *", Err("`0` is not a day of the month"));
        check("@hourly", Err("5 or 6 fields, not 1"));
        check("", Err("not 0"));
    }
}
