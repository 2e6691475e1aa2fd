//! Bearer tokens: who is sending.

use super::config::Token;
use super::problem::Problem;
use ::http::HeaderMap;
use ::http::header::AUTHORIZATION;

/// The name of the token that the request carries; empty when none is asked for.
///
/// Every token is compared in full, so the time taken tells nothing about which one matched.
///
/// # Errors
/// When tokens are configured and the request carries none of them.
pub(super) fn sender<'a>(tokens: &'a [Token], headers: &HeaderMap) -> Result<&'a str, Problem> {
    if tokens.is_empty() {
        return Ok("");
    }
    let candidate = bearer(headers).unwrap_or_default();
    let mut found = None;
    for token in tokens {
        if token.secret.matches(candidate) && !candidate.is_empty() {
            found = Some(token.name.as_str());
        }
    }
    found.ok_or(Problem::Unauthenticated)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::Secret;

    fn check(header: Option<&str>, expected: Option<&str>) {
        let token =
            |name: &str, secret: &str| Token { name: name.to_owned(), secret: Secret::new(secret) };
        let tokens = [token("ios", "one"), token("android", "two"), token("broken", "")];
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            let _ = headers.insert(AUTHORIZATION, header.parse().expect("a header"));
        }
        assert_eq!(sender(&tokens, &headers).ok(), expected, "{header:?}");
        assert_eq!(sender(&[], &headers).ok(), Some(""), "{header:?}");
    }

    /// Guarantees that a token names its sender and that nothing else passes, the empty token
    /// included.
    #[test]
    fn tokens_name_their_senders() {
        check(Some("Bearer one"), Some("ios"));
        check(Some("bearer  two"), Some("android"));
        check(Some("Bearer three"), None);
        check(Some("Bearer "), None);
        check(Some("Basic one"), None);
        check(Some("one"), None);
        check(None, None);
    }
}
