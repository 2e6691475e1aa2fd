//! The paths that the pages link to, in one place, and what may be an outside link at all.

use maud::{Markup, html};

/// The evidence page of a probe.
pub(in crate::api) fn probe(name: &str) -> String {
    format!("/probes/{}", segment(name))
}

/// The evidence page of a run.
pub(in crate::api) fn run(id: crate::model::probe::RunId) -> String {
    format!("/runs/{}", id.to_hex())
}

/// The evidence page of an SLO.
pub(super) fn slo(name: &str) -> String {
    format!("/slos/{}", segment(name))
}

/// The page of an incident.
pub(super) fn incident(id: &str) -> String {
    format!("/incidents/{}", segment(id))
}

/// An address that a person configured, if it is one that a browser may be sent to. Anything
/// else, `javascript:` above all, is shown as words.
pub(super) fn outside(url: &str) -> Option<&str> {
    let (scheme, rest) = url.trim().split_once("://")?;
    let web = scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http");
    (web && !rest.is_empty()).then(|| url.trim())
}

/// A path of this server, if it is one: a single slash in front, so that `//host` is none.
pub(super) fn inside(path: &str) -> Option<&str> {
    let rest = path.strip_prefix('/')?;
    (!rest.starts_with(['/', '\\'])).then_some(path)
}

/// Words, linked when the path is one of this server.
pub(super) fn maybe(path: Option<&str>, words: &str) -> Markup {
    html! {
        @match path.and_then(inside) {
            Some(path) => { a href=(path) { (words) } }
            None => { (words) }
        }
    }
}

/// A name as one segment of a path: everything but RFC 3986's unreserved characters is encoded.
pub(super) fn segment(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that names stay one segment and that only web addresses become outside links.
    #[test]
    fn links_lead_where_they_say() {
        assert_eq!(slo("a/b c?ü"), "/slos/a%2Fb%20c%3F%C3%BC");
        assert_eq!(outside("https://wiki/run"), Some("https://wiki/run"));
        assert_eq!(outside("javascript:alert(1)"), None);
        assert_eq!(outside("javascript://alert(1)"), None);
        assert_eq!(inside("/slos/x"), Some("/slos/x"));
        assert_eq!(inside("//evil.example"), None);
        assert_eq!(inside("/\\evil.example"), None);
        assert_eq!(inside("https://evil.example"), None);
    }
}
