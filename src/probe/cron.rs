//! Cron expressions as people write them, in a time zone, with its clock changes.
//!
//! The `cron` crate does the calendar; around it: five fields or six (seconds first), Sunday as 0
//! or 7, and, where both day fields are restricted, a day that satisfies either, as in every cron
//! since Vixie's. Clock changes:
//! - a job with `*` for the hour runs by elapsed time: through both passes of a repeated hour, and
//!   on over a skipped one;
//! - any other job runs once: a time that is skipped runs right after the gap, a time that comes
//!   twice runs the first time.

use crate::base::clock::UnixNanos;
use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use std::str::FromStr;

/// So many times of a repeated hour are passed over, one a second at most.
const MAX_REPEATED: usize = 4 * 3600;
/// 2000-01-01: an expression that does not come from here on until the end of the calendar never
/// does.
const FIRST_DAY: UnixNanos = UnixNanos(946_684_800_000_000_000);

/// An expression that was understood.
#[derive(Clone, Debug)]
pub struct CronSchedule {
    /// Alternatives: the next instant is the earliest of all.
    calendars: Vec<cron::Schedule>,
    zone: Tz,
    /// Whether the hour is `*`.
    by_elapsed_time: bool,
}

/// Reads a cron expression.
///
/// # Errors
/// What is wrong with it, and what to write instead.
pub fn parse_cron(expression: &str, zone: Tz) -> Result<CronSchedule, String> {
    let fields: Vec<&str> = expression.split_whitespace().collect();
    let (second, [minute, hour, day, month, weekday]) = match fields.as_slice() {
        &[minute, hour, day, month, weekday] => ("0", [minute, hour, day, month, weekday]),
        &[second, minute, hour, day, month, weekday] => {
            (second, [minute, hour, day, month, weekday])
        }
        other => {
            return Err(format!(
                "`{expression}` has {} fields: write five (minute hour day month weekday) or six \
                 (second first), for example */5 * * * *",
                other.len()
            ));
        }
    };
    let weekdays = weekday_list(weekday)?;
    let calendar = |day: &str, weekdays: &str| {
        let text = format!("{second} {minute} {hour} {day} {month} {weekdays}");
        cron::Schedule::from_str(&text)
            .map_err(|error| format!("`{expression}` is not a cron expression: {error}"))
    };
    let calendars = if is_any(day) || is_any(weekday) {
        vec![calendar(day, &weekdays)?]
    } else {
        vec![calendar(day, "*")?, calendar("*", &weekdays)?]
    };
    let schedule = CronSchedule { calendars, zone, by_elapsed_time: is_any(hour) };
    match schedule.next_after(FIRST_DAY) {
        Some(_) => Ok(schedule),
        None => Err(format!("`{expression}` never comes: there is no such day")),
    }
}

/// The first instant after `after` at which a cron expression runs; none when it never does again.
///
/// # Errors
/// What is wrong with the expression.
pub fn next_after(
    expression: &str,
    zone: Tz,
    after: UnixNanos,
) -> Result<Option<UnixNanos>, String> {
    Ok(parse_cron(expression, zone)?.next_after(after))
}

// === impl CronSchedule ===

impl CronSchedule {
    /// The first instant after `after` at which it runs; none when it never does again.
    #[must_use]
    pub fn next_after(&self, after: UnixNanos) -> Option<UnixNanos> {
        let after = self.zone.from_utc_datetime(&utc(after)?.naive_utc());
        let next =
            if self.by_elapsed_time { self.next_elapsed(after) } else { self.next_fixed(after) };
        next.and_then(|at| u64::try_from(at.timestamp_nanos_opt()?).ok()).map(UnixNanos)
    }

    /// The first time on the wall after the one given, as a wall without clock changes has it.
    fn next_on_wall(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        let after = after.and_utc();
        let next = self.calendars.iter().filter_map(|calendar| calendar.after(&after).next());
        next.min().map(|at| at.naive_utc())
    }

    /// Every time on the wall counts once: the first time when it comes twice, right after the gap
    /// when it does not come at all.
    fn next_fixed(&self, after: DateTime<Tz>) -> Option<DateTime<Tz>> {
        let mut wall = after.naive_local();
        for _ in 0..MAX_REPEATED {
            wall = self.next_on_wall(wall)?;
            let at = match self.zone.from_local_datetime(&wall) {
                MappedLocalTime::Single(at) | MappedLocalTime::Ambiguous(at, _) => at,
                MappedLocalTime::None => self.after_gap(wall)?,
            };
            if at > after {
                return Some(at);
            }
        }
        None
    }

