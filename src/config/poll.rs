//! The `poll:` block of a probe.
//!
//! ```yaml
//! poll:
//!   url: "https://chat.example.com/updates?after=${poll.cursor}"   # the cursor is empty at first
//!   headers: { Authorization: "Bearer ${env.CHAT_TOKEN}" }
//!   every: 1s                       # short polling; 0s, or without it: ask again at once
//!   wait: 30s                       # an answer that takes longer counts as a broken connection
//!   items: /messages                # each element is a message, `#` is the answer itself;
//!                                   # without it the body is one message
//!   cursor: /next                   # or cursor_header: X-Next
//!   empty: [204, 304]               # statuses that mean nothing new
//!   first_answer_within: 1s         # waited for before the next step
//!   expect: { json: { id: "${run.id}" }, within: 2s }
//!   tls: { ca_file: ca.pem }
//! ```

use super::fields::Fields;
use super::on_stream::Stream;
use super::steps::Steps;
use super::tree::Node;
use crate::probe::spec::{PollCursor, PollStep, StatusRange};
use std::time::Duration;

/// An answer may take so long, unless the block says otherwise.
const WAIT: Duration = Duration::from_secs(30);
const MAX_WAIT: Duration = Duration::from_secs(600);
/// Nobody is asked more often.
const MIN_EVERY: Duration = Duration::from_millis(10);
/// Statuses that mean nothing new, unless the block says otherwise.
const EMPTY: [u16; 2] = [204, 304];

impl Steps<'_> {
    /// The block.
    pub(super) fn poll(&mut self, node: &Node) -> Option<PollStep> {
        let cx = self.cx;
        cx.fields(node, "a poll block", |fields| {
            let url =
                fields.need("url", "\"https://chat.example.com/updates?after=${poll.cursor}\"");
            self.scope.is_poll = true;
            let url = url.and_then(|node| self.url(node, "url", &["http", "https"]));
            let headers = self.headers(fields);
            self.scope.is_poll = false;
            let empty = fields.get("empty").map(|node| self.status(node));
            let expect = fields.get("expect");
            let tls = self.tls(fields, url.as_deref());
            Some(PollStep {
                headers,
                every: self.every(fields),
                wait: fields.duration("wait", MIN_EVERY..=MAX_WAIT).unwrap_or(WAIT),
                items: self.list_pointer(fields),
                cursor: self.cursor(fields),
                empty: empty.unwrap_or_else(|| EMPTY.map(only).to_vec()),
                first_answer_within: self.within(fields, "first_answer_within"),
                expect: expect.and_then(|node| self.expect(node, Stream::Polled)),
                tls,
                url: url?,
            })
        })?
    }

    /// Zero is none: the next request follows the answer at once.
    fn every(&self, fields: &mut Fields<'_>) -> Option<Duration> {
        let every = fields.duration("every", Duration::ZERO..=MAX_WAIT)?;
        if every > Duration::ZERO && every < MIN_EVERY {
            let message = "`every` cannot be less than 10ms";
            let hint = "remove it where the server holds requests until there is something new";
            self.cx.problems.wrong_hint(fields.at("every"), message, hint);
        }
        Some(every).filter(|every| *every > Duration::ZERO)
    }

    /// A pointer; `#` stands for the whole answer, as in RFC 6901, section 6.
    fn list_pointer(&self, fields: &mut Fields<'_>) -> Option<String> {
        match self.cx.text(fields.get("items")?, "items")? {
            "#" => Some(String::new()),
            _ => self.pointer(fields, "items"),
        }
    }

    fn cursor(&self, fields: &mut Fields<'_>) -> Option<PollCursor> {
        if fields.has("cursor") && fields.has("cursor_header") {
            let message = "`cursor` and `cursor_header` both say how far an answer goes";
            self.cx.problems.wrong_hint(fields.at("cursor_header"), message, "give one of them");
        }
        let header = fields.get("cursor_header");
        let header = header
            .and_then(|node| self.cx.header_name(self.cx.text(node, "cursor_header")?, node.at));
        self.pointer(fields, "cursor").map(PollCursor::Json).or(header.map(PollCursor::Header))
    }
}

fn only(status: u16) -> StatusRange {
    StatusRange { first: status, last: status }
}
