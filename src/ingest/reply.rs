//! What the front door answers after success: OTLP's export responses.

use super::request::Encoding;
use super::validate::Tally;
use crate::wire::otlp::{
    ExportLogsPartialSuccess, ExportLogsServiceResponse, ExportMetricsPartialSuccess,
    ExportMetricsServiceResponse, ExportTracePartialSuccess, ExportTraceServiceResponse, Signal,
};
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use prost::Message;
use serde_json::json;
use std::convert::Infallible;

/// The body of every answer.
pub(super) type ReplyBody = UnsyncBoxBody<Bytes, Infallible>;

/// The export response: empty when every item was taken, else with the count of those that were
/// not, and why.
pub(super) fn exported(signal: Signal, tally: &Tally, encoding: Encoding) -> Vec<u8> {
    match encoding {
        Encoding::Protobuf => protobuf(signal, tally),
        Encoding::Json => json(signal, tally),
    }
}

fn protobuf(signal: Signal, tally: &Tally) -> Vec<u8> {
    let rejected = i64::try_from(tally.rejected()).unwrap_or(i64::MAX);
    let error_message = tally.explain(signal);
    match signal {
        _ if rejected == 0 => Vec::new(),
        Signal::Traces => {
            let partial = ExportTracePartialSuccess { rejected_spans: rejected, error_message };
            ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec()
        }
        Signal::Metrics => {
            let partial =
                ExportMetricsPartialSuccess { rejected_data_points: rejected, error_message };
            ExportMetricsServiceResponse { partial_success: Some(partial) }.encode_to_vec()
        }
        Signal::Logs => {
            let partial =
                ExportLogsPartialSuccess { rejected_log_records: rejected, error_message };
            ExportLogsServiceResponse { partial_success: Some(partial) }.encode_to_vec()
        }
    }
}

fn json(signal: Signal, tally: &Tally) -> Vec<u8> {
    if tally.rejected() == 0 {
        return b"{}".to_vec();
    }
    let field = match signal {
        Signal::Traces => "rejectedSpans",
        Signal::Metrics => "rejectedDataPoints",
        Signal::Logs => "rejectedLogRecords",
    };
    // 64-bit integers are strings in protobuf's JSON mapping.
    let rejected = tally.rejected().to_string();
    let partial = json!({ field: rejected, "errorMessage": tally.explain(signal) });
    json!({ "partialSuccess": partial }).to_string().into_bytes()
}
