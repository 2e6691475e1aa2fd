//! The program's process: started, fed, listened to, and killed when its time is up.

use super::{ExecStep, RESERVED_PREFIX};
use crate::base::clock::MonoNanos;
use crate::base::error::Chain;
use crate::model::probe::FailureReason;
use crate::probe::dial::StepContext;
use crate::probe::failure::{Attempt, failure};
use crate::probe::record::StepRecord;
use rustix::process::{Pid, Signal, kill_process_group};
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};

/// So much of standard output is kept, from its beginning.
const MAX_OUTPUT: usize = 64 << 10;
/// So much of standard error is kept, to its end.
const MAX_WORDS: usize = 4 << 10;
/// What a program printed is there when it exits. Longer than this is only waited for what a process
/// that it left behind may still hold open.
const DRAIN: Duration = Duration::from_millis(100);

/// A program that ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// How.
    pub status: ExitStatus,
    /// The beginning of what it printed.
    pub output: Vec<u8>,
    /// Bytes that it printed beyond that.
    pub discarded: u64,
    /// The end of what it printed on standard error.
    words: Vec<u8>,
    /// Just before it was started.
    pub began: MonoNanos,
    /// When it was seen to have ended.
    pub at: MonoNanos,
}

/// What is kept of a stream of bytes.
#[derive(Debug, Default)]
struct Kept {
    bytes: Vec<u8>,
    discarded: u64,
}

/// The processes of a program that has not been waited for, which is why its number is still its own.
/// Dropping it kills them all.
#[derive(Debug)]
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        let leader = self.0.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(leader) = leader {
            // None may be left to kill.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

/// Runs the program to its end, or kills it at the deadline.
pub(super) async fn run(
    step: &ExecStep,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Ended> {
    let input = match &step.input {
        Some(text) => with.variables.fill(text.reveal())?.into_bytes(),
        None => Vec::new(),
    };
    let mut command = command(step, with)?;
    let program = step.program.display();
    let began = record.now();
    record.sent = Some(began);
    let child = command.spawn().map_err(|error| {
        let words = format!("{program} cannot be started: {}", Chain(&error));
        failure(FailureReason::Local, words)
    })?;
    // When the deadline passes the child is dropped with its group, which kills both.
    let running = attend(child, input, began, record);
    let ended = with.deadline.run(format!("{program} was running"), running).await?;
    ended.map_err(|error| {
        let words = format!("{program} cannot be waited for: {}", Chain(&error));
        failure(FailureReason::Local, words)
    })
}

fn command(step: &ExecStep, with: StepContext<'_>) -> Attempt<Command> {
    let mut command = Command::new(&step.program);
    command.env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    for (name, text) in &step.environment {
        command.env(name, with.variables.fill(text.reveal())?);
    }
    let own = [
        ("RUN_ID", with.mark.run.to_hex()),
        ("TRACEPARENT", with.mark.traceparent()),
        ("BAGGAGE", with.mark.baggage()),
        ("TIMEOUT_MS", with.deadline.remaining().as_millis().to_string()),
    ];
    command.envs(own.map(|(name, value)| (format!("{RESERVED_PREFIX}{name}"), value)));
    for argument in &step.arguments {
        command.arg(with.variables.fill(argument)?);
    }
    if let Some(directory) = &step.directory {
        command.current_dir(directory);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    Ok(command)
}

/// Feeds the program and listens to it until it ends.
async fn attend(
    mut child: Child,
    input: Vec<u8>,
    began: MonoNanos,
    record: &StepRecord,
) -> io::Result<Ended> {
    let mut group = Group(child.id());
    let (mut output, mut words) = (Kept::default(), Kept::default());
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (status, at) = {
        let talking = async {
            let (stdin, stdout, stderr) = pipes;
            tokio::join!(feed(stdin, &input), output.begin(stdout), words.end(stderr))
        };
        tokio::pin!(talking);
        let mut is_silent = false;
        let status = loop {
            tokio::select! {
                status = child.wait() => break status?,
                _ = &mut talking, if !is_silent => is_silent = true,
            }
        };
        let at = record.now();
        group.0 = None;
        if !is_silent {
            drop(tokio::time::timeout(DRAIN, talking).await);
        }
        (status, at)
    };
    let Kept { bytes, discarded } = output;
    Ok(Ended { status, output: bytes, discarded, words: words.bytes, began, at })
}

/// A program need not read its input: that the pipe is closed is no error.
async fn feed(stdin: Option<ChildStdin>, input: &[u8]) {
    if let Some(mut stdin) = stdin {
        drop(stdin.write_all(input).await);
    }
}

// === impl Kept ===

impl Kept {
    /// Reads to the end and keeps the beginning.
    async fn begin(&mut self, from: Option<impl AsyncRead + Unpin>) {
        let Some(mut from) = from else { return };
        let mut chunk = [0; 4_096];
        while let Ok(length @ 1..) = from.read(&mut chunk).await {
            let read = chunk.get(..length).unwrap_or_default();
            let room = MAX_OUTPUT.saturating_sub(self.bytes.len());
            let (kept, rest) = read.split_at(room.min(length));
            self.bytes.extend_from_slice(kept);
            self.discarded += rest.len() as u64;
        }
    }

    /// Reads to the end and keeps that.
    async fn end(&mut self, from: Option<impl AsyncRead + Unpin>) {
        let Some(mut from) = from else { return };
        let mut chunk = [0; 4_096];
        while let Ok(length @ 1..) = from.read(&mut chunk).await {
            self.bytes.extend_from_slice(chunk.get(..length).unwrap_or_default());
            let surplus = self.bytes.len().saturating_sub(MAX_WORDS);
            self.bytes.drain(..surplus);
        }
    }
}

// === impl Ended ===

impl Ended {
    /// The last line on standard error that is not empty.
    pub(super) fn last_words(&self) -> Option<String> {
        let words = String::from_utf8_lossy(&self.words);
        let last = words.lines().rev().map(str::trim).find(|line| !line.is_empty());
        last.map(str::to_owned)
    }
}
