//! Which addresses a run may talk to when somebody else named its target.
//!
//! The targets of a definition are its author's word. A target that came with a request is not: it
//! could lead to the credentials that a cloud hands to its machines, or to a service that trusts
//! whoever is inside. So the address is judged that a connection is about to go to, after resolving
//! and at every redirect: a name that is allowed may resolve to anything tomorrow.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use url::Host;

/// Addresses under which clouds answer questions about a machine, credentials among them, and that
/// are not link-local: Alibaba, Oracle, Azure, then AWS and Google over IPv6.
const METADATA: [IpAddr; 5] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254)),
];

/// Where a run may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressGuard {
    /// To every address but those that are always refused.
    Anywhere,
    /// To what one of these allows, and is not always refused.
    Only(Vec<AllowedTarget>),
}

/// An entry of the allow-list: `*.example.com:443`, `10.0.0.0/8`, `[::1]:9090`, `127.0.0.1:*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedTarget {
    host: Allowed,
    /// Any unless given.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Allowed {
    /// `*`: every host that is not this machine.
    Any,
    /// `*.example.com`: what ends with `.example.com`.
    Below(String),
    /// This name.
    Name(String),
    /// `localhost`: every address of this machine itself.
    Loopback,
    /// Addresses that begin with so many bits of this one.
    Network(IpAddr, u8),
}

/// A place that a run is about to talk to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// As the target was written: a name or an address.
    pub host: &'a str,
    /// None where the protocol has none.
    pub port: Option<u16>,
    /// What the host resolved to.
    pub address: IpAddr,
}

// === impl AddressGuard ===

impl AddressGuard {
    /// Lets a place pass, or says why not.
    pub(super) fn admit(&self, place: Place<'_>) -> Result<(), String> {
        let address = canonical(place.address);
        if let Some(what) = always_refused(address) {
            return Err(format!("{} is {what}, which is never probed on request", place.address));
        }
        match self {
            Self::Anywhere => Ok(()),
            Self::Only(entries) if entries.iter().any(|entry| entry.allows(place, address)) => {
                Ok(())
            }
            Self::Only(_) => {
                let address = place.address;
                let example = SocketAddr::new(address, place.port.unwrap_or_default());
                let example =
                    if place.port.is_some() { example.to_string() } else { address.to_string() };
                Err(format!(
                    "{address} is not allowed; if it may be probed on request, say so in \
                     radiosonde.yaml: blackbox: {{ allow: [ \"{example}\" ] }}"
                ))
            }
        }
    }
}

// === impl AllowedTarget ===

impl AllowedTarget {
    /// Reads an entry; none when it is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.contains("://") || text.contains(char::is_whitespace) {
            return None;
        }
        let (host, port) = split_port(text)?;
        let host = match host.strip_prefix("*.") {
            _ if host == "*" => Allowed::Any,
            Some(parent) => Allowed::Below(format!(".{}", name(parent)?)),
            None => match network(host) {
                Some((address, bits)) => Allowed::Network(address, bits),
                None => match name(host)? {
                    name if name == "localhost" => Allowed::Loopback,
                    name => Allowed::Name(name),
                },
            },
        };
        Some(Self { host, port })
    }

    fn allows(&self, place: Place<'_>, address: IpAddr) -> bool {
        if self.port.is_some() && self.port != place.port {
            return false;
        }
        let host = place.host.trim_end_matches('.').to_lowercase();
        // No name opens this machine: whoever owns the name would decide what is probed on it.
        match &self.host {
            Allowed::Any => !address.is_loopback(),
            Allowed::Below(suffix) => !address.is_loopback() && host.ends_with(suffix.as_str()),
            Allowed::Name(name) => !address.is_loopback() && host == *name,
            Allowed::Loopback => address.is_loopback(),
            Allowed::Network(network, bits) => is_within(address, *network, *bits),
        }
    }
}

/// Host and port; `:*` is any port, as none is.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    // An IPv6 address is full of colons; its port follows the bracket.
    if text.parse::<Ipv6Addr>().is_ok() || text.matches(':').count() > 1 && !text.contains(']') {
        return Some((text, None));
    }
    let at = text.rfind(':').filter(|at| text.rfind(']').is_none_or(|end| end < *at));
    let Some(at) = at else { return Some((text, None)) };
    let (host, port) = text.split_at(at);
    match port.strip_prefix(':')? {
        "*" => Some((host, None)),
        port => Some((host, Some(port.parse().ok().filter(|port| *port > 0)?))),
    }
}

/// An address or a network, `10.0.0.0/8`.
fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let bare = address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    let address = canonical(bare.unwrap_or(address).parse().ok()?);
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        Some(bits) => bits.parse().ok().filter(|bits| *bits <= most)?,
        None => most,
    };
    Some((address, bits))
}

fn name(text: &str) -> Option<String> {
    match Host::parse(text).ok()? {
        Host::Domain(name) if !name.contains('*') => Some(name.trim_end_matches('.').to_owned()),
        _ => None,
    }
}

fn is_within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let shift = |width: u32| width.saturating_sub(u32::from(bits));
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let differing = address.to_bits() ^ network.to_bits();
            differing.checked_shr(shift(32)).unwrap_or(0) == 0
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let differing = address.to_bits() ^ network.to_bits();
            differing.checked_shr(shift(128)).unwrap_or(0) == 0
        }
        _ => false,
    }
}

// === addresses ===

