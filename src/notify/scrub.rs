//! Keeps secrets out of error texts, wherever they came from: a receiver may well repeat the
//! address or a token in its answer.

use crate::base::secret::Secret;
use url::Url;

/// An error text has at most this many characters.
pub(crate) const MAX_ERROR_CHARS: usize = 200;

/// Shorter parts of a path are words like `api` and stay readable.
const MIN_PATH_SECRET: usize = 8;

/// Shorter values of queries and headers are flags, not secrets.
const MIN_VALUE_SECRET: usize = 4;

/// The texts that must not be shown for one receiver, longest first.
#[derive(Clone, Debug)]
pub(crate) struct Scrub(Vec<Secret>);

impl Scrub {
    /// What is secret in an address and the values of headers: all but scheme and host.
    pub(crate) fn new(url: &Url, headers: &[(String, Secret)]) -> Self {
        let mut secrets: Vec<String> = vec![url.as_str().to_owned()];
        let long = |text: &str, least: usize| (text.len() >= least).then(|| text.to_owned());
        secrets.extend(long(url.path(), MIN_PATH_SECRET));
        secrets.extend(url.path().split('/').filter_map(|part| long(part, MIN_PATH_SECRET)));
        secrets.extend(url.query().and_then(|query| long(query, MIN_VALUE_SECRET)));
        secrets.extend(url.query_pairs().filter_map(|(_, value)| long(&value, MIN_VALUE_SECRET)));
        secrets.extend(url.fragment().and_then(|text| long(text, MIN_VALUE_SECRET)));
        secrets.extend(long(url.username(), MIN_VALUE_SECRET));
        secrets.extend(url.password().and_then(|word| long(word, MIN_VALUE_SECRET)));
        for (_, value) in headers {
            secrets.extend(long(value.reveal(), MIN_VALUE_SECRET));
            // `Bearer abc`: the receiver may repeat the token without its scheme.
            let parts = value.reveal().split_whitespace().skip(1);
            secrets.extend(parts.filter_map(|part| long(part, MIN_VALUE_SECRET)));
        }
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        Self(secrets.into_iter().map(Secret::new).collect())
    }

    /// `text` on one line without the secrets, cut to [`MAX_ERROR_CHARS`].
    pub(crate) fn clean(&self, text: &str) -> String {
        let hidden = self
            .0
            .iter()
            .fold(text.to_owned(), |text, secret| text.replace(secret.reveal(), "<redacted>"));
        let printable = hidden.chars().map(|c| if c.is_control() { ' ' } else { c });
        let line: String = printable.collect();
        let words: Vec<&str> = line.split_whitespace().collect();
        words.join(" ").chars().take(MAX_ERROR_CHARS).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scrub(url: &str, header: &str) -> Scrub {
        let url = Url::parse(url).expect("a URL");
        Scrub::new(&url, &[("authorization".to_owned(), Secret::new(header))])
    }

    /// Guarantees that every secret part is hidden on its own, and that words stay readable.
    #[test]
    fn hides_each_part() {
        let scrub = scrub("https://me:pass1@host/services/T0CANARY1?key=CANARY2", "Bearer CANARY3");
        let check = |text: &str, expected: &str| assert_eq!(scrub.clean(text), expected);
        check("no hook T0CANARY1", "no hook <redacted>");
        check("key CANARY2 of\r\n pass1", "key <redacted> of <redacted>");
        check("bad Bearer token CANARY3\0", "bad Bearer token <redacted>");
        check("host is down", "host is down");
    }

    proptest! {
        /// Guarantees the bound and that a secret never shows, wherever in the text it stands.
        #[test]
        fn never_shows_a_secret(before in ".{0,300}", after in ".{0,300}") {
            let clean = scrub("https://host/hook/CANARY12", "x").clean(
                &format!("{before}CANARY12{after}"));
            prop_assert!(!clean.contains("CANARY12"));
            prop_assert!(clean.chars().count() <= MAX_ERROR_CHARS);
        }
    }
}