    /// The wall is read with the offset in force, and read again wherever that changes.
    fn next_elapsed(&self, after: DateTime<Tz>) -> Option<DateTime<Tz>> {
        let (mut from, mut wall, mut offset) = (after, after.naive_local(), after.offset().fix());
        // There are two changes a year, and an expression may wait for some years.
        for _ in 0..64 {
            let next = self.next_on_wall(wall)?.checked_sub_offset(offset)?;
            let at = self.zone.from_utc_datetime(&next);
            if at.offset().fix() == offset {
                return Some(at);
            }
            from = self.change_between(from, at);
            offset = from.offset().fix();
            // The last second before the change, as a wall after it would show it.
            let before = from.naive_utc() - TimeDelta::seconds(1);
            wall = before.checked_add_offset(offset)?;
        }
        None
    }

    fn after_gap(&self, wall: NaiveDateTime) -> Option<DateTime<Tz>> {
        // No gap is as long as a day, nor do two come within one.
        let day = TimeDelta::days(1);
        let before = self.zone.from_local_datetime(&(wall - day)).earliest()?;
        let behind = self.zone.from_local_datetime(&(wall + day)).latest()?;
        Some(self.change_between(before, behind))
    }

    /// The first whole second after `before` whose offset is not `before`'s, given that the one of
    /// `behind` is not.
    fn change_between(&self, before: DateTime<Tz>, behind: DateTime<Tz>) -> DateTime<Tz> {
        let offset = before.offset().fix();
        let (mut same, mut changed) = (before.timestamp(), behind.timestamp());
        let at = |second: i64| {
            let utc = DateTime::<Utc>::from_timestamp(second, 0).unwrap_or_default();
            self.zone.from_utc_datetime(&utc.naive_utc())
        };
        while changed - same > 1 {
            let middle = same + (changed - same) / 2;
            if at(middle).offset().fix() == offset {
                same = middle;
            } else {
                changed = middle;
            }
        }
        at(changed)
    }
}

fn utc(at: UnixNanos) -> Option<DateTime<Utc>> {
    let seconds = i64::try_from(at.0 / 1_000_000_000).ok()?;
    DateTime::from_timestamp(seconds, (at.0 % 1_000_000_000) as u32)
}

fn is_any(field: &str) -> bool {
    matches!(field, "*" | "?")
}

// === days of the week ===

const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// The field as the `cron` crate wants it: numbers from 1 for Sunday, listed one by one.
fn weekday_list(field: &str) -> Result<String, String> {
    if is_any(field) {
        return Ok("*".to_owned());
    }
    let wrong = || {
        format!(
            "`{field}` are no days of the week: write 0-7 (0 and 7 are Sunday) or names like mon-fri"
        )
    };
    let mut on = [false; 7];
    for item in field.split(',') {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, step.parse::<usize>().ok().filter(|step| *step > 0)),
            None => (item, Some(1)),
        };
        let step = step.ok_or_else(wrong)?;
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (weekday(first), weekday(last)),
            None if range == "*" => (Some(0), Some(6)),
            None if item == range => (weekday(range), weekday(range)),
            // `1/2`: from Monday on, every second day.
            None => (weekday(range), Some(6)),
        };
        let (Some(first), Some(mut last)) = (first, last) else { return Err(wrong()) };
        if last < first {
            // `sat-mon` and `6-1` go on over the end of the week.
            last += 7;
        }
        for day in (first..=last).step_by(step) {
            if let Some(day) = on.get_mut(day % 7) {
                *day = true;
            }
        }
    }
    let numbers =
        (1..).zip(on).filter(|(_, on)| *on).map(|(number, _): (u8, _)| number.to_string());
    Ok(numbers.collect::<Vec<_>>().join(","))
}

