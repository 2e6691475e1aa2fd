//! Cron expressions against a walk through the calendar, day by day and minute by minute.

use super::super::cron::next_after;
use crate::base::clock::UnixNanos;
use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc};
use chrono_tz::Tz;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// So far the walk goes.
const DAYS: i64 = 400;

/// A field as written, and the numbers that it means.
#[derive(Clone, Debug)]
struct Field {
    text: String,
    means: BTreeSet<u32>,
}

fn field(first: u32, last: u32) -> impl Strategy<Value = Field> {
    let all = move |step: usize| (first..=last).step_by(step).collect::<BTreeSet<u32>>();
    let any = Just(()).prop_map(move |()| Field { text: "*".to_owned(), means: all(1) });
    let stepped =
        (2..=9_usize).prop_map(move |step| Field { text: format!("*/{step}"), means: all(step) });
    let listed = prop::collection::btree_set(first..=last, 1..4).prop_map(|means| {
        let numbers: Vec<String> = means.iter().map(u32::to_string).collect();
        Field { text: numbers.join(","), means }
    });
    let range = (first..=last, first..=last, 1..4_usize).prop_map(|(a, b, step)| {
        let (from, to) = (a.min(b), a.max(b));
        let text = if step == 1 { format!("{from}-{to}") } else { format!("{from}-{to}/{step}") };
        Field { text, means: (from..=to).step_by(step).collect() }
    });
    prop_oneof![2 => any, 1 => stepped, 2 => listed, 1 => range]
}

/// The first minute after `after` on which all five fields agree, in a zone without clock changes.
fn walk(
    [minute, hour, day, month, weekday]: &[Field; 5],
    zone: Tz,
    after: DateTime<Utc>,
) -> Option<DateTime<Tz>> {
    let start = after.with_timezone(&zone);
    let restricted = |field: &Field| field.text != "*";
    for days in 0..DAYS {
        let midnight =
            (start + TimeDelta::days(days)).with_time(chrono::NaiveTime::MIN).single()?;
        let by_day = day.means.contains(&midnight.day());
        let by_weekday = weekday.means.contains(&(midnight.weekday().num_days_from_sunday()));
        let on_day = if restricted(day) && restricted(weekday) {
            by_day || by_weekday
        } else {
            by_day && by_weekday
        };
        if !on_day || !month.means.contains(&midnight.month()) {
            continue;
        }
        let minutes = (0..24 * 60).map(|minutes| midnight + TimeDelta::minutes(minutes));
        let mut fitting = minutes
            .filter(|at| hour.means.contains(&at.hour()) && minute.means.contains(&at.minute()));
        if let Some(found) = fitting.find(|at| *at > start) {
            return Some(found);
        }
    }
    None
}

proptest! {
    /// Guarantees that the next time is the one which a walk finds, whatever the fields and the zone.
    #[test]
    fn the_next_time_is_the_first_that_fits(
        fields in [field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 6)],
        seconds in 1_700_000_000_u64..2_000_000_000,
        which in 0_usize..3,
    ) {
        let zone = [chrono_tz::UTC, chrono_tz::Asia::Kolkata, chrono_tz::Asia::Tokyo][which];
        let texts: Vec<&str> = fields.iter().map(|field| field.text.as_str()).collect();
        let expression = texts.join(" ");
        let after = UnixNanos::from_seconds(seconds);
        let start = DateTime::from_timestamp(seconds as i64, 0).expect("a time");
        // An expression that never comes is refused: the walk finds nothing either.
        let found = next_after(&expression, zone, after).ok().flatten();
        match walk(&fields, zone, start) {
            Some(expected) => {
                let expected = UnixNanos::from_seconds(expected.timestamp() as u64);
                prop_assert_eq!(found, Some(expected), "{}", expression);
            }
            None => {
                let horizon = start + TimeDelta::days(DAYS - 1);
                let beyond = found.is_none_or(|at| at.0 / 1_000_000_000 > horizon.timestamp() as u64);
                prop_assert!(beyond, "{expression}: {found:?}");
            }
        }
    }
}
