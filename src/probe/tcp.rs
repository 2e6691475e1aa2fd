//! The TCP step: a connection, in the clear or over TLS, and texts there and back.
//!
//! What is expected is a predicate over all that came since we spoke last, not over one read, so it
//! does not matter how the network cut the bytes. What came before we spoke is no answer to that.
//! Servers that speak first are as good as those that answer; where one greets, its greeting should be
//! expected before anything is sent, since one that comes late cannot be told from an answer. A dialogue goes line by line instead, as SMTP, IMAP or FTP do, and may change to
//! TLS on the way.

use super::awaited::{Awaited, ExpectText, Waited, came};
use super::connection::Connection;
use super::dial::{StepContext, dial, secure};
use super::failure::{Attempt, of_stream};
use super::limits;
use super::record::StepRecord;
use super::spec::TlsOptions;
use super::target::Target;
use super::tls::Alpn;
use super::writes;
use crate::base::clock::MonoNanos;
use crate::model::probe::{FailureReason, Phase};
use bytes::Bytes;
use futures::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// No more bytes that nobody waited for are kept than this: of a stream, or of one line.
const MAX_READ_BYTES: usize = 64 << 10;

/// Connects; may send, may expect.
#[derive(Clone, Debug, PartialEq)]
pub struct TcpStep {
    /// `tcp://host:port`, or `tls://host:port` where TLS comes first.
    pub url: String,
    /// TLS of the connection, from its beginning or from [`Turn::StartTls`] on.
    pub tls: TlsOptions,
    /// What is said, in order.
    pub turns: Vec<Turn>,
}

/// One side's turn to speak.
#[derive(Clone, Debug, PartialEq)]
pub enum Turn {
    /// We send this text.
    Send(String),
    /// The server sends a text: a predicate over all that it has sent since the sending before it.
    /// From that, or else the connection, to its arrival is the value of the step.
    Expect(ExpectText),
    /// The server sends a line; lines before it are passed over, and so are those that were there
    /// before the last sending. A dialogue of lines has no value
    /// but the whole step's.
    ExpectLine(ExpectText),
    /// Both change to TLS.
    StartTls,
}

/// What was read and is not yet done with.
#[derive(Debug, Default)]
struct Heard {
    bytes: Vec<u8>,
    /// So many of them came before we spoke last: what they say is no answer.
    before: usize,
    /// When the last of them came.
    at: MonoNanos,
    /// Nothing more comes: the server's end, or an error.
    end: Option<(FailureReason, String)>,
}

impl TcpStep {
    /// Its texts that are filled in at each run.
    pub(super) fn texts<'a>(&'a self, texts: &mut Vec<&'a str>) {
        texts.push(&self.url);
        for turn in &self.turns {
            match turn {
                Turn::Send(text) => texts.push(text),
                Turn::Expect(expect) | Turn::ExpectLine(expect) => expect.texts(texts),
                Turn::StartTls => {}
            }
        }
    }
}

