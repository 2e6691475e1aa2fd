//! OpenTelemetry's names in Prometheus' alphabet.
//!
//! Metrics: what is no letter, digit or underscore becomes one underscore; counters end in `_total`,
//! durations of ours in `_seconds`. Labels: likewise; two that become the same keep both values,
//! joined by a semicolon; `le` is taken by buckets.

use crate::model::labels::Labels;
use crate::model::series::SlotValue;
use prometheus::proto::LabelPair;

/// A metric's name with the unit that is known and the suffix of its kind.
pub(super) fn metric(name: &str, unit: Option<&str>, value: &SlotValue) -> String {
    let mut translated = String::with_capacity(name.len() + 14);
    for c in name.chars() {
        let c = if c.is_ascii_alphanumeric() { c } else { '_' };
        if c != '_' || !translated.ends_with('_') {
            translated.push(c);
        }
    }
    if translated.starts_with(|c: char| c.is_ascii_digit()) {
        translated.insert(0, '_');
    }
    let counts = matches!(value, SlotValue::Counter(_));
    let bare = translated.strip_suffix("_total").filter(|_| counts).map(str::to_owned);
    let mut translated = bare.unwrap_or(translated);
    if let Some(unit) = unit
        && !translated.ends_with(unit)
    {
        translated.push('_');
        translated.push_str(unit);
    }
    if counts {
        translated.push_str("_total");
    }
    translated
}

/// Labels, sorted by their translated names, each once.
pub(super) fn labels(labels: &Labels) -> Vec<LabelPair> {
    let mut translated: Vec<(String, String)> =
        labels.iter().map(|(name, value)| (label(name), value.to_owned())).collect();
    translated.sort();
    translated.dedup_by(|later, kept| {
        let same = later.0 == kept.0;
        if same {
            kept.1.push(';');
            kept.1.push_str(&later.1);
        }
        same
    });
    translated.into_iter().map(pair).collect()
}

fn label(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let translated: String = name.chars().map(plain).collect();
    match translated.as_bytes() {
        b"le" => "exported_le".to_owned(),
        [b'0'..=b'9', ..] => format!("key_{translated}"),
        // Names that begin with two are Prometheus' own, and none is no name.
        [] | [b'_', b'_', ..] => format!("key{translated}"),
        _ => translated,
    }
}

fn pair((name, value): (String, String)) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name);
    pair.set_value(value);
    pair
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees names of Prometheus' alphabet, and each suffix once.
    #[test]
    fn metrics_are_translated() {
        let check = |name, unit, value: SlotValue, expected| {
            assert_eq!(metric(name, unit, &value), expected);
        };
        let gauge = SlotValue::Gauge(0.0);
        check("jvm.memory..used", None, gauge.clone(), "jvm_memory_used");
        check("2g/share", None, gauge.clone(), "_2g_share");
        check("größe:x", None, gauge.clone(), "gr_e_x");
        check(
            "http.client.request.duration",
            Some("seconds"),
            gauge,
            "http_client_request_duration_seconds",
        );
        check("taps.total", None, SlotValue::Counter(0), "taps_total");
        check("taps", None, SlotValue::Counter(0), "taps_total");
        check("wait_seconds", Some("seconds"), SlotValue::Counter(0), "wait_seconds_total");
    }

    /// Guarantees labels that Prometheus accepts, none twice, none lost.
    #[test]
    fn labels_are_translated() {
        let check = |given: &[(&str, &str)], expected: &[(&str, &str)]| {
            let got = labels(&Labels::new(given.iter().copied()));
            let got: Vec<_> = got.iter().map(|pair| (pair.name(), pair.value())).collect();
            assert_eq!(got, expected);
        };
        check(&[("os.name", "iOS"), ("os_name", "x")], &[("os_name", "iOS;x")]);
        check(&[("le", "1"), ("__name__", "x")], &[("exported_le", "1"), ("key__name__", "x")]);
        check(&[("5g", "yes"), ("é", "no")], &[("_", "no"), ("key_5g", "yes")]);
    }
}
