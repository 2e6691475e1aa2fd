//! What a step found out beyond its phases and checks, in small tables with titles.
//!
//! One table says which names stand under which title, one function how a value reads. A name that
//! no row of the table begins stands under [`OTHER`] as it is: nothing is left out.

use super::format::latency;
use maud::{Markup, html};

/// Where names stand that are not known here.
const OTHER: &str = "Other facts";

/// Values of one name that are shown; the rest is folded.
const SHOWN_VALUES: usize = 3;

/// The beginning of a name, up to a dot or its end, and the title under which it stands. The first that
/// fits decides; tables come in this order.
const TITLES: [(&str, &str); 34] = [
    ("fanout", "Fan-out"),
    ("ledger", "Ledger"),
    ("drop", "Cut"),
    ("reconnect", "Resume"),
    ("resume", "Resume"),
    ("heartbeat", "Heartbeat"),
    ("held", "Held stream"),
    ("connection", "Held stream"),
    ("fallback", "Fallback"),
    ("send", "Sending"),
    ("network.protocol", "Connection"),
    ("network.peer", "Connection"),
    ("network.local", "Connection"),
    ("network.transport", "Connection"),
    ("network", "Emulated network"),
    ("tls", "TLS"),
    ("quic", "QUIC"),
    ("http", "HTTP"),
    ("websocket", "WebSocket"),
    ("sse", "Server-sent events"),
    ("poll", "Long polling"),
    ("mqtt", "MQTT"),
    ("grpc", "gRPC"),
    ("rpc", "gRPC"),
    ("dns", "DNS"),
    ("icmp", "Ping"),
    ("udp", "UDP"),
    ("stun", "STUN"),
    ("turn", "TURN"),
    ("ice", "ICE"),
    ("dtls", "DTLS"),
    ("webrtc", "WebRTC"),
    ("exec", "Program"),
    ("process", "Program"),
];

/// Names that read better in other words, without the ending that is a unit.
const WORDS: [(&str, &str); 12] = [
    ("drop.by", "how"),
    ("drop.noticed", "noticed by"),
    ("fanout.median", "half of them"),
    ("fanout.p99", "99% of them"),
    ("fanout.spread", "first to last"),
    ("heartbeat.slowest", "slowest answer"),
    ("held.messages", "messages meanwhile"),
    ("held", "held for"),
    ("network.lost", "packets lost"),
    ("network.queued", "queued for"),
    ("network.rtt", "round trip"),
    ("reconnect.open", "open again after"),
];

/// Endings that are a unit, and how many nanoseconds one of it has.
const TIMES: [(&str, f64); 4] = [("_ns", 1.0), ("_ms", 1e6), ("_seconds", 1e9), (".seconds", 1e9)];

/// Facts under one title.
struct Group<'a> {
    title: &'static str,
    rows: Vec<Row<'a>>,
}

/// A name and its values, in the order in which they were found.
struct Row<'a> {
    name: &'a str,
    values: Vec<String>,
}

/// The facts of a step as one table for each title.
pub(super) fn tables(attributes: &[(String, String)]) -> Markup {
    html! { @for group in groups(attributes) { (table(&group)) } }
}

/// A fact as a duration, nanoseconds: by the unit that its name ends in, or by the unit in its text.
pub(super) fn nanos(attributes: &[(String, String)], name: &str) -> Option<u64> {
    let is_it = |known: &str| known == name || stem(known) == name;
    let (name, value) = attributes.iter().find(|(known, _)| is_it(known))?;
    timed(name, value).or_else(|| worded(value))
}

/// A fact as it is.
pub(super) fn text<'a>(attributes: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = attributes.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_str())
}

/// The one way in which a fact becomes text.
fn shown(name: &str, value: &str) -> String {
    if let Some(ns) = timed(name, value) {
        return latency(ns);
    }
    match (value, value.parse::<u64>()) {
        ("true", _) => "yes".to_owned(),
        ("false", _) => "no".to_owned(),
        (_, Ok(size)) if name.ends_with("bytes") => bytes(size),
        _ => value.to_owned(),
    }
}

