//! The request that carries the offer, and the one that ends the session.

use super::super::check;
use super::super::connection::Connection;
use super::super::dial::StepContext;
use super::super::failure::{Attempt, failure, quote};
use super::super::http_exchange::{Ask, Line, exchange};
use super::super::record::StepRecord;
use super::super::spec::HttpVersion;
use super::super::target::Target;
use super::super::writes;
use super::WebRtcStep;
use crate::base::clock::MonoNanos;
use crate::model::probe::FailureReason;
use ::http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use ::http::{Method, response};
use bytes::Bytes;
use std::fmt;

/// What both ends speak.
const SDP: HeaderValue = HeaderValue::from_static("application/sdp");
/// No answer is longer.
const MAX_ANSWER_BYTES: usize = 64 << 10;
/// More addresses no peer has.
const MAX_CANDIDATES: usize = 64;

/// The answer to an offer.
#[derive(Debug)]
pub(super) struct Answer {
    /// What the peer says.
    pub sdp: String,
    /// When the offer was sent.
    pub asked: MonoNanos,
    /// The session, where the server names a place for it.
    pub session: Option<Session>,
}

/// A session at the signalling server, which ends when its place is deleted: over the connection on which
/// the offer went, as long as the server keeps that open. Otherwise it ends when the peer is gone.
pub(super) struct Session {
    line: Line,
    place: Target,
    headers: HeaderMap,
}

/// Posts the offer over a fresh connection.
pub(super) async fn post(
    step: &WebRtcStep,
    offer: &str,
    target: &Target,
    connection: Connection,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Answer> {
    let marked = with.mark.headers(&step.headers, with.variables, target.authorization())?;
    let mut headers = marked.clone();
    headers.insert(CONTENT_TYPE, SDP);
    headers.entry(ACCEPT).or_insert(SDP);
    let body = Bytes::copy_from_slice(offer.as_bytes());
    let ask = Ask { method: Method::POST, headers, body };
    let mut answer = exchange(connection, target, HttpVersion::Auto, ask, with, record).await?;
    let body = answer.read_body(with, record).await?;
    let status = check::status(&step.status, answer.head.status.as_u16());
    let complaint = status.complaint();
    record.check(status.name, status.found);
    let said = String::from_utf8_lossy(&body.kept);
    if let Some(complaint) = complaint {
        let said =
            if said.is_empty() { said } else { format!("; it says: {}", quote(&said)).into() };
        return Err(failure(FailureReason::Status, format!("{complaint}{said}")));
    }
    if body.length > MAX_ANSWER_BYTES as u64 || candidates(&said).count() > MAX_CANDIDATES {
        let text = format!(
            "the answer of {target} is too long: more than {MAX_ANSWER_BYTES} bytes or \
             {MAX_CANDIDATES} candidates"
        );
        return Err(failure(FailureReason::Protocol, text));
    }
    let (sdp, asked) = (said.into_owned(), answer.asked);
    let place = place(&answer.head, target, with);
    let (_, line) = answer.into_stream();
    let session = place.map(|place| Session { line, place, headers: marked });
    Ok(Answer { sdp, asked, session })
}

/// The session's place: of the server that answered, and where we may write to.
fn place(head: &response::Parts, target: &Target, with: StepContext<'_>) -> Option<Target> {
    let location = head.headers.get(LOCATION)?.to_str().ok()?;
    let place = target.redirected(location).ok()?;
    let may = place.same_origin(target) && writes::admit(&place, with.writes).is_ok();
    may.then_some(place)
}

/// The peer's addresses as its answer has them: `203.0.113.1:5000 (host)`.
pub(super) fn candidates(sdp: &str) -> impl Iterator<Item = String> {
    let lines = sdp.lines().filter_map(|line| line.trim().strip_prefix("a=candidate:"));
    lines.filter_map(|line| {
        let mut parts = line.split_ascii_whitespace();
        let (transport, address) = (parts.nth(2)?, parts.nth(1)?);
        let (port, kind) = (parts.next()?, parts.nth(1)?);
        let tcp = if transport.eq_ignore_ascii_case("udp") { "" } else { ", not UDP" };
        let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
        Some(format!("{host}:{port} ({kind}{tcp})"))
    })
}

// === impl Session ===

impl Session {
    /// Ends the session at the server. What it answers does not matter.
    pub(super) async fn leave(&mut self) {
        let headers = self.headers.clone();
        let ask = Ask { method: Method::DELETE, headers, body: Bytes::new() };
        if !self.line.is_ready().await {
            return;
        }
        if let Ok(asked) = self.line.ask(ask, &self.place) {
            drop(asked.answered().await);
        }
    }
}

/// Without its headers, which may hold secrets.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("place", &self.place.to_string()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees how a peer's addresses are shown, and that what is no candidate is passed over.
    #[test]
    fn candidates_are_addresses() {
        let sdp = "v=0\r\na=candidate:1 1 udp 2130706175 203.0.113.1 5000 typ host\r\n\
                   a=candidate:2 1 TCP 1 ::1 9 typ srflx tcptype active\r\na=candidate:3 1\r\n";
        let found: Vec<String> = candidates(sdp).collect();
        assert_eq!(found, ["203.0.113.1:5000 (host)", "[::1]:9 (srflx, not UDP)"]);
    }
}
