//! What a step found out beyond its phases and checks, in small tables with titles.
//!
//! One table says which names stand under which title, one function how a value reads. A name that
//! no row of the table begins stands under [`OTHER`] as it is: nothing is left out.

use crate::model::attribute::{Attribute, AttributeValue};
use maud::{Markup, html};

/// Where names stand that are not known here.
const OTHER: &str = "Other facts";

/// Values of one name that are shown; the rest is folded.
const SHOWN_VALUES: usize = 3;

/// Characters of a value that fit beside its name in a narrow table.
const NARROW: usize = 22;

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
const WORDS: [(&str, &str); 13] = [
    ("drop.by", "how"),
    ("drop.noticed", "noticed by"),
    ("fanout.median", "half of them"),
    ("fanout.p99", "99% of them"),
    ("fanout.spread", "first to last"),
    ("heartbeat.slowest", "slowest answer"),
    ("held.messages", "messages meanwhile"),
    ("held.duration", "held for"),
    ("network.lost", "packets lost"),
    ("network.queued", "queued for"),
    ("network.rtt", "round trip"),
    ("reconnect.open", "open again after"),
    ("websocket.wire", "on the wire"),
];

/// Endings that are a unit.
const UNITS: [&str; 3] = ["_ns", "_seconds", "_bytes"];

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
pub(super) fn tables(attributes: &[Attribute]) -> Markup {
    html! { @for group in groups(attributes) { (table(&group)) } }
}

/// A fact as a duration, nanoseconds; `name` without the ending that is its unit.
pub(super) fn nanos(attributes: &[Attribute], name: &str) -> Option<u64> {
    let is_it = |known: &str| known.strip_suffix("_ns") == Some(name);
    match attributes.iter().find(|(known, _)| is_it(known)) {
        Some((_, AttributeValue::Integer(ns))) => u64::try_from(*ns).ok(),
        _ => None,
    }
}

/// A fact that is a count.
pub(super) fn count(attributes: &[Attribute], name: &str) -> Option<u64> {
    match attributes.iter().find(|(known, _)| known == name) {
        Some((_, AttributeValue::Integer(count))) => u64::try_from(*count).ok(),
        _ => None,
    }
}

/// Whether the step went over a stream that the run before had kept open.
pub(super) fn is_held(attributes: &[Attribute]) -> bool {
    let reused =
        |value: &AttributeValue| matches!(value, AttributeValue::Text(text) if text == "reused");
    attributes.iter().any(|(name, value)| name == "connection" && reused(value))
}

/// The one way in which a fact becomes text.
fn shown(name: &str, value: &AttributeValue) -> String {
    match value {
        AttributeValue::Flag(true) => "yes".to_owned(),
        AttributeValue::Flag(false) => "no".to_owned(),
        AttributeValue::Integer(size) if name.ends_with("bytes") => {
            bytes(u64::try_from(*size).unwrap_or(0))
        }
        other => other.shown(name),
    }
}

/// A size: `812 B`, `1.2 kB`, `48 MB`.
pub(super) fn bytes(size: u64) -> String {
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

fn groups(attributes: &[Attribute]) -> Vec<Group<'_>> {
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
    UNITS.into_iter().find_map(|unit| name.strip_suffix(unit)).unwrap_or(name)
}

fn table(group: &Group<'_>) -> Markup {
    let is_wide = |value: &String| value.chars().count() > NARROW;
    let wide = group.rows.iter().flat_map(|row| &row.values).any(is_wide);
    html! {
        table .found .wide[wide] {
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

    fn facts(pairs: &[(&str, &str)]) -> Vec<Attribute> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect()
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
        let check = |name, value: AttributeValue, named: &str, expected: &str| {
            assert_eq!((label(name), shown(name, &value)), (named.to_owned(), expected.to_owned()));
        };
        check("http.response.max_gap_ns", 12_500_000_u64.into(), "response max gap", "12ms");
        check("reconnect.open_ns", 202_874_000_u64.into(), "open again after", "202ms");
        check("dns.ttl_seconds", 90_u64.into(), "TTL", "1m 30s");
        check("websocket.bytes", 1_780_u64.into(), "bytes", "1.8 kB");
        check("quic.sent_bytes", 812_u64.into(), "sent", "812 B");
        check("dns.truncated", false.into(), "truncated", "no");
        check("dns.serial", 2_026_010_101_u64.into(), "serial", "2026010101");
        check("network.rtt_ns", "nonsense".into(), "round trip", "nonsense");
    }

    /// Guarantees that figures are read as what they are, and nothing else is.
    #[test]
    fn figures_are_read_by_name_and_type() {
        let facts: Vec<Attribute> = vec![
            ("fanout.first_ns".to_owned(), 5_u64.into()),
            ("fanout.received".to_owned(), 20_u64.into()),
            ("fanout.last_ns".to_owned(), "soon".into()),
            ("connection".to_owned(), "reused".into()),
        ];
        assert_eq!(
            (nanos(&facts, "fanout.first"), count(&facts, "fanout.received")),
            (Some(5), Some(20))
        );
        assert_eq!((nanos(&facts, "fanout.last"), nanos(&facts, "fanout.received")), (None, None));
        assert!(is_held(&facts) && !is_held(&[]));
    }
}
