//! Which targets probes may write to: loopback always, everything else by name.
//!
//! A probe that posts or sends messages changes something somewhere; a slip in a URL must not do
//! that to somebody else's production. `config/` asks when it reads a definition, and the engine
//! once more before each write: what a run captured, or a redirect, may lead elsewhere.

use super::failure::{Attempt, failure, quote};
use super::target::Target;
use crate::model::probe::FailureReason;
use std::net::Ipv4Addr;
use url::{Host, Url};

/// Methods that change nothing at the target.
const READING: [&str; 3] = ["GET", "HEAD", "OPTIONS"];

/// An entry of the allow-list: `chat.example.com`, `*.example.com:8443`, `10.0.0.5/rooms/probe`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteTarget {
    /// Lower case; `*` for any, `*.` in front for everything below.
    host: String,
    /// Any unless given.
    port: Option<u16>,
    /// Paths begin with it: whole segments.
    path: String,
}

// === impl WriteTarget ===

impl WriteTarget {
    /// Reads an entry.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.contains("://") || text.contains(char::is_whitespace) {
            return None;
        }
        let (authority, path) = text.split_at(text.find('/').unwrap_or(text.len()));
        // An IPv6 address is full of colons; its port follows the bracket.
        let at = authority.rfind(':').filter(|at| authority.rfind(']').is_none_or(|end| end < *at));
        let (host, port) = match at {
            Some(at) => {
                let (host, port) = authority.split_at(at);
                (host, Some(port.strip_prefix(':')?.parse().ok()?))
            }
            None => (authority, None),
        };
        let name = host.strip_prefix("*.").unwrap_or(host);
        let is_host = host == "*" || Host::parse(name).is_ok();
        let path = path.trim_end_matches('/').to_owned();
        is_host.then(|| Self { host: host.to_lowercase(), port, path })
    }

    /// Whether this entry allows writing to `url`.
    #[must_use]
    pub fn allows(&self, url: &Url) -> bool {
        self.allows_at(url, url.path())
    }

    /// The same for a path that is not the URL's.
    fn allows_at(&self, url: &Url, path: &str) -> bool {
        let host = url.host_str().unwrap_or_default();
        let host_fits = match self.host.strip_prefix('*') {
            Some(suffix) => host.ends_with(suffix),
            None => host == self.host,
        };
        let port_fits = self.port.is_none_or(|port| url.port_or_known_default() == Some(port));
        let path_fits = path
            .strip_prefix(self.path.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        host_fits && port_fits && path_fits
    }
}

/// Whether a request of this method, in upper case, changes nothing at its target.
#[must_use]
pub fn is_reading(method: &str) -> bool {
    READING.contains(&method)
}

/// Whether a URL leads to this machine.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        // Only in URLs of the web is an IPv4 address told from a name.
        Some(Host::Domain(name)) => {
            name == "localhost"
                || name.ends_with(".localhost")
                || name.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
        }
        None => false,
    }
}

/// Whether probes may write to `url`: it is this machine's, or an entry allows it.
#[must_use]
pub fn may_write(url: &Url, allowed: &[WriteTarget]) -> bool {
    is_loopback(url) || allowed.iter().any(|target| target.allows(url))
}

/// Whether probes may publish to `topic` of the broker at `url`. To the allow-list a topic is a path
/// below its broker, taken as it is: to a broker `..` is a level like any other.
#[must_use]
pub fn may_publish(url: &Url, topic: &str, allowed: &[WriteTarget]) -> bool {
    let path = format!("/{topic}");
    is_loopback(url) || allowed.iter().any(|target| target.allows_at(url, &path))
}

/// [`admit`] for what is published to a topic.
///
/// # Errors
/// As there.
pub(super) fn admit_topic(target: &Target, topic: &str, allowed: &[WriteTarget]) -> Attempt<()> {
    if may_publish(target.url(), topic, allowed) {
        return Ok(());
    }
    let (host, topic) = (&target.host, quote(topic));
    let text = format!(
        "writing to {target}/{topic} is not allowed; if it may be, say so in radiosonde.yaml, with \
         the topic or how it begins: writes: {{ allow: [ {host}/{topic} ] }}"
    );
    Err(failure(FailureReason::Local, text))
}

