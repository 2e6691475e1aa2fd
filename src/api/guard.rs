//! Who may change something: tokens where they are configured, and the same origin always, so that
//! another site open in the same browser cannot.

use crate::base::secret::Secret;
use axum::http::{HeaderMap, Method, StatusCode, header};

/// The rules of access.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// Bearer tokens; none means that nobody needs one.
    pub tokens: Vec<(String, Secret)>,
}

impl Guard {
    /// Whether a request may pass; the status and words with which it is refused otherwise.
    ///
    /// # Errors
    /// 401 without a token that is needed, 403 from another site.
    pub fn check(
        &self,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<(), (StatusCode, &'static str)> {
        let text =
            |name| headers.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
        if !self.tokens.is_empty() {
            let given = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
            // All tokens are compared, so that the time tells nothing.
            let known = given.is_some_and(|given| {
                self.tokens.iter().fold(false, |found, (_, token)| token.matches(given) | found)
            });
            if !known {
                return Err((
                    StatusCode::UNAUTHORIZED,
                    "a bearer token is needed: Authorization: Bearer …",
                ));
            }
        }
        let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        let foreign = text(header::ORIGIN).is_some_and(|origin| {
            let host = text(header::HOST).unwrap_or("");
            origin.split_once("://").is_none_or(|(_, authority)| authority != host)
        });
        if !reads && (foreign || !host_is_ours(text(header::HOST))) {
            return Err((
                StatusCode::FORBIDDEN,
                "requests that change something must come from this page or without an Origin",
            ));
        }
        Ok(())
    }
}

/// A name that an attacker made to resolve to loopback is not ours; without tokens only loopback is.
fn host_is_ours(host: Option<&str>) -> bool {
    host.is_some_and(|host| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that reading is free without tokens, and that another site cannot change anything.
    #[test]
    fn other_sites_cannot_change_anything() {
        let check =
            |tokens: &[&str], method: Method, headers: &[(&'static str, &str)], expected: u16| {
                let guard = Guard {
                    tokens: tokens.iter().map(|t| ("ops".to_owned(), Secret::new(*t))).collect(),
                };
                let mut map = HeaderMap::new();
                for (name, value) in headers {
                    let _ = map.insert(*name, value.parse().unwrap());
                }
                let got =
                    guard.check(&method, &map).map_or_else(|(status, _)| status.as_u16(), |()| 200);
                assert_eq!(got, expected, "{method} {headers:?}");
            };
        let host = ("host", "127.0.0.1:7663");
        check(&[], Method::GET, &[("origin", "https://evil.example")], 200);
        check(&[], Method::POST, &[host], 200);
        check(&[], Method::POST, &[host, ("origin", "http://127.0.0.1:7663")], 200);
        check(&[], Method::POST, &[host, ("origin", "https://evil.example")], 403);
        check(&[], Method::POST, &[host, ("origin", "null")], 403);
        check(&["t"], Method::GET, &[host], 401);
        check(&["t"], Method::GET, &[host, ("authorization", "Bearer x")], 401);
        check(&["t"], Method::POST, &[host, ("authorization", "Bearer t")], 200);
    }
}