/// 0 to 7.
fn weekday(text: &str) -> Option<usize> {
    let name = text.to_ascii_lowercase();
    let named = WEEKDAYS.iter().position(|day| *day == name);
    named.or_else(|| text.parse().ok().filter(|day| *day <= 7))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono_tz::{Australia, Europe, UTC};

    fn nanos(text: &str) -> UnixNanos {
        let at = DateTime::parse_from_rfc3339(text).expect("a time");
        UnixNanos::from_seconds(at.timestamp() as u64)
    }

    fn check(expression: &str, zone: Tz, after: &str, expected: &[&str]) {
        let schedule = parse_cron(expression, zone).expect("an expression");
        let mut at = nanos(after);
        for next in expected {
            at = schedule.next_after(at).expect("a next time");
            assert_eq!(at, nanos(next), "{expression}");
        }
    }

    /// Guarantees five and six fields, both Sundays, names, ranges, and the day that satisfies
    /// either field.
    #[test]
    fn expressions_mean_what_cron_means() {
        let monday = "2026-11-23T12:00:00Z";
        check("*/5 * * * *", UTC, monday, &["2026-11-23T12:05:00Z", "2026-11-23T12:10:00Z"]);
        check("*/20 * * * * *", UTC, monday, &["2026-11-23T12:00:20Z", "2026-11-23T12:00:40Z"]);
        check("0 8 * * 0", UTC, monday, &["2026-11-29T08:00:00Z", "2026-12-06T08:00:00Z"]);
        check("0 8 * * 7", UTC, monday, &["2026-11-29T08:00:00Z"]);
        check("0 8 * * 1", UTC, monday, &["2026-11-30T08:00:00Z"]);
        check("0 8 * * MON-FRI", UTC, "2026-11-27T12:00:00Z", &["2026-11-30T08:00:00Z"]);
        check(
            "0 8 * * 5-7",
            UTC,
            monday,
            &[
                "2026-11-27T08:00:00Z",
                "2026-11-28T08:00:00Z",
                "2026-11-29T08:00:00Z",
                "2026-12-04T08:00:00Z",
            ],
        );
        check("0 8 * * 1-5/2", UTC, monday, &["2026-11-25T08:00:00Z", "2026-11-27T08:00:00Z"]);
        check("0 8 1 * 3", UTC, monday, &["2026-11-25T08:00:00Z", "2026-12-01T08:00:00Z"]);
        check("0 0 29 2 *", UTC, monday, &["2028-02-29T00:00:00Z"]);
    }

    /// Guarantees errors that say what to write.
    #[test]
    fn wrong_expressions_are_explained() {
        let check = |expression: &str, part: &str| {
            let error = parse_cron(expression, UTC).expect_err(expression);
            assert!(error.contains(part), "{error}");
        };
        check("* * *", "3 fields");
        check("0 0 1 1 * 2026 x", "7 fields");
        check("0 0 * * 8", "0-7");
        check("0 0 * * mon-", "names like mon-fri");
        check("61 * * * *", "not a cron expression");
        check("*/0 * * * *", "not a cron expression");
        check("0 0 30 2 *", "never comes");
        check("0 0 * * */0", "days of the week");
    }

    /// Guarantees that a job in the spring gap of Berlin runs once, right after it, and that a job
    /// which is not in it is left alone.
    #[test]
    fn the_spring_gap_of_berlin() {
        let before = "2026-03-28T12:00:00+01:00";
        check(
            "30 2 * * *",
            Europe::Berlin,
            before,
            &["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"],
        );
        check(
            "*/30 2 * * *",
            Europe::Berlin,
            before,
            &["2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"],
        );
        check("0 3 * * *", Europe::Berlin, before, &["2026-03-29T03:00:00+02:00"]);
        check(
            "*/30 * * * *",
            Europe::Berlin,
            "2026-03-29T01:30:00+01:00",
            &["2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00"],
        );
    }

    /// Guarantees that a job in the repeated hour of Berlin runs once, but one of every hour runs
    /// on through it.
    #[test]
    fn the_repeated_hour_of_berlin() {
        check(
            "30 2 * * *",
            Europe::Berlin,
            "2026-10-24T12:00:00+02:00",
            &["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"],
        );
        check(
            "30 2 * * *",
            Europe::Berlin,
            "2026-10-25T02:10:00+01:00",
            &["2026-10-26T02:30:00+01:00"],
        );
        check(
            "*/20 * * * *",
            Europe::Berlin,
            "2026-10-25T02:20:00+02:00",
            &[
                "2026-10-25T02:40:00+02:00",
                "2026-10-25T02:00:00+01:00",
                "2026-10-25T02:20:00+01:00",
                "2026-10-25T02:40:00+01:00",
                "2026-10-25T03:00:00+01:00",
            ],
        );
        check(
            "15 * * * *",
            Australia::Lord_Howe,
            "2026-04-05T00:20:00+11:00",
            &["2026-04-05T01:15:00+11:00", "2026-04-05T02:15:00+10:30"],
        );
    }

    proptest::proptest! {
        /// Guarantees that time goes on: the next instant lies behind, whatever the zone does.
        #[test]
        fn the_next_time_is_later(seconds in 1_700_000_000_u64..2_000_000_000, which in 0_usize..5) {
            let expression =
                ["* * * * *", "30 2 * * *", "*/7 1-3 * * *", "0 0 1 * 1", "* * 2 * * 0"][which];
            for zone in [Europe::Berlin, Australia::Lord_Howe, chrono_tz::America::New_York] {
                let after = UnixNanos::from_seconds(seconds);
                let next = next_after(expression, zone, after).expect("valid").expect("comes");
                proptest::prop_assert!(next > after);
            }
        }

        /// Guarantees that no text makes the parser panic.
        #[test]
        fn any_text_is_answered(text in "[0-9*/,a-z -]{0,24}") {
            drop(parse_cron(&text, UTC));
        }
    }
}
