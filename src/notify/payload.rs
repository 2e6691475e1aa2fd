//! What is sent: Alertmanager's webhook payload, version 4, and its `/api/v2/alerts`.
//!
//! Built from a notification alone, so that a golden file can pin every byte.

use crate::base::clock::UnixNanos;
use crate::model::labels::Labels;
use crate::model::notification::{Notification, NotificationKind};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::time::Duration;
use url::Url;

/// An Alertmanager resolves an alert by itself this long after it last heard of it.
pub const FIRING_FOR: Duration = Duration::from_secs(3_600);

/// What Alertmanager writes for an instant that is not there yet: Go's zero time.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// The body of a webhook: one group of one alert.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookMessage<'a> {
    version: &'static str,
    group_key: &'a str,
    truncated_alerts: u64,
    status: &'static str,
    receiver: &'a str,
    group_labels: Pairs<'a>,
    common_labels: Pairs<'a>,
    common_annotations: Pairs<'a>,
    #[serde(rename = "externalURL")]
    external_url: String,
    alerts: [WebhookAlert<'a>; 1],
}

#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct WebhookAlert<'a> {
    status: &'static str,
    labels: Pairs<'a>,
    annotations: Pairs<'a>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
    fingerprint: String,
}

/// An element of the array that `/api/v2/alerts` takes.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PostableAlert<'a> {
    labels: Pairs<'a>,
    annotations: Pairs<'a>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
}

/// Labels as a JSON object, in the order of names.
#[derive(Debug)]
struct Pairs<'a>(Option<&'a Labels>);

// === impl WebhookMessage ===

impl<'a> WebhookMessage<'a> {
    /// The message for a notification.
    #[must_use]
    pub fn new(notification: &'a Notification) -> Self {
        let status = if notification.resolved { "resolved" } else { "firing" };
        let ended = notification.resolved.then(|| ended_at(notification).to_rfc3339());
        Self {
            version: "4",
            group_key: &notification.incident,
            truncated_alerts: 0,
            status,
            receiver: &notification.receiver,
            group_labels: Pairs(None),
            common_labels: Pairs(Some(&notification.labels)),
            common_annotations: Pairs(Some(&notification.annotations)),
            external_url: origin(&notification.generator_url),
            alerts: [WebhookAlert {
                status,
                labels: Pairs(Some(&notification.labels)),
                annotations: Pairs(Some(&notification.annotations)),
                starts_at: notification.starts_at.to_rfc3339(),
                ends_at: ended.unwrap_or_else(|| NO_TIME.to_owned()),
                generator_url: &notification.generator_url,
                fingerprint: fingerprint(&notification.labels),
            }],
        }
    }
}

// === impl PostableAlert ===

impl<'a> PostableAlert<'a> {
    /// The alert as of `now`: one that fires, frozen or not, ends an hour ahead, so that it
    /// outlives a pause of ours; one that resolved ended when it did.
    #[must_use]
    pub fn new(notification: &'a Notification, now: UnixNanos) -> Self {
        let ends_at =
            if notification.resolved { ended_at(notification) } else { now.plus(FIRING_FOR) };
        Self {
            labels: Pairs(Some(&notification.labels)),
            annotations: Pairs(Some(&notification.annotations)),
            starts_at: notification.starts_at.to_rfc3339(),
            ends_at: ends_at.to_rfc3339(),
            generator_url: &notification.generator_url,
        }
    }
}

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let pairs = self.0.into_iter().flat_map(Labels::iter);
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in pairs {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// The end of a resolved incident; when nobody noted it, the moment at which it was told.
fn ended_at(notification: &Notification) -> UnixNanos {
    notification.ends_at.unwrap_or(notification.created_at)
}

/// Alertmanager's fingerprint of a label set: FNV-1a over sorted names and values, 16 hex digits.
#[must_use]
pub fn fingerprint(labels: &Labels) -> String {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let texts = labels.iter().flat_map(|(name, value)| [name, value]);
    let bytes = texts.flat_map(|text| text.bytes().chain([0xff]));
    let hash = bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    format!("{hash:016x}")
}

/// The `Idempotency-Key` of a notification: the same for every attempt at it, and for what tells
/// the same again. A heartbeat is news each time, so its key goes with the time.
#[must_use]
pub fn idempotency_key(notification: &Notification) -> String {
    match notification.kind {
        NotificationKind::Heartbeat => {
            format!("{}-{}", notification.incident, notification.created_at.0 / 1_000_000)
        }
        NotificationKind::Transition | NotificationKind::Resend | NotificationKind::Test => {
            format!("{}-{}", notification.incident, notification.transition)
        }
    }
}

/// Scheme, host and port of the page behind a notification; empty when it names none.
fn origin(page: &str) -> String {
    Url::parse(page)
        .map(|url| url.origin())
        .ok()
        .filter(url::Origin::is_tuple)
        .map(|origin| origin.ascii_serialization())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;

    fn check_golden(name: &str, body: &impl Serialize) {
        let path = format!("{}/tests/golden/notify/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let expected = std::fs::read_to_string(&path).expect("the golden file");
        let got = serde_json::to_string_pretty(body).expect("JSON");
        assert_eq!(got.trim(), expected.trim(), "{name}");
    }

    /// Guarantees every byte of what receivers parse, for each state of an alert.
    #[test]
    fn bodies_are_as_agreed() {
        let now = UnixNanos::from_seconds(1_700_000_600);
        let firing = sample("oncall", "c0ffee", 1);
        let frozen = Notification { frozen: true, transition: 2, ..firing.clone() };
        let resolved = Notification {
            resolved: true,
            transition: 3,
            ends_at: Some(UnixNanos::from_seconds(1_700_000_300)),
            ..firing.clone()
        };
        check_golden("webhook_firing", &WebhookMessage::new(&firing));
        check_golden("webhook_resolved", &WebhookMessage::new(&resolved));
        check_golden("alertmanager_firing", &[PostableAlert::new(&firing, now)]);
        check_golden("alertmanager_frozen", &[PostableAlert::new(&frozen, now)]);
        check_golden("alertmanager_resolved", &[PostableAlert::new(&resolved, now)]);
    }

    /// Guarantees that a fingerprint equals the one that Alertmanager gives the same labels; the
    /// figures are those of its own tests.
    #[test]
    fn fingerprints_are_alertmanagers() {
        let check = |pairs: &[(&str, &str)], expected: u64| {
            let labels = Labels::new(pairs.iter().copied());
            assert_eq!(fingerprint(&labels), format!("{expected:016x}"));
        };
        check(&[], 14_695_981_039_346_656_037);
        check(
            &[("name", "garland, briggs"), ("fear", "love is not enough")],
            5_799_056_148_416_392_346,
        );
    }

    /// Guarantees one key for every repetition of the same news, and a new one for a heartbeat.
    #[test]
    fn a_key_is_the_same_for_the_same_news() {
        let told = sample("oncall", "c0ffee", 2);
        let again = Notification {
            kind: NotificationKind::Resend,
            created_at: told.created_at.plus(Duration::from_secs(60)),
            ..told.clone()
        };
        assert_eq!(idempotency_key(&told), "c0ffee-2");
        assert_eq!(idempotency_key(&again), idempotency_key(&told));
        let beat = |at: &Notification| {
            idempotency_key(&Notification { kind: NotificationKind::Heartbeat, ..at.clone() })
        };
        assert_ne!(beat(&told), beat(&again));
    }
}
