//! What phones call things, in one table: rows of other names for current semantic conventions.
//!
//! A new dialect is new rows here. Values are never translated, only names.

use crate::wire::semconv as key;

/// Current key, and the older or vendors' keys that mean the same, best first.
const ATTRIBUTES: &[(&str, &[&str])] = &[
    (key::HTTP_REQUEST_METHOD, &[key::OLD_HTTP_METHOD]),
    (key::HTTP_RESPONSE_STATUS_CODE, &[key::OLD_HTTP_STATUS_CODE]),
    (key::URL_FULL, &[key::OLD_HTTP_URL]),
    (key::URL_PATH, &[key::OLD_HTTP_TARGET]),
    (key::URL_TEMPLATE, &[key::HTTP_ROUTE]),
    (key::HTTP_ROUTE, &[key::URL_TEMPLATE]),
    (key::SERVER_ADDRESS, &[key::OLD_NET_PEER_NAME]),
    (key::SERVICE_VERSION, &["app.version"]),
    (key::SESSION_ID, &["splunk.rumSessionId"]),
    ("app.screen.name", &["screen.name"]),
    (key::NETWORK_CONNECTION_TYPE, &["net.host.connection.type"]),
];

/// Current name of an event, and other names that mean the same.
const EVENTS: &[(&str, &[&str])] = &[
    ("app.crash", &["device.crash", "metrickit.diagnostic.crash"]),
    ("device.anr", &["metrickit.diagnostic.hang"]),
];

/// Other keys under which `current` may stand.
#[must_use]
pub fn aliases(current: &str) -> &'static [&'static str] {
    ATTRIBUTES.iter().find(|(key, _)| *key == current).map_or(&[], |(_, others)| others)
}

/// The current name of an event.
#[must_use]
pub fn event_name(name: &str) -> &str {
    EVENTS.iter().find(|(_, others)| others.contains(&name)).map_or(name, |(current, _)| current)
}
