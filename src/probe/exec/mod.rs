//! The exec step: a program of the user's own measures, and says on standard output what it found.
//!
//! What it prints is one JSON object, version 1. All but `version` and `outcome` may be left out:
//!
//! ```json
//! {
//!   "version": 1,
//!   "outcome": "failure",
//!   "reason": "late",
//!   "message": "the push came after 12 s",
//!   "value_ms": 12034.5,
//!   "phases": [ { "name": "connect", "ms": 1.2 }, { "name": "message", "ms": 12033.3 } ],
//!   "checks": [ { "name": "the push has a badge", "passed": false, "found": "none" } ],
//!   "attributes": { "push.provider": "apns" },
//!   "status": 200
//! }
//! ```
//!
//! - `outcome` is `success` or `failure`; `reason` one of resolve, connect, tls, protocol, status, check
//!   (unless given), lost, late, closed, timeout, local; `message` says in words what failed. A
//!   success with a check that did not pass is a failure.
//! - `value_ms` is the measured value; without it, the phases together, or else how long the program
//!   ran. None of these may be longer than that.
//! - `phases` follow one another from the program's start; their names are those of radiosonde:
//!   resolve, connect, tls, quic, ice, dtls, upgrade, handshake, subscribe, send, wait, receive,
//!   first_event, message, close.
//! - `attributes` hold texts, numbers and truth values.
//!
//! A key that is not in this list is refused, so that a slip of the pen is not taken for silence. The
//! whole object is what `capture` reads from.
//!
//! The program runs without a shell. Its environment is what the definition gives it, our `PATH`, and:
//! `RADIOSONDE_RUN_ID` (32 hex digits), `RADIOSONDE_TRACEPARENT` (what it sends as `traceparent`, so
//! that the target's spans join the run's trace), `RADIOSONDE_BAGGAGE` (what it sends as `baggage`, so
//! that the target can tell that nobody real is there) and `RADIOSONDE_TIMEOUT_MS` (what is left of
//! the run; it should be done before). Of its output 64 KiB are kept. The last line on standard error
//! becomes part of a failure's words. An exit code other than 0 without such an object is a failed
//! check; with one, a success is not believed. It leads a process
//! group of its own, so that Ctrl-C does not reach it, and at the deadline that group is killed. What
//! it leaves behind when it ends in time is not: it should not leave any.

mod child;
mod report;

use super::dial::StepContext;
use super::failure::{Attempt, failure, quote};
use super::record::StepRecord;
use super::spec::HeaderText;
use crate::model::probe::{Failure, FailureReason};
use bytes::Bytes;
use child::Ended;
use report::Report;
use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};
use std::process::ExitStatus;

/// A program to run.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecStep {
    /// Its absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its environment, besides what every program gets.
    pub environment: Vec<(String, HeaderText)>,
    /// What it reads on standard input.
    pub input: Option<HeaderText>,
    /// Where it runs; where we do unless given.
    pub directory: Option<PathBuf>,
}

/// Names in the environment of a program that a definition has no say in begin with this.
pub const RESERVED_PREFIX: &str = "RADIOSONDE_";

/// Whether a path says for itself where it leads: absolute, and without `.` and `..`.
#[must_use]
pub fn is_plain(path: &Path) -> bool {
    let is_plain = |component| matches!(component, Component::RootDir | Component::Normal(_));
    // A `.` inside a path does not show among its components.
    let text = path.to_string_lossy();
    path.is_absolute() && path.components().all(is_plain) && !text.contains("/./")
}

/// Whether a program is one of `allowed`, or lies in a folder that is.
#[must_use]
pub fn may_run(program: &Path, allowed: &[PathBuf]) -> bool {
    is_plain(program) && allowed.iter().any(|path| program.starts_with(path))
}

/// Carries out the step; hands back what the program printed.
pub(super) async fn run(
    step: &ExecStep,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Option<Bytes>> {
    record.talks("exec", step.program.display().to_string());
    let ended = child::run(step, with, record).await?;
    if let Some(code) = ended.status.code() {
        record.attribute("process.exit.code", code);
    }
    if ended.discarded > 0 {
        record.attribute("exec.discarded_bytes", ended.discarded);
    }
    let judged = judge(&ended, record);
    judged.map_err(|mut failure| {
        if let Some(line) = ended.last_words() {
            let _ = write!(failure.message, "; it said: {}", quote(&line));
        }
        failure
    })?;
    Ok(Some(ended.output.into()))
}

fn judge(ended: &Ended, record: &mut StepRecord) -> Attempt<()> {
    let report = match Report::read(&ended.output) {
        Ok(report) => report,
        Err(_) if !ended.status.success() => return Err(unsuccessful(ended.status)),
        Err(why) if ended.discarded > 0 => {
            let more = "it printed more than 64 KiB, and the rest was discarded";
            return Err(failure(FailureReason::Protocol, format!("{why}: {more}")));
        }
        Err(why) => return Err(failure(FailureReason::Protocol, why)),
    };
    report.note(ended.began, ended.at, record)?;
    if !ended.status.success() {
        let Failure { message, .. } = unsuccessful(ended.status);
        let words = format!("{message}, but says that it was successful");
        return Err(failure(FailureReason::Protocol, words));
    }
    Ok(())
}

/// Of a program that did not end well.
fn unsuccessful(status: ExitStatus) -> Failure {
    let words = match status.code() {
        Some(code) => format!("the program exited with code {code}"),
        None => format!("the program was ended: {status}"),
    };
    failure(FailureReason::Check, words)
}

// === impl ExecStep ===

impl ExecStep {
    /// The texts that a run fills in.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        let environment = self.environment.iter().map(|(_, text)| text);
        let secret = environment.chain(&self.input).map(HeaderText::reveal);
        self.arguments.iter().map(String::as_str).chain(secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees what an entry of the allow-list lets run: itself, and what lies below it.
    #[test]
    fn entries_allow_themselves_and_what_is_below() {
        let check = |program: &str, allowed: &str, expected: bool| {
            let allowed = [PathBuf::from(allowed)];
            assert_eq!(may_run(Path::new(program), &allowed), expected, "{program} {allowed:?}");
        };
        check("/usr/lib/probes/push", "/usr/lib/probes", true);
        check("/usr/lib/probes/a/push", "/usr/lib/probes/", true);
        check("/usr/lib/probes/push", "/usr/lib/probes/push", true);
        check("/usr/lib/probes-of-others/push", "/usr/lib/probes", false);
        check("/usr/lib/probes/push2", "/usr/lib/probes/push", false);
        check("/usr/lib/probes/../../bin/rm", "/usr/lib/probes", false);
        check("/usr/lib/probes/./push", "/usr/lib/probes", false);
        check("push", "/usr/lib/probes", false);
        assert!(!may_run(Path::new("/bin/true"), &[]));
    }
}
