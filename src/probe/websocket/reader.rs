//! The task that reads: stamps, answers pings and the close, and says what went wrong.

use super::super::connection::{Connection, Stamps};
use super::super::failure::{of_stream, quote};
use super::super::inbox::{InboxWriter, Received};
use super::frames::{Frames, Opcode, Violation};
use super::line::{Line, Tally};
use super::messages::{Assembler, Incoming, Message};
use crate::base::clock::MonoNanos;
use crate::model::probe::{Failure, FailureReason};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, ReadHalf};

/// Bytes of one read.
const READ_BYTES: usize = 16 << 10;
/// What a stream without a code in its close frame says, by RFC 6455.
const NO_CODE: u16 = 1005;

/// Reads until the stream ends.
#[derive(Debug)]
pub(super) struct Reader {
    /// The reading half.
    pub half: ReadHalf<Connection>,
    /// Cuts what is read; it may hold what came with the answer to the upgrade.
    pub frames: Frames,
    /// Puts messages together.
    pub messages: Assembler,
    /// When reads returned.
    pub stamps: Arc<Stamps>,
    /// Where answers go.
    pub line: Arc<Line>,
    /// Where messages go.
    pub inbox: InboxWriter,
    /// What is counted.
    pub tally: Arc<Tally>,
}

/// How a stream ended.
struct End {
    reason: FailureReason,
    code: Option<u16>,
    words: String,
    /// The close frame that answers, or that tells the server what it did wrong.
    farewell: Option<Option<u16>>,
}

impl Reader {
    /// Reads, beginning with what came with the answer to the upgrade at `opened`.
    pub(super) async fn run(mut self, opened: MonoNanos) {
        let End { reason, code, words, farewell } = self.read(opened).await;
        // First the end, for whoever waits; to a server that reads nothing, nothing can be said.
        self.inbox.end(reason, code, words);
        if let Some(code) = farewell {
            let _ = self.line.close(code).await;
        }
    }

    async fn read(&mut self, opened: MonoNanos) -> End {
        let mut arrived = opened;
        loop {
            if let Err(end) = self.settle(arrived).await {
                return end;
            }
            match self.half.read_buf(self.frames.room(READ_BYTES)).await {
                Ok(0) => {
                    let words = "the server closed the connection without a closing handshake";
                    return End::of(FailureReason::Closed, words.to_owned());
                }
                Ok(_) => arrived = self.stamps.last_read(),
                Err(error) => return End::from(of_stream(&error, "reading")),
            }
        }
    }

    /// Does what the frames ask for that one read completed.
    async fn settle(&mut self, arrived: MonoNanos) -> Result<(), End> {
        while let Some(frame) = self.frames.next(self.messages.room())? {
            match self.messages.take(frame)? {
                None => {}
                Some(Incoming::Message(message)) => self.deliver(message, arrived),
                Some(Incoming::Ping(payload)) => {
                    self.tally.pings.fetch_add(1, Ordering::Relaxed);
                    self.line.control(Opcode::Pong, payload).await?;
                }
                Some(Incoming::Pong(payload)) => self.inbox.pong(payload, arrived),
                Some(Incoming::Close(said)) => return Err(End::said(said)),
            }
        }
        Ok(())
    }

    fn deliver(&self, message: Message, arrived: MonoNanos) {
        let Message { body, wire_bytes, frames, .. } = message;
        let add = |count: &AtomicU64, more: u64| {
            count.fetch_add(more, Ordering::Relaxed);
        };
        add(&self.tally.messages, 1);
        add(&self.tally.wire_bytes, wire_bytes as u64);
        add(&self.tally.bytes, body.len() as u64);
        if frames > 1 {
            add(&self.tally.fragments, frames);
        }
        self.inbox.push(Received { arrived, event: None, body });
    }
}

// === impl End ===

impl End {
    fn of(reason: FailureReason, words: String) -> Self {
        Self { reason, code: None, words, farewell: None }
    }

    /// The server's close frame, which is answered with its own code.
    fn said(said: Option<(u16, String)>) -> Self {
        let farewell = said.as_ref().map(|(code, _)| *code);
        let (code, reason) = said.unwrap_or((NO_CODE, String::new()));
        let words = format!("the server closed the stream with code {code} {}", quote(&reason));
        let words = words.trim_end().to_owned();
        Self {
            code: Some(code),
            farewell: Some(farewell),
            ..Self::of(FailureReason::Closed, words)
        }
    }
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::of(failure.reason, failure.message)
    }
}

impl From<Violation> for End {
    fn from(violation: Violation) -> Self {
        let Violation { code, words } = violation;
        let words = format!("{words} (we close with code {code})");
        Self { farewell: Some(Some(code)), ..Self::of(FailureReason::Protocol, words) }
    }
}
