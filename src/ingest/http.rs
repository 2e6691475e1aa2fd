//! OTLP over HTTP/1.1 and HTTP/2: three paths, two encodings, and a `google.rpc.Status` in the
//! request's encoding on every answer that is not a success.

use super::auth;
use super::body::{Compression, discard};
use super::door::{Door, Packed, Transport};
use super::problem::Problem;
use super::reply::{ReplyBody, exported};
use super::request::Encoding;
use super::rpc;
use crate::wire::otlp::Signal;
use ::http::header::{
    ACCEPT_ENCODING, ALLOW, CONTENT_TYPE, EXPECT, HeaderName, HeaderValue, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use ::http::{HeaderMap, Method, Request, Response, Version, request};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use std::sync::Arc;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
const MEDIA_TYPES: &str = "application/x-protobuf and application/json";

/// Answers one request.
pub(super) async fn answer(door: Arc<Door>, request: Request<Incoming>) -> Response<ReplyBody> {
    let (parts, mut body) = request.into_parts();
    let signal = signal_of(parts.uri.path());
    let encoding = encoding_of(&parts.headers);
    let outcome = take(&door, &parts, signal, encoding, &mut body).await;
    let encoding = encoding.unwrap_or(Encoding::Protobuf);
    let response = match outcome {
        Ok(body) => respond(encoding, body),
        Err(problem) => {
            // Not the problem's text: it may quote what was sent.
            tracing::debug!(status = problem.http_status().as_u16(), "otlp request refused");
            if lingers(&parts, &body, &problem) {
                discard(&mut body).await;
            }
            refusal(&problem, encoding)
        }
    };
    door.answered(Transport::Http, signal, response.status().as_str());
    response
}

async fn take(
    door: &Arc<Door>,
    parts: &request::Parts,
    signal: Option<Signal>,
    encoding: Option<Encoding>,
    body: &mut Incoming,
) -> Result<Vec<u8>, Problem> {
    let signal = signal.ok_or(Problem::NotFound)?;
    if parts.method != Method::POST {
        return Err(Problem::Method);
    }
    let sender = auth::sender(&door.tokens, &parts.headers)?.to_owned();
    let encoding = encoding.ok_or(Problem::MediaType(MEDIA_TYPES))?;
    let compression = Compression::from_header(&parts.headers, "content-encoding")?;
    let transport = Transport::Http;
    let (body, admission) = door.admit(transport, body, 0).await?;
    let packed = Packed { transport, signal, encoding, compression, sender, body };
    let tally = door.pass(packed).await?;
    drop(admission);
    Ok(exported(signal, &tally, encoding))
}

/// The answer that tells of `problem`.
pub(super) fn refusal(problem: &Problem, encoding: Encoding) -> Response<ReplyBody> {
    let mut response = respond(
        encoding,
        match encoding {
            Encoding::Protobuf => rpc::protobuf(problem),
            Encoding::Json => rpc::json(problem),
        },
    );
    *response.status_mut() = problem.http_status();
    let mut set = |name: HeaderName, value: HeaderValue| {
        let _ = response.headers_mut().insert(name, value);
    };
    match problem {
        Problem::Method => set(ALLOW, HeaderValue::from_static("POST")),
        Problem::Unauthenticated => set(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
        Problem::Compression(_) => {
            set(ACCEPT_ENCODING, HeaderValue::from_static(Compression::ACCEPTED));
        }
        _ => {}
    }
    if let Some(delay) = problem.retry_after() {
        set(RETRY_AFTER, HeaderValue::from(delay.as_secs()));
    }
    response
}

fn respond(encoding: Encoding, body: Vec<u8>) -> Response<ReplyBody> {
    let content_type = match encoding {
        Encoding::Protobuf => PROTOBUF,
        Encoding::Json => JSON,
    };
    let mut response = Response::new(Full::from(body).boxed_unsync());
    let content_type = HeaderValue::from_static(content_type);
    let _ = response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

fn signal_of(path: &str) -> Option<Signal> {
    let name = path.strip_prefix("/v1/")?;
    Signal::ALL.into_iter().find(|signal| signal.as_str() == name)
}

/// The encoding that the content type names, whatever its case and parameters.
fn encoding_of(headers: &HeaderMap) -> Option<Encoding> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let essence = value.split(';').next().unwrap_or_default().trim();
    match () {
        () if essence.eq_ignore_ascii_case(PROTOBUF) => Some(Encoding::Protobuf),
        () if essence.eq_ignore_ascii_case(JSON) => Some(Encoding::Json),
        () => None,
    }
}

/// Whether the rest of the body is read off before the answer, so that the client, still sending,
/// gets to see it. HTTP/2 has a frame for that; who expects to be told to continue waits anyway.
fn lingers(parts: &request::Parts, body: &Incoming, problem: &Problem) -> bool {
    parts.version < Version::HTTP_2
        && !body.is_end_stream()
        && !parts.headers.contains_key(EXPECT)
        && !matches!(problem, Problem::TooSlow | Problem::Interrupted)
}
