//! Numbers and instants for people: few digits, and never a figure that claims more than it knows.
//!
//! A share that misses its objective is never rounded up to it, and nothing short of all good
//! reads 100%.

use crate::base::clock::UnixNanos;
use crate::base::duration::humane;
use maud::{Markup, html};
use std::time::Duration;

/// What stands where there is no value.
pub(super) const NOTHING: &str = "–";

/// A share with as many decimals as the objective has plus one, cut instead of rounded.
pub(super) fn attained(good: u64, total: u64, objective: f64) -> String {
    if total == 0 {
        return NOTHING.to_owned();
    }
    if good >= total {
        return "100%".to_owned();
    }
    let decimals = decimals_of(objective) + 1;
    let steps = 10_u128.pow(decimals) * 100;
    // Integer division cuts: 99.8999 % must not read 99.90 %.
    let cut = u128::from(good) * steps / u128::from(total);
    let one = 10_u128.pow(decimals);
    format!("{}.{:0width$}%", cut / one, cut % one, width = decimals as usize)
}

/// An objective as it was written: `99.9%`.
pub(super) fn objective(share: f64) -> String {
    if !share.is_finite() {
        return NOTHING.to_owned();
    }
    format!("{:.*}%", decimals_of(share) as usize, share * 100.0)
}

/// Decimals of a percentage that are not zero, at most four.
fn decimals_of(share: f64) -> u32 {
    (0..4)
        .find(|decimals| {
            let scaled = share * 100.0 * 10_f64.powi(*decimals as i32);
            (scaled - scaled.round()).abs() < 1e-6
        })
        .unwrap_or(4)
}

/// A share of something, two digits: `93%`, `4.2%`, `<0.1%`, `−32%`.
pub(super) fn share(share: f64) -> String {
    let percent = share * 100.0;
    match percent.abs() {
        _ if !percent.is_finite() => NOTHING.to_owned(),
        0.0 => "0%".to_owned(),
        size if size < 0.1 && percent > 0.0 => "<0.1%".to_owned(),
        // Cut, so that a budget that was touched does not read as whole.
        size if size >= 9.95 => {
            format!("{}%", signed((percent + 1e-9 * percent.signum()).trunc(), 0))
        }
        _ => {
            let digits = signed(percent, 1);
            format!("{}%", digits.strip_suffix(".0").unwrap_or(&digits))
        }
    }
}

/// A burn rate: `18×`, `1.2×`, `0.04×`.
pub(super) fn burn(rate: f64) -> String {
    match rate {
        r if !r.is_finite() => NOTHING.to_owned(),
        r if r >= 9.95 => format!("{r:.0}×"),
        r if r >= 0.995 => format!("{r:.1}×"),
        r if r >= 0.005 => format!("{r:.2}×"),
        _ => "0×".to_owned(),
    }
}