/// Carries out the step; hands back what was read last, from which values may be captured.
pub(super) async fn run(
    step: &TcpStep,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Option<Bytes>> {
    let target = Target::parse(&with.variables.fill(&step.url)?, ["tcp", "tls"])?;
    record.talks("tcp", target.to_string());
    if step.turns.iter().any(|turn| matches!(turn, Turn::Send(_))) {
        writes::admit(&target, with.writes)?;
    }
    let mut connection = dial(&target, &step.tls, Alpn::None, with, record).await?;
    let (mut heard, mut since) = (Heard::default(), record.now());
    let (mut last, mut variables) = (None, with.variables.clone());
    for turn in &step.turns {
        match turn {
            Turn::Send(text) => {
                let text = variables.fill(text)?;
                heard.close_question(&mut connection).await;
                since = send(&text, &mut connection, &target, with, record).await?;
            }
            Turn::Expect(expect) => {
                let awaited = Awaited::fill(expect, "a text", with.variables)?;
                let waited = heard.until(&awaited, since, &mut connection, with).await;
                if let Waited::Came(from, to) = waited {
                    record.message(from, to);
                }
                awaited.judge(waited, &target, with.deadline, record)?;
                last = Some(Bytes::copy_from_slice(heard.answer()));
            }
            Turn::ExpectLine(expect) => {
                let awaited = Awaited::fill(expect, "a line", with.variables)?;
                let (waited, line) = heard.until_line(&awaited, since, &mut connection, with).await;
                if let Waited::Came(from, to) = waited {
                    record.phase(Phase::Message, from, to);
                }
                awaited.judge(waited, &target, with.deadline, record)?;
                if let (Some(inspection), Some(line)) = (&with.context.inspection, &line) {
                    inspection.heard(line);
                }
                variables = with.variables.with_groups(expect, line.as_deref().unwrap_or_default());
                last = line;
            }
            Turn::StartTls => {
                let config = with.context.tls.get(&step.tls, Alpn::None)?;
                let name = step.tls.server_name.as_deref().unwrap_or(&target.host);
                let secured = secure(connection, name, config, with, record).await?;
                connection = Connection::over(secured);
                // What came in the clear must not pass for something said under TLS.
                heard = Heard::default();
                since = record.now();
            }
        }
    }
    Ok(last)
}

/// Sends a text; the sending is from just before the write.
async fn send(
    text: &str,
    connection: &mut Connection,
    target: &Target,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<MonoNanos> {
    limits::pace(target, 1, with, record).await?;
    let from = record.now();
    record.sent = record.sent.or(Some(from));
    let doing = format!("sending over {target}");
    let write = async {
        connection.write_all(text.as_bytes()).await?;
        connection.flush().await
    };
    let written = with.deadline.run(&doing, write).await?;
    written.map_err(|error| of_stream(&error, &doing))?;
    record.phase(Phase::Send, from, record.now());
    Ok(from)
}

// === impl Heard ===

impl Heard {
    /// What came since we spoke last.
    fn answer(&self) -> &[u8] {
        self.bytes.get(self.before..).unwrap_or_default()
    }

    /// Before something is sent: takes in what is there already, which does not answer it.
    async fn close_question(&mut self, connection: &mut Connection) {
        // The runtime learns here of what has arrived.
        tokio::task::yield_now().await;
        while self.over().is_none() && self.receive(connection).now_or_never().is_some() {}
        self.before = self.bytes.len();
    }

    /// Reads until all that was read is what is awaited.
    async fn until(
        &mut self,
        awaited: &Awaited,
        since: MonoNanos,
        connection: &mut Connection,
        with: StepContext<'_>,
    ) -> Waited {
        loop {
            if !self.answer().is_empty() && awaited.holds(self.answer()) {
                return Waited::Came(since, self.at);
            }
            if let Some(waited) = self.over() {
                return waited;
            }
            if !self.read(connection, with).await {
                return Waited::Nothing(came(self.answer()));
            }
        }
    }

    /// Reads until there is a line that is awaited, and takes all lines up to it.
    async fn until_line(
        &mut self,
        awaited: &Awaited,
        since: MonoNanos,
        connection: &mut Connection,
        with: StepContext<'_>,
    ) -> (Waited, Option<Bytes>) {
        let mut passed_over = Vec::new();
        loop {
            while let Some((line, is_answer)) = self.take_line() {
                if is_answer && awaited.holds(&line) {
                    return (Waited::Came(since, self.at), Some(line.into()));
                }
                passed_over = line;
            }
            if let Some(waited) = self.over() {
                return (waited, None);
            }
            if !self.read(connection, with).await {
                let words = came(if self.bytes.is_empty() { &passed_over } else { &self.bytes });
                return (Waited::Nothing(words), None);
            }
        }
    }

    /// The first whole line, without its end, and whether it began after we spoke last; at the end of
    /// the stream the rest counts as one.
    fn take_line(&mut self) -> Option<(Vec<u8>, bool)> {
        let end = self.bytes.iter().position(|byte| *byte == b'\n');
        let length = match end {
            Some(at) => at + 1,
            None if self.end.is_some() && !self.bytes.is_empty() => self.bytes.len(),
            None => return None,
        };
        let mut line: Vec<u8> = self.bytes.drain(..length).collect();
        while line.pop_if(|byte| matches!(byte, b'\n' | b'\r')).is_some() {}
        let is_answer = self.before == 0;
        self.before = self.before.saturating_sub(length);
        Some((line, is_answer))
    }

    /// Why nothing more can come, when that is so.
    fn over(&self) -> Option<Waited> {
        if let Some((reason, words)) = &self.end {
            return Some(Waited::Ended(*reason, format!("{words} ({})", came(&self.bytes))));
        }
        let words = || format!("it is not within the first {MAX_READ_BYTES} bytes");
        let is_full = self.bytes.len() >= MAX_READ_BYTES;
        is_full.then(|| Waited::Ended(FailureReason::Check, words()))
    }

    /// Reads once. False when the deadline passed instead.
    async fn read(&mut self, connection: &mut Connection, with: StepContext<'_>) -> bool {
        with.deadline.limit(self.receive(connection)).await.is_ok()
    }

    /// Reads once. Nothing is lost when it is dropped before.
    async fn receive(&mut self, connection: &mut Connection) {
        let stamps = connection.stamps();
        let room = MAX_READ_BYTES.saturating_sub(self.bytes.len());
        match connection.take(room as u64).read_buf(&mut self.bytes).await {
            Ok(0) => {
                let words = "the server closed the connection".to_owned();
                self.end = Some((FailureReason::Closed, words));
            }
            Ok(_) => self.at = stamps.last_read(),
            Err(error) => {
                let failure = of_stream(&error, "reading");
                self.end = Some((failure.reason, failure.message));
            }
        }
    }
}