/// A size: `812 B`, `1.2 kB`, `48 MB`.
fn bytes(size: u64) -> String {
    const SIZES: [(f64, &str); 3] = [(1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    let scaled = SIZES.iter().find(|(unit, _)| size as f64 >= *unit);
    scaled.map_or_else(
        || format!("{size} B"),
        |(unit, word)| {
            let value = size as f64 / unit;
            format!("{value:.*} {word}", usize::from(value < 9.95))
        },
    )
}

fn groups(attributes: &[(String, String)]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (name, value) in attributes {
        let (_, title) = place(name);
        let at = groups.iter().position(|group| group.title == title).unwrap_or(groups.len());
        if at == groups.len() {
            groups.push(Group { title, rows: Vec::new() });
        }
        let Some(group) = groups.get_mut(at) else { continue };
        let value = shown(name, value);
        match group.rows.iter_mut().find(|row| row.name == name) {
            Some(row) => row.values.push(value),
            None => group.rows.push(Row { name, values: vec![value] }),
        }
    }
    groups.sort_by_key(|group| {
        TITLES.iter().position(|(_, title)| *title == group.title).unwrap_or(TITLES.len())
    });
    groups
}

/// The known beginning of a name and its title.
fn place(name: &str) -> (&'static str, &'static str) {
    let fits = |prefix: &str| {
        name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    TITLES.into_iter().find(|(prefix, _)| fits(prefix)).unwrap_or(("", OTHER))
}

/// A name within its table: without its first part, which the title says.
fn label(name: &str) -> String {
    let stem = stem(name);
    if let Some((_, words)) = WORDS.iter().find(|(known, _)| *known == stem) {
        return (*words).to_owned();
    }
    let rest = match place(name) {
        ("", _) => stem,
        _ => stem.split_once('.').map_or(stem, |(_, rest)| rest),
    };
    rest.replace(['.', '_'], " ").replace("rtt", "round trip").replace("ttl", "TTL")
}

/// A name without the ending that is a unit.
fn stem(name: &str) -> &str {
    let endings = TIMES.iter().map(|(ending, _)| *ending).chain(["_bytes"]);
    endings.into_iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
}

fn timed(name: &str, value: &str) -> Option<u64> {
    let (_, unit) = TIMES.iter().find(|(ending, _)| name.ends_with(ending))?;
    let value: f64 = value.parse().ok()?;
    (value.is_finite() && value >= 0.0).then(|| (value * unit).round() as u64)
}

/// A duration as [`latency`] writes it.
fn worded(text: &str) -> Option<u64> {
    const UNITS: [(&str, f64); 6] =
        [("us", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 6e10), ("h", 3.6e12), ("d", 8.64e13)];
    let part = |part: &str| {
        let digits = part.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let (_, unit) = UNITS.iter().find(|(unit, _)| part.strip_prefix(digits) == Some(*unit))?;
        let value: f64 = digits.parse().ok()?;
        (value.is_finite() && value >= 0.0).then(|| (value * unit).round() as u64)
    };
    text.split(' ').map(part).try_fold(0_u64, |sum, ns| Some(sum.saturating_add(ns?)))
}

fn table(group: &Group<'_>) -> Markup {
    html! {
        table .found {
            caption { (group.title) }
            tbody {
                @for row in &group.rows {
                    tr { th scope="row" title=(row.name) { (label(row.name)) } td { (values(&row.values)) } }
                }
            }
        }
    }
}

/// One value, or several below each other, of which many are folded.
fn values(values: &[String]) -> Markup {
    let (first, rest) = values.split_at(values.len().min(SHOWN_VALUES));
    let list = |values: &[String]| {
        html! { ul { @for value in values { li { (value) } } } }
    };
    html! {
        @match values {
            [only] => { (only) }
            _ => { (list(first)) }
        }
        @if !rest.is_empty() { details { summary { (rest.len()) " more" } (list(rest)) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::duration::humane;
    use std::time::Duration;

    fn facts(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// Guarantees that facts stand under the title of their prefix, in the table's order, that unknown
    /// ones are kept under their own name, and that repeated names share a row.
    #[test]
    fn facts_stand_under_their_titles() {
        let facts = facts(&[
            ("vendor.speed", "high"),
            ("tls.protocol.version", "1.3"),
            ("network.protocol.version", "2"),
            ("network.profile", "lte"),
            ("ledger.publisher", "a: 1 lost"),
            ("ledger.publisher", "b: 2 lost"),
            ("fanoutish", "no"),
        ]);
        let groups = groups(&facts);
        let titles: Vec<_> = groups.iter().map(|group| group.title).collect();
        assert_eq!(titles, ["Ledger", "Connection", "Emulated network", "TLS", OTHER]);
        assert_eq!(groups[0].rows[0].values, ["a: 1 lost", "b: 2 lost"]);
        let names: Vec<_> = groups[4].rows.iter().map(|row| label(row.name)).collect();
        assert_eq!(names, ["vendor speed", "fanoutish"]);
    }

    /// Guarantees that values read by the unit in which their names end, and names without it.
    #[test]
    fn values_read_by_their_units() {
        let check = |name, value, named: &str, expected: &str| {
            assert_eq!((label(name), shown(name, value)), (named.to_owned(), expected.to_owned()));
        };
        check("http.response.max_gap_ms", "12.5", "response max gap", "12ms");
        check("reconnect.open_ns", "202874000", "open again after", "202ms");
        check("held.seconds", "9.25", "held for", "9.25s");
        check("websocket.bytes", "1780", "bytes", "1.8 kB");
        check("quic.sent_bytes", "812", "sent", "812 B");
        check("dns.truncated", "false", "truncated", "no");
        check("dns.serial", "2026010101", "serial", "2026010101");
        check("network.rtt_ms", "nonsense", "round trip", "nonsense");
    }

    /// Guarantees that durations are read back from both forms, and nothing else is.
    #[test]
    fn durations_are_read_back() {
        let facts = facts(&[
            ("fanout.first", "1.08ms"),
            ("fanout.last_ns", "5"),
            ("a", "1m 30s"),
            ("b", "20 of 21"),
        ]);
        assert_eq!(nanos(&facts, "fanout.first"), Some(1_080_000));
        assert_eq!(nanos(&facts, "fanout.last"), Some(5));
        assert_eq!(nanos(&facts, "a"), Some(90_000_000_000));
        assert_eq!((nanos(&facts, "b"), nanos(&facts, "c")), (None, None));
        for ns in [870_000_u64, 9_990_000, 41_000_000, 3_720_000_000_000] {
            assert_eq!(worded(&humane(Duration::from_nanos(ns))), Some(ns));
        }
    }
}