/// The address that packets reach in the end: the IPv4 one within an IPv6 address that stands for
/// it (mapped, compatible, NAT64, 6to4).
fn canonical(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    if v6.is_loopback() || v6.is_unspecified() {
        return address;
    }
    let low = || Ipv4Addr::from_bits(u32::try_from(v6.to_bits() & 0xffff_ffff).unwrap_or_default());
    match v6.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, _, _] | [0x64, 0xff9b, 0, 0, 0, 0, _, _] => low().into(),
        [0x2002, high, low, ..] => {
            Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)).into()
        }
        _ => address,
    }
}

/// What an address is when nobody may have it probed.
fn always_refused(address: IpAddr) -> Option<&'static str> {
    if METADATA.contains(&address) {
        return Some("a cloud's metadata service");
    }
    match address {
        _ if address.is_multicast() => Some("a multicast address"),
        IpAddr::V4(v4) if v4.is_link_local() => Some("link-local"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("a broadcast address"),
        // All of 0/8 means "this host"; what 240/4 means is not decided.
        IpAddr::V4(v4) if matches!(v4.octets(), [0, ..]) => Some("unspecified"),
        IpAddr::V4(v4) if v4.octets().first() >= Some(&240) => Some("reserved"),
        IpAddr::V6(v6) if v6.is_unspecified() => Some("unspecified"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("link-local"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(entries: &[&str]) -> AddressGuard {
        let parse = |text: &&str| AllowedTarget::parse(text).expect(text);
        AddressGuard::Only(entries.iter().map(parse).collect())
    }

    fn admits(guard: &AddressGuard, host: &str, port: u16, address: &str) -> bool {
        let address = address.parse().expect("an address");
        guard.admit(Place { host, port: Some(port), address }).is_ok()
    }

    /// Guarantees that no allow-list opens what must never be probed, in whatever form it is written.
    #[test]
    fn some_addresses_are_always_refused() {
        let open = only(&["*", "0.0.0.0/0", "::/0", "169.254.0.0/16", "evil.test"]);
        for guard in [&AddressGuard::Anywhere, &open] {
            for address in [
                "169.254.169.254",
                "::ffff:169.254.169.254",
                "64:ff9b::a9fe:a9fe",
                "2002:a9fe:a9fe::1",
                "::169.254.169.254",
                "fe80::1",
                "fd00:ec2::254",
                "fd20:ce::254",
                "100.100.100.200",
                "::ffff:100.100.100.200",
                "168.63.129.16",
                "0.0.0.0",
                "0.1.2.3",
                "::",
                "224.0.0.1",
                "ff02::1",
                "255.255.255.255",
                "240.0.0.1",
                "::ffff:0.0.0.0",
            ] {
                assert!(!admits(guard, "evil.test", 80, address), "{guard:?} {address}");
            }
            assert!(admits(guard, "a.test", 80, "192.0.2.1"));
            assert!(admits(guard, "127.0.0.1", 80, "127.0.0.1"));
        }
    }

    /// Guarantees what entries allow: names and what is below them, networks, ports.
    #[test]
    fn entries_allow_what_they_say() {
        let check = |entry: &str, host: &str, port: u16, address: &str, expected: bool| {
            assert_eq!(admits(&only(&[entry]), host, port, address), expected, "{entry} {host}");
        };
        check("*.example.com:443", "a.example.com", 443, "192.0.2.1", true);
        check("*.example.com:443", "A.Example.COM.", 443, "192.0.2.1", true);
        check("*.example.com:443", "a.example.com", 80, "192.0.2.1", false);
        check("*.example.com", "example.com", 443, "192.0.2.1", false);
        check("*.example.com", "evilexample.com", 443, "192.0.2.1", false);
        check("example.com", "example.com", 1, "10.0.0.1", true);
        check("10.0.0.0/8", "db.internal", 5432, "10.1.2.3", true);
        check("10.0.0.0/8", "10.1.2.3", 5432, "11.1.2.3", false);
        check("10.0.0.0/8", "x", 1, "::ffff:10.1.2.3", true);
        check("127.0.0.1:*", "127.0.0.1", 9, "127.0.0.1", true);
        check("127.0.0.1:9", "127.0.0.1", 8, "127.0.0.1", false);
        check("[::1]:9090", "::1", 9090, "::1", true);
        check("::1", "::1", 1, "::1", true);
        check("2001:db8::/32", "x", 1, "2001:db8:1::1", true);
        check("2001:db8::/32", "x", 1, "2001:db9::1", false);
        check("0.0.0.0/0", "x", 1, "198.51.100.7", true);
        check("localhost:80", "localhost", 80, "::1", true);
        let any_port = only(&["192.0.2.1:443"]);
        let address = "192.0.2.1".parse().expect("an address");
        let ping = Place { host: "192.0.2.1", port: None, address };
        assert!(any_port.admit(ping).is_err(), "an entry for a port is not for echoes");
    }

    /// Guarantees that a name which is allowed does not open this machine when it resolves to it.
    #[test]
    fn a_name_that_resolves_elsewhere_is_refused() {
        for entry in ["*", "rebound.test", "*.test"] {
            let guard = only(&[entry]);
            assert!(admits(&guard, "rebound.test", 80, "192.0.2.1"));
            for address in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
                assert!(!admits(&guard, "rebound.test", 80, address), "{entry} {address}");
            }
        }
    }

    /// Guarantees that what is no entry is told from one.
    #[test]
    fn entries_are_checked() {
        for text in
            ["", "http://a.test", "a b", "a.test:x", "a.test:0", "10.0.0.0/33", "*.*.test", "a*"]
        {
            assert_eq!(AllowedTarget::parse(text), None, "{text}");
        }
    }
}
