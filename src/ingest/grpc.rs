//! OTLP over gRPC: three unary methods.
//!
//! The framing of a unary call is five bytes, so it is done here and not by tonic's server, which
//! inflates outside of any shared budget, decodes on the thread that reads, and answers a message
//! over the limit with `OUT_OF_RANGE`, which clients retry for ever. Status encoding is tonic's.

use super::auth;
use super::body::Compression;
use super::door::{Door, Packed, Transport};
use super::http::refusal;
use super::problem::Problem;
use super::reply::{ReplyBody, exported};
use super::request::Encoding;
use super::rpc;
use crate::wire::otlp::Signal;
use ::http::header::{CONTENT_TYPE, HeaderValue};
use ::http::{HeaderMap, Method, Request, Response, request};
use bytes::{Buf, Bytes};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use std::convert::Infallible;
use std::sync::Arc;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

const MEDIA_TYPES: &str = "application/grpc and application/grpc+proto";
const ACCEPT_ENCODING: &str = "grpc-accept-encoding";
/// One byte tells whether the message is compressed, four how long it is.
pub(super) const PREFIX: usize = 5;

/// Answers one call.
pub(super) async fn answer(door: Arc<Door>, request: Request<Incoming>) -> Response<ReplyBody> {
    let (parts, mut body) = request.into_parts();
    let signal = signal_of(parts.uri.path());
    if !is_grpc(&parts) {
        let response = refusal(&Problem::MediaType(MEDIA_TYPES), Encoding::Protobuf);
        door.answered(Transport::Grpc, signal, response.status().as_str());
        return response;
    }
    let (code, response) = match take(&door, &parts, signal, &mut body).await {
        Ok(message) => (Code::Ok, success(message)),
        Err(problem) => {
            // Not the problem's text: it may quote what was sent.
            tracing::debug!(code = problem.code() as i32, "otlp call refused");
            (problem.code(), failure(&problem))
        }
    };
    door.answered(Transport::Grpc, signal, &(code as i32).to_string());
    response
}

async fn take(
    door: &Arc<Door>,
    parts: &request::Parts,
    signal: Option<Signal>,
    body: &mut Incoming,
) -> Result<Vec<u8>, Problem> {
    let signal = signal.ok_or(Problem::NotFound)?;
    let sender = auth::sender(&door.tokens, &parts.headers)?.to_owned();
    let offered = Compression::from_header(&parts.headers, "grpc-encoding")?;
    let transport = Transport::Grpc;
    let (frame, admission) = door.admit(transport, body, PREFIX).await?;
    let (compression, body) = unframe(frame, offered)?;
    let encoding = Encoding::Protobuf;
    let packed = Packed { transport, signal, encoding, compression, sender, body };
    let tally = door.pass(packed).await?;
    drop(admission);
    Ok(exported(signal, &tally, encoding))
}

/// The one message of a unary call, and how it is packed.
fn unframe(mut frame: Bytes, offered: Compression) -> Result<(Compression, Bytes), Problem> {
    let broken = |what: &str| Problem::Undecodable(format!("the gRPC message is broken: {what}"));
    let flag = frame.try_get_u8().map_err(|_| broken("there is none"))?;
    let length = frame.try_get_u32().map_err(|_| broken("its length is missing"))?;
    if frame.len() != length as usize {
        return Err(broken("its length is not that of the body"));
    }
    match (flag, offered) {
        (0, _) => Ok((Compression::Identity, frame)),
        (1, Compression::Identity) => Err(broken("it is compressed without grpc-encoding")),
        (1, offered) => Ok((offered, frame)),
        _ => Err(broken("its flag is neither 0 nor 1")),
    }
}

fn success(message: Vec<u8>) -> Response<ReplyBody> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut frame = Vec::with_capacity(PREFIX + message.len());
    frame.push(0);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend(message);
    let mut trailers = HeaderMap::new();
    let _ = trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
    let trailers = std::future::ready(Some(Ok::<_, Infallible>(trailers)));
    let body = Full::new(Bytes::from(frame)).with_trailers(trailers).boxed_unsync();
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let _ = headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let _ = headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(Compression::ACCEPTED));
    response
}

fn failure(problem: &Problem) -> Response<ReplyBody> {
    let mut headers = HeaderMap::new();
    let _ = headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(Compression::ACCEPTED));
    let metadata = MetadataMap::from_headers(headers);
    let details = rpc::protobuf(problem).into();
    let message = problem.to_string();
    Status::with_details_and_metadata(problem.code(), message, details, metadata).into_http()
}

fn signal_of(path: &str) -> Option<Signal> {
    match path {
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => Some(Signal::Traces),
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => Some(Signal::Metrics),
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => Some(Signal::Logs),
        _ => None,
    }
}

/// Whether this is a gRPC call at all, of messages in protobuf.
fn is_grpc(parts: &request::Parts) -> bool {
    let value = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    parts.method == Method::POST && matches!(essence, "application/grpc" | "application/grpc+proto")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(frame: &[u8], offered: Compression, expected: Option<(Compression, &[u8])>) {
        let message = unframe(Bytes::copy_from_slice(frame), offered).ok();
        let expected =
            expected.map(|(compression, body)| (compression, Bytes::copy_from_slice(body)));
        assert_eq!(message, expected, "{frame:?}");
    }

    /// Guarantees that exactly one whole message is taken from a call, packed as its flag says.
    #[test]
    fn one_message_to_a_call() {
        use Compression::{Gzip, Identity};
        check(&[0, 0, 0, 0, 1, 9], Gzip, Some((Identity, &[9])));
        check(&[1, 0, 0, 0, 1, 9], Gzip, Some((Gzip, &[9])));
        check(&[0, 0, 0, 0, 0], Identity, Some((Identity, &[])));
        check(&[1, 0, 0, 0, 1, 9], Identity, None);
        check(&[2, 0, 0, 0, 1, 9], Gzip, None);
        check(&[0, 0, 0, 0, 2, 9], Identity, None);
        check(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0], Identity, None);
        check(&[0, 0, 0], Identity, None);
        check(&[], Identity, None);
    }
}
