//! The collector's address: what may be shown of it, where signals go below it, and whether it is
//! our own front door.

use super::ExportError;
use std::net::{IpAddr, SocketAddr};
use url::{Host, Url};

/// The path of traces over HTTP, from OTLP's specification.
const TRACES_PATH: &str = "v1/traces";

/// A valid address of a collector.
#[derive(Clone, Debug)]
pub(super) struct Endpoint(Url);

impl Endpoint {
    /// Reads an address; one without a scheme means plain HTTP.
    pub(super) fn parse(text: &str) -> Result<Self, ExportError> {
        let text = text.trim();
        let url = if text.contains("://") {
            Url::parse(text)
        } else {
            Url::parse(&format!("http://{text}"))
        };
        url.ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .map(Self)
            .ok_or(ExportError::Endpoint)
    }

    /// The whole address, which may hold secrets.
    pub(super) fn url(&self) -> &Url {
        &self.0
    }

    /// Scheme, host and port: what may be shown.
    pub(super) fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    /// Whether it is reached over TLS.
    pub(super) fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Host, without the brackets of an IPv6 address, and port.
    pub(super) fn host_and_port(&self) -> Option<(String, u16)> {
        let host = match self.0.host()? {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        Some((host, self.0.port_or_known_default()?))
    }

    /// Where traces go over HTTP.
    pub(super) fn traces_url(&self) -> Url {
        let mut url = self.0.clone();
        let path = url.path().trim_end_matches('/').to_owned();
        if !path.ends_with(TRACES_PATH) {
            url.set_path(&format!("{path}/{TRACES_PATH}"));
        }
        url
    }
}

/// Whether `endpoint` is one of our own listeners, so that we would send to ourselves. Judged by
/// address alone: a name other than `localhost` is not resolved, and a listener on all addresses is
/// recognised only under loopback ones.
#[must_use]
pub fn forwards_to_self(endpoint: &str, own_listeners: &[SocketAddr]) -> bool {
    let Ok(Endpoint(url)) = Endpoint::parse(endpoint) else { return false };
    let reaches = |listener: &SocketAddr| match url.host() {
        Some(Host::Domain(name)) => is_localhost(name) && is_local(listener.ip()),
        Some(Host::Ipv4(address)) => same_machine(address.into(), listener.ip()),
        Some(Host::Ipv6(address)) => same_machine(address.into(), listener.ip()),
        None => false,
    };
    let port = url.port_or_known_default();
    own_listeners.iter().any(|listener| Some(listener.port()) == port && reaches(listener))
}

fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost")
}

fn is_local(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_loopback() || address.is_unspecified()
}

fn same_machine(target: IpAddr, listener: IpAddr) -> bool {
    let (target, listener) = (target.to_canonical(), listener.to_canonical());
    // A connection to the unspecified address ends up on loopback.
    target == listener
        || (listener.is_unspecified() && is_local(target))
        || (target.is_unspecified() && is_local(listener))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that our own listeners are recognised in every spelling, and others are not.
    #[test]
    fn recognises_our_own_door() {
        let check = |endpoint: &str, listener: &str, expected: bool| {
            let listener: SocketAddr = listener.parse().expect("an address");
            assert_eq!(forwards_to_self(endpoint, &[listener]), expected, "{endpoint} {listener}");
        };
        check("http://127.0.0.1:4317", "127.0.0.1:4317", true);
        check("127.0.0.1:4317", "127.0.0.1:4317", true);
        check("localhost:4317", "127.0.0.1:4317", true);
        check("http://LOCALHOST.:4318/v1/traces", "[::1]:4318", true);
        check("http://[::1]:4317", "[::]:4317", true);
        check("http://127.0.0.1:4317", "0.0.0.0:4317", true);
        check("http://[::ffff:127.0.0.1]:4317", "127.0.0.1:4317", true);
        check("http://0.0.0.0:4317", "127.0.0.1:4317", true);
        check("http://10.0.0.5:4317", "10.0.0.5:4317", true);
        check("https://127.0.0.1", "127.0.0.1:443", true);
        check("http://127.0.0.1:4318", "127.0.0.1:4317", false);
        check("http://collector:4317", "127.0.0.1:4317", false);
        check("http://10.0.0.6:4317", "10.0.0.5:4317", false);
        check("http://10.0.0.6:4317", "0.0.0.0:4317", false);
        check("not an address", "127.0.0.1:4317", false);
    }

    /// Guarantees that both ways to write an OTLP/HTTP endpoint lead to the same place.
    #[test]
    fn finds_the_path_of_traces() {
        let check = |endpoint: &str, expected: &str| {
            let url = Endpoint::parse(endpoint).map(|endpoint| endpoint.traces_url().to_string());
            assert_eq!(url.ok().as_deref(), Some(expected));
        };
        check("http://collector:4318", "http://collector:4318/v1/traces");
        check("collector:4318/", "http://collector:4318/v1/traces");
        check("https://host/otlp", "https://host/otlp/v1/traces");
        check("https://host/otlp/v1/traces", "https://host/otlp/v1/traces");
        check("https://host/v1/traces/?key=x", "https://host/v1/traces/?key=x");
    }
}
