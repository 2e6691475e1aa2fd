//! What every request of a probe carries, so that it is known as synthetic and found in traces.
//!
//! W3C `traceparent` (the run is the trace, the step the parent), W3C `baggage` with
//! OpenTelemetry's `user_agent.synthetic.type=test`, and a `user-agent`. A definition may replace
//! the user agent and add to the baggage; it cannot take the marks away.

use super::failure::{Attempt, failure};
use super::spec::HeaderText;
use super::template::Variables;
use crate::model::probe::{FailureReason, RunId};
use crate::wire::semconv;
use ::http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, USER_AGENT};

/// Headers that belong to us or to the protocol; a definition that sets them has no effect.
const RESERVED: [&str; 13] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "traceparent",
    "tracestate",
    "transfer-encoding",
    "upgrade",
];
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// Who sends a request: the run, the step and the probe.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    /// The trace.
    pub run: RunId,
    /// The step's span.
    pub span: [u8; 8],
    /// The probe's name.
    pub probe: String,
}

/// Whether a definition has no say in the header of that name (in any case).
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name))
}

/// The `user-agent` of probes, unless a definition sets its own.
#[must_use]
pub fn user_agent() -> String {
    concat!("radiosonde/", env!("CARGO_PKG_VERSION")).to_owned()
}

impl Mark {
    /// The value of `traceparent`: sampled.
    pub(super) fn traceparent(&self) -> String {
        let span: String = self.span.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("00-{}-{span}-01", self.run.to_hex())
    }

    /// The value of `baggage`.
    pub(super) fn baggage(&self) -> String {
        let (kind, name) = (semconv::SYNTHETIC_TYPE, semconv::probe::NAME);
        format!("{kind}=test,{name}={}", escape(&self.probe))
    }

    /// The headers of a request: the definition's, filled in, and our marks.
    ///
    /// # Errors
    /// A local failure when a name or value cannot be a header's; the value is not repeated, as it
    /// may be a secret.
    pub(super) fn headers(
        &self,
        wanted: &[(String, HeaderText)],
        variables: &Variables,
        authorization: Option<String>,
    ) -> Attempt<HeaderMap> {
        let mut headers = HeaderMap::new();
        for (name, text) in wanted.iter().filter(|(name, _)| !is_reserved(name)) {
            let parsed = HeaderName::from_bytes(name.as_bytes());
            let value = value(name, &variables.fill(text.reveal())?)?;
            let name = parsed.map_err(|_| unusable(name))?;
            headers.append(name, value);
        }
        if let Some(text) = authorization.filter(|_| !headers.contains_key(AUTHORIZATION)) {
            headers.insert(AUTHORIZATION, value("authorization", &text)?);
        }
        if !headers.contains_key(USER_AGENT) {
            headers.insert(USER_AGENT, value("user-agent", &user_agent())?);
        }
        headers.insert(TRACEPARENT, value("traceparent", &self.traceparent())?);
        headers.append(BAGGAGE, value("baggage", &self.baggage())?);
        Ok(headers)
    }
}

fn value(name: &str, text: &str) -> Attempt<HeaderValue> {
    HeaderValue::from_str(text).map_err(|_| unusable(name))
}

fn unusable(name: &str) -> crate::model::probe::Failure {
    failure(FailureReason::Local, format!("the header `{name}` has an unusable name or value"))
}

/// Percent-encodes all that baggage does not allow in a value.
fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::Secret;

    /// Guarantees that marks cannot be taken away, and that the user agent can be replaced.
    #[test]
    fn marks_stay() {
        let mark = Mark { run: RunId([0xab; 16]), span: [1; 8], probe: "über chat".to_owned() };
        let plain = |name: &str, text: &str| (name.to_owned(), HeaderText::Plain(text.to_owned()));
        let wanted = [
            plain("Traceparent", "00-0-0-00"),
            plain("baggage", "tenant=7"),
            plain("User-Agent", "curl/8"),
            ("authorization".to_owned(), HeaderText::Secret(Secret::new("Bearer ${run.id}"))),
        ];
        let variables = Variables::new(RunId([0xab; 16]), crate::base::clock::UnixNanos(0));
        let headers = mark.headers(&wanted, &variables, Some("Basic x".to_owned())).expect("valid");
        let all = |name: &str| -> Vec<&str> {
            headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).collect()
        };
        let run = "ab".repeat(16);
        assert_eq!(all("traceparent"), [format!("00-{run}-0101010101010101-01")]);
        let ours = "user_agent.synthetic.type=test,radiosonde.probe.name=%C3%BCber%20chat";
        assert_eq!(all("baggage"), ["tenant=7", ours]);
        assert_eq!(all("user-agent"), ["curl/8"]);
        assert_eq!(all("authorization"), [format!("Bearer {run}")]);
    }

    /// Guarantees that an unusable secret is not repeated in the failure.
    #[test]
    fn a_broken_secret_is_not_shown() {
        let mark = Mark { run: RunId([1; 16]), span: [1; 8], probe: "p".to_owned() };
        let wanted = [("x-key".to_owned(), HeaderText::Secret(Secret::new("hush\n")))];
        let variables = Variables::new(RunId([1; 16]), crate::base::clock::UnixNanos(0));
        let failure = mark.headers(&wanted, &variables, None).expect_err("a line break");
        assert!(failure.message.contains("x-key") && !failure.message.contains("hush"));
    }
}
