//! Which targets probes may write to: loopback always, everything else by name.
//!
//! A probe that posts or sends messages changes something somewhere; a slip in a URL must not do
//! that to somebody else's production.

use super::fields::Context;
use super::scalar::quoted;
use super::tree::{Node, Place};
use url::{Host, Url};

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
        let host = url.host_str().unwrap_or_default();
        let host_fits = match self.host.strip_prefix('*') {
            Some(suffix) => host.ends_with(suffix),
            None => host == self.host,
        };
        let port_fits = self.port.is_none_or(|port| url.port_or_known_default() == Some(port));
        let path_fits = url
            .path()
            .strip_prefix(self.path.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        host_fits && port_fits && path_fits
    }
}

/// Whether a URL leads to this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

impl Context<'_> {
    /// An entry of the allow-list.
    pub(super) fn write_target(&self, node: &Node) -> Option<WriteTarget> {
        let text = self.text(node, "allow")?;
        let target = WriteTarget::parse(text);
        if target.is_none() {
            let message = format!("`{}` is not a target", quoted(text));
            let hint = "write host, host:port or host/path, for example *.example.com/rooms/probe";
            self.problems.wrong_hint(node.at, message, hint);
        }
        target
    }

    /// Reports a write to a target that is neither here nor on the list.
    pub(super) fn check_write(&self, at: Place, url: &Url, allowed: &[WriteTarget]) {
        if is_loopback(url) || allowed.iter().any(|target| target.allows(url)) {
            return;
        }
        let host = url.host_str().unwrap_or_default();
        self.problems.wrong_hint(
            at,
            format!("this probe writes to {}, which is not allowed", quoted(host)),
            format!("if it may, say so in radiosonde.yaml: writes: {{ allow: [ {host} ] }}"),
        );
    }
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
}