/// Lets a write pass or refuses it.
///
/// # Errors
/// A local failure: nothing was sent, so nothing is known about the target.
pub(super) fn admit(target: &Target, allowed: &[WriteTarget]) -> Attempt<()> {
    if may_write(target.url(), allowed) {
        return Ok(());
    }
    let host = &target.host;
    let text = format!(
        "writing to {target} is not allowed; if it may be, say so in radiosonde.yaml: \
         writes: {{ allow: [ {host} ] }}"
    );
    Err(failure(FailureReason::Local, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees what an entry lets through: its host, its port, whole segments of its path.
    #[test]
    fn entries_allow_what_they_name() {
        let check = |entry: &str, url: &str, expected: bool| {
            let target = WriteTarget::parse(entry).expect(entry);
            assert_eq!(target.allows(&Url::parse(url).unwrap()), expected, "{entry} {url}");
        };
        check("chat.example.com", "wss://chat.example.com/any", true);
        check("chat.example.com", "wss://chat.example.com.evil.org/", false);
        check("Chat.Example.com:8443", "https://chat.example.com:8443/", true);
        check("chat.example.com:8443", "https://chat.example.com/", false);
        check("chat.example.com:443", "https://chat.example.com/", true);
        check("*.example.com", "https://eu.chat.example.com/", true);
        check("*.example.com", "https://example.com/", false);
        check("*", "https://anything.org/", true);
        check("a.org/rooms/probe", "https://a.org/rooms/probe/messages", true);
        check("a.org/rooms/probe", "https://a.org/rooms/probes", false);
        check("[::1]:80", "http://[::1]/", true);
        assert_eq!(WriteTarget::parse("https://a.org"), None);
        assert_eq!(WriteTarget::parse("a.org:http"), None);
        assert_eq!(WriteTarget::parse(""), None);
    }

    /// Guarantees that an entry with a path stands for topics that begin with it, level by level, and
    /// that no topic gets around it.
    #[test]
    fn topics_are_paths_below_their_broker() {
        let check = |entry: &str, topic: &str, expected: bool| {
            let allowed = [WriteTarget::parse(entry).expect(entry)];
            let url = Url::parse("mqtts://mqtt.example.com:8883").unwrap();
            assert_eq!(may_publish(&url, topic, &allowed), expected, "{entry} {topic}");
        };
        check("mqtt.example.com", "any/topic", true);
        check("mqtt.example.com/rooms/probe", "rooms/probe", true);
        check("mqtt.example.com:8883/rooms/probe/", "rooms/probe/a b", true);
        check("mqtt.example.com/rooms/probe", "rooms/probes", false);
        check("mqtt.example.com/rooms/probe", "/rooms/probe", false);
        check("mqtt.example.com/rooms/probe", "rooms/else/../probe", false);
        check("mqtt.example.com/rooms/probe", "rooms/probe/../else", true);
        check("mqtt.example.com:1883", "rooms/probe", false);
    }

    /// Guarantees that this machine may always be written to, and nothing else without an entry.
    #[test]
    fn loopback_needs_no_entry() {
        let check = |url: &str, expected: bool| {
            assert_eq!(may_write(&Url::parse(url).unwrap(), &[]), expected, "{url}");
        };
        check("http://127.0.0.1:7070/rooms", true);
        check("ws://[::1]/", true);
        check("http://api.localhost/", true);
        check("tcp://127.0.0.1:7070", true);
        check("udp://127.0.0.1.example.com:7070", false);
        check("mqtt://127.0.0.1:1883", true);
        check("mqtt://127.0.0.1.example.com:1883", false);
        check("http://0.0.0.0/", false);
        check("http://localhost.example.com/", false);
        check("http://169.254.169.254/", false);
    }
}
