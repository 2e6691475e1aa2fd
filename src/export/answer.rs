//! What a collector's answer means, by the rules of OTLP: which failures are worth another try and
//! how long it asks us to wait.

use reqwest::StatusCode;
use std::time::Duration;
use tonic::Code;

/// The outcome of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Taken, except for so many spans.
    Accepted { rejected: i64, message: String },
    /// Worth another try, not before the given time.
    Retry { error: String, wait: Option<Duration> },
    /// Refused for good.
    Refused { error: String },
}

/// `google.rpc.Status`, which gRPC carries in a trailer; only what is read.
#[derive(Clone, PartialEq, prost::Message)]
struct RichStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<AnyDetail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
struct AnyDetail {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<ProtoDuration>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, prost::Message)]
struct ProtoDuration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

impl Answer {
    /// Of a gRPC call that failed. `error` says so in words.
    pub(super) fn of_grpc(status: &tonic::Status, error: String) -> Self {
        let wait = retry_delay(status.details());
        // A connection that broke comes as `Unknown` with the transport's error inside.
        let broken = std::error::Error::source(status).is_some();
        let retry = match status.code() {
            Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss => true,
            Code::ResourceExhausted => wait.is_some(),
            Code::Unknown | Code::Internal => broken,
            _ => false,
        };
        if retry { Self::Retry { error, wait } } else { Self::Refused { error } }
    }

    /// Of an HTTP request that was not answered with success.
    pub(super) fn of_http(status: StatusCode, retry_after: Option<&str>, error: String) -> Self {
        match status {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => {
                // The other spelling, a date, is rare; the backoff serves there.
                let seconds = retry_after.and_then(|text| text.trim().parse().ok());
                Self::Retry { error, wait: seconds.map(Duration::from_secs) }
            }
            _ => Self::Refused { error },
        }
    }
}

/// The `RetryInfo` among a status's details.
fn retry_delay(details: &[u8]) -> Option<Duration> {
    let status: RichStatus = prost::Message::decode(details).ok()?;
    let info = status.details.iter().find(|any| any.type_url.ends_with("google.rpc.RetryInfo"))?;
    let info: RetryInfo = prost::Message::decode(info.value.as_slice()).ok()?;
    let delay = info.retry_delay?;
    let (seconds, nanos) = (u64::try_from(delay.seconds).ok()?, u32::try_from(delay.nanos).ok()?);
    Duration::from_secs(seconds).checked_add(Duration::from_nanos(nanos.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;

    fn details(seconds: i64) -> Vec<u8> {
        let info = RetryInfo { retry_delay: Some(ProtoDuration { seconds, nanos: 500_000_000 }) };
        let any = AnyDetail {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
            value: info.encode_to_vec(),
        };
        RichStatus { details: vec![any] }.encode_to_vec()
    }

    /// Guarantees OTLP's table of gRPC codes, and that `RESOURCE_EXHAUSTED` needs a `RetryInfo`.
    #[test]
    fn follows_otlp_over_grpc() {
        let check = |code: Code, details: Vec<u8>, expected: Option<Option<Duration>>| {
            let status = tonic::Status::with_details(code, "", details.into());
            let got = match Answer::of_grpc(&status, String::new()) {
                Answer::Retry { wait, .. } => Some(wait),
                _ => None,
            };
            assert_eq!(got, expected, "{code:?}");
        };
        let asked = Some(Some(Duration::from_millis(2_500)));
        check(Code::Unavailable, Vec::new(), Some(None));
        check(Code::Unavailable, details(2), asked);
        check(Code::ResourceExhausted, details(2), asked);
        check(Code::ResourceExhausted, Vec::new(), None);
        check(Code::ResourceExhausted, details(-2), None);
        check(Code::ResourceExhausted, vec![0xff; 9], None);
        check(Code::DataLoss, Vec::new(), Some(None));
        check(Code::InvalidArgument, Vec::new(), None);
        check(Code::Unauthenticated, Vec::new(), None);
        check(Code::Unknown, Vec::new(), None);
    }

    /// Guarantees OTLP's table of HTTP statuses.
    #[test]
    fn follows_otlp_over_http() {
        let check = |status: u16, after: Option<&str>, expected: Option<Option<u64>>| {
            let status = StatusCode::from_u16(status).expect("a status");
            let got = match Answer::of_http(status, after, String::new()) {
                Answer::Retry { wait, .. } => Some(wait.map(|wait| wait.as_secs())),
                _ => None,
            };
            assert_eq!(got, expected, "{status}");
        };
        check(429, Some("7"), Some(Some(7)));
        check(503, Some("tomorrow"), Some(None));
        check(502, None, Some(None));
        check(504, None, Some(None));
        check(500, Some("7"), None);
        check(400, None, None);
        check(307, None, None);
    }
}