/// A count, three digits and a size: `812`, `1.2k`, `48M`.
pub(super) fn count(count: u64) -> String {
    const SIZES: [(u64, &str); 3] = [(1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
    if count < 10_000 {
        return grouped(count);
    }
    SIZES.iter().find(|(size, _)| count >= *size).map_or_else(
        || count.to_string(),
        |(size, unit)| {
            let scaled = count as f64 / *size as f64;
            format!("{scaled:.*}{unit}", usize::from(scaled < 99.95))
        },
    )
}

/// A count in full, with thin groups of three: `1,204,033`.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A measured duration.
pub(super) fn latency(nanos: u64) -> String {
    humane(Duration::from_nanos(nanos))
}

/// A measured duration, or a dash.
pub(super) fn latency_or_nothing(nanos: Option<u64>) -> String {
    nanos.map_or_else(|| NOTHING.to_owned(), latency)
}

/// The largest unit of a duration alone: `4 min`, `3 h`, `12 s`.
pub(super) fn coarse(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// How long ago, or how far ahead, with the instant behind it.
pub(super) fn ago(now: UnixNanos, at: UnixNanos) -> Markup {
    let text = if at > now {
        format!("in {}", coarse(at.since(now)))
    } else if now.since(at) < Duration::from_secs(2) {
        "just now".to_owned()
    } else {
        format!("{} ago", coarse(now.since(at)))
    };
    time(at, &text)
}

/// The time of day, with the date in front when it is another day than `now`.
pub(super) fn clock(now: UnixNanos, at: UnixNanos) -> Markup {
    time(at, &clock_text(now, at))
}

/// What [`clock`] shows.
pub(super) fn clock_text(now: UnixNanos, at: UnixNanos) -> String {
    let (today, then) = (now.to_rfc3339(), at.to_rfc3339());
    let hour = hour(at);
    match (today.get(..10), then.get(..10)) {
        (Some(today), Some(day)) if today != day => format!("{} {hour} UTC", date(today, day)),
        _ => format!("{hour} UTC"),
    }
}

/// A day in the words of `today`: `28 Feb`, with the year when it is another one.
fn date(today: &str, day: &str) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let number = |range| day.get(range).and_then(|digits: &str| digits.parse::<usize>().ok());
    let month = number(5..7).and_then(|month| MONTHS.get(month.wrapping_sub(1)));
    match (month, number(8..10), today.get(..4) == day.get(..4)) {
        (Some(month), Some(day), true) => format!("{day} {month}"),
        _ => day.to_owned(),
    }
}

/// The time of day alone, UTC.
pub(super) fn hour(at: UnixNanos) -> String {
    at.to_rfc3339().get(11..16).unwrap_or_default().to_owned()
}

/// An instant in full: `2026-03-01 02:14:05.120 UTC`.
pub(super) fn absolute(at: UnixNanos) -> String {
    at.to_rfc3339().replace('T', " ").replace('Z', " UTC")
}

/// A `time` element around words.
pub(super) fn time(at: UnixNanos, words: &str) -> Markup {
    let machine = at.to_rfc3339();
    let machine = machine.split_once('.').map_or(machine.as_str(), |(seconds, _)| seconds);
    html! {
        time datetime={ (machine) "Z" } title={ (machine.replace('T', " ")) " UTC" } { (words) }
    }
}

/// The everyday word for an attribute that phones are broken down by; others keep their key.
pub(super) fn dimension(attribute: &str) -> &str {
    match attribute {
        "service.version" => "app",
        "network.connection.type" => "network",
        "os.name" => "os",
        other => other,
    }
}

/// A sentence whose figures stay with their percent signs at the end of a line.
pub(super) fn sentence(text: &str) -> String {
    text.replace(" %", "\u{a0}%")
}

/// A number with a true minus sign, which aligns with digits and is read as such.
fn signed(value: f64, decimals: usize) -> String {
    let digits = format!("{:.decimals$}", value.abs());
    if value < 0.0 { format!("−{digits}") } else { digits }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that a missed objective never reads as attained, and that digits stay few.
    #[test]
    fn shares_are_cut_and_never_flatter() {
        let check = |good, total, goal, expected: &str| {
            assert_eq!(attained(good, total, goal), expected, "{good} of {total}");
        };
        check(0, 0, 0.999, "–");
        check(10, 10, 0.999, "100%");
        check(998_999, 1_000_000, 0.999, "99.89%");
        check(999_999_999, 1_000_000_000, 0.999, "99.99%");
        check(u64::MAX - 1, u64::MAX, 0.99, "99.9%");
        check(0, 7, 0.5, "0.0%");
        assert_eq!(objective(0.999), "99.9%");
        assert_eq!(objective(0.9995), "99.95%");
        assert_eq!(objective(0.5), "50%");
    }

    /// Guarantees two digits for shares, burn rates and counts, over their whole range.
    #[test]
    fn figures_have_few_digits() {
        for (value, expected) in [
            (0.0, "0%"),
            (0.0004, "<0.1%"),
            (0.042, "4.2%"),
            (0.9999, "99%"),
            (1.0, "100%"),
            (-0.321, "−32%"),
            (-0.0421, "−4.2%"),
            (f64::NAN, "–"),
        ] {
            assert_eq!(share(value), expected, "{value}");
        }
        for (rate, expected) in
            [(18.04, "18×"), (1.24, "1.2×"), (0.04, "0.04×"), (0.0, "0×"), (f64::INFINITY, "–")]
        {
            assert_eq!(burn(rate), expected, "{rate}");
        }
        for (value, expected) in [
            (7, "7"),
            (1_204, "1,204"),
            (12_040, "12.0k"),
            (48_100_000, "48.1M"),
            (u64::MAX, "18446744074G"),
        ] {
            assert_eq!(count(value), expected, "{value}");
        }
        assert_eq!(grouped(1_204_033), "1,204,033");
    }

    /// Guarantees words for past, present and future, and the date when it is another day.
    #[test]
    fn instants_are_relative_with_the_absolute_behind() {
        let now = UnixNanos::from_seconds(1_770_000_000);
        let text = |markup: Markup| markup.into_string();
        assert!(text(ago(now, now)).contains(">just now<"));
        assert!(text(ago(now, now.minus(Duration::from_secs(250)))).contains(">4 min ago<"));
        assert!(text(ago(now, now.plus(Duration::from_secs(7_300)))).contains(">in 2 h<"));
        assert_eq!(clock_text(now, now.minus(Duration::from_secs(60))), "02:39 UTC");
        assert_eq!(clock_text(now, now.minus(Duration::from_secs(86_400))), "1 Feb 02:40 UTC");
        assert_eq!(
            clock_text(now, now.minus(Duration::from_secs(86_400 * 60))),
            "2025-12-04 02:40 UTC"
        );
        assert!(text(clock(now, now)).contains("datetime=\"2026-02-02T02:40:00Z\""));
        assert!(text(clock(now, now)).contains("title=\"2026-02-02 02:40:00 UTC\""));
    }
}
