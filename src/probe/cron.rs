//! Cron expressions as people write them, in their time zone.
//!
//! Five fields, or six with seconds first; Sunday is 0 or 7. The `cron` crate wants seconds always
//! and counts Sunday as 1, so numbers of weekdays are translated. A time that the clock skips in
//! spring runs once, right after the gap; one that it repeats in autumn runs once, the first time.

use crate::base::clock::UnixNanos;
use chrono::{DateTime, LocalResult, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use std::str::FromStr;

/// A schedule in a zone.
#[derive(Clone, Debug)]
pub struct CronSchedule {
    schedule: cron::Schedule,
    zone: Tz,
}

/// Reads an expression.
///
/// # Errors
/// In words, when it has not five or six fields or one of them is out of range.
pub fn parse_cron(expression: &str, zone: Tz) -> Result<CronSchedule, String> {
    let fields: Vec<&str> = expression.split_whitespace().collect();
    let (seconds, rest) = match fields.as_slice() {
        rest @ [_, _, _, _, _] => ("0", rest),
        [seconds, rest @ ..] if rest.len() == 5 => (*seconds, rest),
        _ => {
            let found = fields.len();
            return Err(format!(
                "a cron expression has 5 fields, or 6 with seconds first; this has {found}"
            ));
        }
    };
    let [minute, hour, day, month, weekday] = rest else {
        return Err("a cron expression has five fields after the seconds".to_owned());
    };
    let weekday = translate_weekdays(weekday)?;
    let translated = format!("{seconds} {minute} {hour} {day} {month} {weekday}");
    let schedule = cron::Schedule::from_str(&translated)
        .map_err(|error| format!("`{expression}` is not a cron expression: {error}"))?;
    Ok(CronSchedule { schedule, zone })
}

impl CronSchedule {
    /// The first slot after an instant; none when there is none left.
    #[must_use]
    pub fn next_after(&self, after: UnixNanos) -> Option<UnixNanos> {
        let seconds = i64::try_from(after.0 / 1_000_000_000).ok()?;
        let instant = DateTime::<Utc>::from_timestamp(seconds, 0)?;
        // Slots are found on the zone's wall clock as if it had no gaps, then placed in time.
        let wall = instant.with_timezone(&self.zone).naive_local();
        let slots = self.schedule.after(&Utc.from_utc_datetime(&wall));
        slots.take(10_000).find_map(|slot| {
            let placed = self.place(slot.naive_utc())?;
            let nanos = u64::try_from(placed.timestamp()).ok()? * 1_000_000_000;
            (nanos > after.0).then_some(UnixNanos(nanos))
        })
    }

    fn place(&self, wall: NaiveDateTime) -> Option<DateTime<Tz>> {
        match self.zone.from_local_datetime(&wall) {
            LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => Some(at),
            LocalResult::None => (1..=48).find_map(|quarters| {
                // Gaps end on a quarter of an hour in every zone.
                let later = wall + TimeDelta::minutes(15 * quarters);
                let minute = later.and_utc().timestamp() / 900 * 900;
                let edge = DateTime::<Utc>::from_timestamp(minute, 0)?.naive_utc();
                self.zone.from_local_datetime(&edge).earliest()
            }),
        }
    }
}

/// Numbers 0–7 become the names that mean the same in every dialect.
fn translate_weekdays(field: &str) -> Result<String, String> {
    const NAMES: [&str; 8] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"];
    let part = |part: &str| -> Result<String, String> {
        let (range, step) = part.split_once('/').map_or((part, None), |(r, s)| (r, Some(s)));
        let day = |text: &str| match text.parse::<usize>() {
            Ok(number) => NAMES.get(number).map(|name| (*name).to_owned()).ok_or_else(|| {
                format!("weekday {number} does not exist: use 0–7, Sunday is 0 or 7")
            }),
            Err(_) => Ok(text.to_owned()),
        };
        let days = match range.split_once('-') {
            // A range from or to Sunday is spelt out: the crate's week begins on it.
            Some((first, last)) => weekday_range(&day(first)?, &day(last)?)?,
            None => day(range)?,
        };
        Ok(step.map_or(days.clone(), |step| format!("{days}/{step}")))
    };
    let parts: Result<Vec<String>, String> = field.split(',').map(part).collect();
    Ok(parts?.join(","))
}

fn weekday_range(first: &str, last: &str) -> Result<String, String> {
    const WEEK: [&str; 7] = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"];
    let place = |name: &str| {
        let upper = name.to_uppercase();
        let found = WEEK.iter().position(|day| upper.starts_with(day));
        found.ok_or_else(|| format!("`{name}` is not a weekday"))
    };
    let (first, last) = (place(first)?, place(last)?);
    let count = (last + 7 - first) % 7 + 1;
    let days = WEEK.iter().cycle().skip(first).take(count);
    Ok(days.copied().collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expression: &str, zone: Tz, after: &str, expected: &[&str]) {
        let schedule = parse_cron(expression, zone).expect(expression);
        let start = DateTime::parse_from_rfc3339(after).expect("a time").timestamp();
        let mut at = UnixNanos::from_seconds(start as u64);
        for slot in expected {
            at = schedule.next_after(at).expect("a slot");
            assert_eq!(at.to_rfc3339(), format!("{slot}:00.000Z"), "{expression}");
        }
    }

    /// Guarantees fields, weekdays and both changes of Berlin's clocks in 2026: skipped times run
    /// right after the gap, repeated ones once.
    #[test]
    fn slots_are_where_people_expect_them() {
        let berlin = chrono_tz::Europe::Berlin;
        check(
            "*/5 * * * *",
            Tz::UTC,
            "2026-01-01T00:03:00Z",
            &["2026-01-01T00:05", "2026-01-01T00:10"],
        );
        check("0 9 * * 0", Tz::UTC, "2026-11-24T00:00:00Z", &["2026-11-29T09:00"]);
        check("0 9 * * 7", Tz::UTC, "2026-11-24T00:00:00Z", &["2026-11-29T09:00"]);
        check(
            "0 9 * * 5-7",
            Tz::UTC,
            "2026-11-24T00:00:00Z",
            &["2026-11-27T09:00", "2026-11-28T09:00", "2026-11-29T09:00", "2026-12-04T09:00"],
        );
        check(
            "30 2 * * *",
            berlin,
            "2026-03-28T12:00:00Z",
            &["2026-03-29T01:00", "2026-03-30T00:30"],
        );
        check(
            "30 2 * * *",
            berlin,
            "2026-10-24T12:00:00Z",
            &["2026-10-25T00:30", "2026-10-26T01:30"],
        );
    }

    /// Guarantees words, not a panic, for what is wrong.
    #[test]
    fn wrong_expressions_are_explained() {
        assert!(parse_cron("* * *", Tz::UTC).is_err_and(|e| e.contains("this has 3")));
        assert!(parse_cron("99 * * * *", Tz::UTC).is_err());
        assert!(parse_cron("* * * * 9", Tz::UTC).is_err_and(|e| e.contains("weekday 9")));
    }
}
