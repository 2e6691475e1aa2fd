//! The `google.rpc` messages that OTLP answers are made of, in protobuf and in JSON.

use super::problem::Problem;
use prost::Message;
use serde_json::json;

/// `google.rpc.Status`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Status {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<Any>,
}

/// `google.protobuf.Any`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Any {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

/// `google.rpc.RetryInfo`
#[derive(Clone, PartialEq, Message)]
pub(super) struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    pub(super) retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Delay {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

/// `google.rpc.BadRequest`
#[derive(Clone, PartialEq, Message)]
pub(super) struct BadRequest {
    #[prost(message, repeated, tag = "1")]
    pub(super) field_violations: Vec<FieldViolation>,
}

/// `google.rpc.BadRequest.FieldViolation`
#[derive(Clone, PartialEq, Message)]
pub(super) struct FieldViolation {
    #[prost(string, tag = "1")]
    pub(super) field: String,
    #[prost(string, tag = "2")]
    pub(super) description: String,
}

pub(super) const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";
pub(super) const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";

/// The status that tells of `problem`, in protobuf.
pub(super) fn protobuf(problem: &Problem) -> Vec<u8> {
    let mut details = Vec::new();
    if let Some(delay) = problem.retry_after() {
        let seconds = i64::try_from(delay.as_secs()).unwrap_or(i64::MAX);
        let info = RetryInfo { retry_delay: Some(Delay { seconds, nanos: 0 }) };
        details.push(Any { type_url: RETRY_INFO.to_owned(), value: info.encode_to_vec() });
    }
    if let Some(what) = problem.bad_data() {
        let violation = FieldViolation { field: String::new(), description: what.to_owned() };
        let bad = BadRequest { field_violations: vec![violation] };
        details.push(Any { type_url: BAD_REQUEST.to_owned(), value: bad.encode_to_vec() });
    }
    let status = Status { code: problem.code() as i32, message: problem.to_string(), details };
    status.encode_to_vec()
}

/// The status that tells of `problem`, in protobuf's JSON mapping.
pub(super) fn json(problem: &Problem) -> Vec<u8> {
    let mut details = Vec::new();
    if let Some(delay) = problem.retry_after() {
        let delay = format!("{}s", delay.as_secs());
        details.push(json!({ "@type": RETRY_INFO, "retryDelay": delay }));
    }
    if let Some(what) = problem.bad_data() {
        let violations = [json!({ "description": what })];
        details.push(json!({ "@type": BAD_REQUEST, "fieldViolations": violations }));
    }
    let mut status = json!({ "code": problem.code() as i32, "message": problem.to_string() });
    if let (Some(status), false) = (status.as_object_mut(), details.is_empty()) {
        let _ = status.insert("details".to_owned(), details.into());
    }
    status.to_string().into_bytes()
}
