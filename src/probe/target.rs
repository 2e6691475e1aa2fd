//! Where a step goes: a URL, split into what dialling, requests and reports need of it.

use super::failure::{Attempt, failure};
use crate::model::probe::{Failure, FailureReason};
use base64::Engine as _;
use std::fmt;
use std::net::IpAddr;
use url::{Host, Url};

/// A URL that can be dialled.
#[derive(Clone, Debug)]
pub(super) struct Target {
    url: Url,
    /// Name or address, an IPv6 address without its brackets.
    pub host: String,
    /// The URL's, or the scheme's own.
    pub port: u16,
    /// Whether the scheme asks for TLS.
    pub tls: bool,
}

impl Target {
    /// Reads a URL whose scheme must be one of `schemes`.
    ///
    /// # Errors
    /// A local failure: nothing was sent, so nothing is known about the target.
    pub(super) fn parse(text: &str, schemes: [&str; 2]) -> Attempt<Self> {
        let url = Url::parse(text).map_err(|error| unusable(&error.to_string()))?;
        Self::of(url, schemes)
    }

    /// The target that `location` means in an answer of this one; only HTTP.
    ///
    /// # Errors
    /// A protocol failure: the server sent a place that cannot be gone to.
    pub(super) fn redirected(&self, location: &str) -> Attempt<Self> {
        let found = self.url.join(location).map_err(|error| unusable(&error.to_string()));
        found.and_then(|url| Self::of(url, ["http", "https"])).map_err(|mut failure| {
            failure.reason = FailureReason::Protocol;
            failure.message = format!("the redirect is unusable: {}", failure.message);
            failure
        })
    }

    fn of(url: Url, schemes: [&str; 2]) -> Attempt<Self> {
        let [plain, secure] = schemes;
        let tls = url.scheme() == secure;
        if !tls && url.scheme() != plain {
            let text = format!("the scheme must be {plain} or {secure}, not {}", url.scheme());
            return Err(unusable(&text));
        }
        let host = match url.host() {
            Some(Host::Domain(name)) if !name.is_empty() => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            _ => return Err(unusable("it names no host")),
        };
        let port = url.port_or_known_default().ok_or_else(|| unusable("it names no port"))?;
        Ok(Self { url, host, port, tls })
    }

    /// The host as an address, when it is one.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Host and port as in a `Host` header: the port only where it is not the scheme's own.
    pub(super) fn authority(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// Path and query, as a request names them.
    pub(super) fn path_and_query(&self) -> String {
        let path = self.url.path();
        self.url.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
    }

    /// The URL as it was given, credentials included.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// Whether both stand for the same server, so that credentials for one may go to the other.
    pub(super) fn same_origin(&self, other: &Self) -> bool {
        self.url.origin() == other.url.origin()
    }

    /// The `Authorization` that credentials in the URL stand for.
    pub(super) fn authorization(&self) -> Option<String> {
        let user = self.url.username();
        if user.is_empty() && self.url.password().is_none() {
            return None;
        }
        let pair = format!("{}:{}", unescape(user), unescape(self.url.password().unwrap_or("")));
        Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
    }
}

/// For reports: without credentials and query, which may hold secrets.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.url.scheme(), self.authority(), self.url.path())
    }
}

/// A host as a URL writes it: an address, IPv6 in brackets, or a name, an IDN converted. `None` when
/// the text is neither.
pub(super) fn url_host(text: &str) -> Option<String> {
    match text.parse() {
        Ok(IpAddr::V6(address)) => Some(format!("[{address}]")),
        Ok(IpAddr::V4(address)) => Some(address.to_string()),
        Err(_) => Host::parse(text)
            .ok()
            .filter(|host| matches!(host, Host::Domain(_)))
            .map(|host| host.to_string()),
    }
}

fn unusable(why: &str) -> Failure {
    failure(FailureReason::Local, format!("the URL is unusable: {why}"))
}

/// Undoes percent-encoding, as of credentials in URLs; what is none stays as it is.
pub(super) fn unescape(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let decoded = part
            .split_at_checked(2)
            .and_then(|(hex, rest)| Some((u8::from_str_radix(hex, 16).ok()?, rest)));
        match decoded {
            Some((byte, rest)) => {
                bytes.push(byte);
                bytes.extend_from_slice(rest.as_bytes());
            }
            None => {
                bytes.push(b'%');
                bytes.extend_from_slice(part.as_bytes());
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that reports show neither credentials nor query, and requests carry the query.
    #[test]
    fn secrets_of_a_url_are_not_shown() {
        let target =
            Target::parse("https://me:p%40s%3Ds@[::1]:8443/a?token=1#x", ["http", "https"])
                .expect("usable");
        assert_eq!(target.to_string(), "https://[::1]:8443/a");
        assert_eq!(target.host, "::1");
        assert_eq!(target.authority(), "[::1]:8443");
        assert_eq!(target.path_and_query(), "/a?token=1");
        assert_eq!(target.authorization().as_deref(), Some("Basic bWU6cEBzPXM="));
    }

    /// Guarantees default ports, relative redirects, and that only HTTP is redirected to.
    #[test]
    fn redirects_stay_within_http() {
        let target = Target::parse("http://a.test/x/y", ["http", "https"]).expect("usable");
        assert_eq!((target.port, target.authority().as_str()), (80, "a.test"));
        let next = target.redirected("../z").expect("usable");
        assert_eq!((next.to_string().as_str(), &*next.path_and_query()), ("http://a.test/z", "/z"));
        assert!(next.same_origin(&target));
        let refused = target.redirected("file:///etc/passwd").expect_err("not HTTP");
        assert_eq!(refused.reason, FailureReason::Protocol);
        assert!(Target::parse("ftp://a.test", ["http", "https"]).is_err());
    }
}
