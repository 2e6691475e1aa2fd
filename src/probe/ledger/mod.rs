//! A step that keeps books on the numbered messages of a stream: exact loss, duplicates and order.
//!
//! The arithmetic is `books`'; here messages are taken from a stream until all that were sent have
//! come and a moment has passed in which they might have come again, or its time is over. What carries
//! no number is left for other steps.

mod books;

use super::dial::StepContext;
use super::failure::{Attempt, failure};
use super::inbox::{State, StreamEnd};
use super::record::StepRecord;
use super::stream::OpenStream;
use crate::base::clock::MonoNanos;
use crate::model::probe::{FailureReason, Phase};
use books::{Entries, Ledger, Terms};
use serde_json::Value;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// Publishers that a definition may name a number of.
pub const MAX_PUBLISHERS: u32 = books::MAX_PUBLISHERS;
/// Names of publishers are kept up to this many bytes; longer ones are told apart by a hash.
const MAX_NAME_BYTES: usize = 200;
/// Characters of a longer name that are kept.
const KEPT_CHARS: usize = 40;
/// A larger number is not one that a publisher has counted.
const MAX_NUMBER: u64 = i64::MAX as u64;
/// Publishers that are told one by one.
const MAX_TOLD: usize = 8;

/// What to keep books on, and what they may show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerStep {
    /// JSON pointer to a message's number: a whole number, not negative.
    pub sequence: String,
    /// JSON pointer to who numbered it; unless given, all numbers are one publisher's.
    pub publisher: Option<String>,
    /// How many publishers there are, when that is known. With [`Self::publisher`] but without this a
    /// step listens to its end, since another may begin at any time.
    pub publishers: Option<u32>,
    /// How many each publisher sends, when that is known; the step ends when all have come.
    pub messages: Option<u64>,
    /// The first number.
    pub first: u64,
    /// Numbers begin anew at 0 after this many.
    pub wraps_at: Option<u64>,
    /// The step ends after this, whatever has come.
    pub listen: Duration,
    /// So long it listens on when all have come: some may come again.
    pub settle: Duration,
    /// Numbers that may be lost.
    pub max_lost: u64,
    /// Numbers that may come again.
    pub max_duplicates: u64,
    /// Numbers that may come after a higher one.
    pub max_reordered: u64,
}

/// A message with a number on it.
struct Numbered {
    publisher: String,
    number: u64,
    arrived: MonoNanos,
}

/// What a look into the inbox finds.
enum Found {
    Message(Numbered),
    End(StreamEnd),
}

/// Keeps the books.
///
/// # Errors
/// `lost` when more is missing than may be, otherwise `check`; `closed` and the like when the stream
/// ended before; `local` when messages came faster than they were read.
pub(super) async fn run(
    step: &LedgerStep,
    stream: &OpenStream,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<()> {
    let began = record.now();
    let mut until = with.deadline.no_later_than(began.plus(step.listen));
    let sent = step.messages.map(|count| (step.first, count));
    let publishers = if step.publisher.is_some() { step.publishers } else { Some(1) };
    let mut ledger = Ledger::new(Terms { sent, wraps_at: step.wraps_at, publishers });
    let (mut from, mut last, mut end, mut settles) = (0, None, None, false);
    loop {
        if !settles && ledger.is_complete() {
            settles = true;
            until = until.no_later_than(record.now().plus(step.settle));
        }
        match stream.inbox.until(&until, |state| step.next(state, &mut from)).await {
            Ok(Found::Message(message)) => {
                ledger.book(&message.publisher, message.number);
                last = Some(message.arrived);
            }
            Ok(Found::End(ended)) => {
                end = Some(ended);
                break;
            }
            Err(_) => break,
        }
    }
    if let Some(arrived) = last {
        record.phase(Phase::Message, began, arrived);
    }
    note(&ledger, record);
    let unread = stream.inbox.look(|state| state.dropped) + ledger.unbooked();
    if unread > 0 {
        let words =
            format!("{unread} messages came that there was no room for: the books are not exact");
        return Err(failure(FailureReason::Local, words));
    }
    let judged = step.judge(&ledger, record);
    match (judged, end) {
        (Err((FailureReason::Lost, words)), Some(end)) => {
            Err(failure(end.reason, format!("{words}; {}", end.words)))
        }
        (Err((reason, words)), _) => Err(failure(reason, words)),
        (Ok(()), _) => Ok(()),
    }
}

/// Tells the books as attributes: the sums, and every publisher with something wrong.
fn note(ledger: &Ledger, record: &mut StepRecord) {
    let sum = ledger.balance();
    let sums = [
        ("ledger.received", sum.received),
        ("ledger.lost", sum.lost),
        ("ledger.duplicates", sum.duplicates),
        ("ledger.reordered", sum.reordered),
        ("ledger.gaps", sum.gaps),
        ("ledger.longest_gap", sum.longest_gap),
        ("ledger.publishers", ledger.accounts().count() as u64),
    ];
    for (name, value) in sums {
        record.attribute(name, value);
    }
    if sum.outside > 0 {
        record.attribute("ledger.outside", sum.outside);
    }
    let is_whole = |e: &Entries| e.lost == 0 && e.duplicates == 0 && e.reordered == 0;
    let faulty = ledger.accounts().filter(|(name, entries)| !name.is_empty() && !is_whole(entries));
    for (name, entries) in faulty.take(MAX_TOLD) {
        let Entries { received, lost, duplicates, reordered, .. } = entries;
        let words = format!(
            "{name}: {received} received, {lost} lost, {duplicates} duplicates, {reordered} reordered"
        );
        record.attribute("ledger.publisher", words);
    }
}

// === impl LedgerStep ===

impl LedgerStep {
    /// The next message with a number on it, or the end of the stream.
    fn next(&self, state: &mut State, from: &mut u64) -> Option<Found> {
        let mut numbered = None;
        let taken = state.take(from, |message| {
            numbered = self.read(&message.body);
            numbered.is_some()
        });
        if let (Some(message), Some((publisher, number))) = (taken, numbered) {
            return Some(Found::Message(Numbered { publisher, number, arrived: message.arrived }));
        }
        state.end.clone().map(Found::End)
    }

    fn read(&self, body: &[u8]) -> Option<(String, u64)> {
        let json: Value = serde_json::from_slice(body).ok()?;
        let number = json.pointer(&self.sequence)?.as_u64().filter(|n| *n <= MAX_NUMBER)?;
        let publisher = match &self.publisher {
            Some(pointer) => match json.pointer(pointer)? {
                Value::String(text) => short(text),
                other => short(&other.to_string()),
            },
            None => String::new(),
        };
        Some((publisher, number))
    }

    /// Holds the sums against what they may be; the first that is too high is the failure.
    fn judge(
        &self,
        ledger: &Ledger,
        record: &mut StepRecord,
    ) -> Result<(), (FailureReason, String)> {
        let (sum, silent) = (ledger.balance(), ledger.silent());
        let nothing_came = sum.received == 0 && self.messages.is_none();
        let checks = [
            ("lost", FailureReason::Lost, sum.lost, self.max_lost),
            ("doubled", FailureReason::Check, sum.duplicates, self.max_duplicates),
            ("out of order", FailureReason::Check, sum.reordered, self.max_reordered),
        ];
        let mut verdict = Ok(());
        for (what, reason, found, most) in checks {
            let name = format!("at most {most} messages are {what}");
            let holds = found <= most;
            record.check(name.clone(), if holds { Ok(()) } else { Err(found.to_string()) });
            if !holds && verdict.is_ok() {
                let of = sum.received.saturating_sub(sum.duplicates).saturating_add(sum.lost);
                verdict = Err((reason, format!("expected that {name}, but {found} of {of} were")));
            }
        }
        if let (Some(publishers), Some(_)) = (self.publishers, &self.publisher) {
            let name = format!("all {publishers} publishers are heard");
            let found = format!("nothing came of {silent} of them");
            let holds = silent == 0;
            record.check(name.clone(), if holds { Ok(()) } else { Err(found.clone()) });
            if !holds {
                // It is what the losses come of.
                let lost = verdict.err().filter(|(reason, _)| *reason == FailureReason::Lost);
                let words = lost.map_or_else(String::new, |(_, words)| format!("; {words}"));
                let words = format!("expected that {name}, but {found}{words}");
                verdict = Err((FailureReason::Lost, words));
            }
        }
        if nothing_came {
            let words = format!("no message with a number at {} came", self.sequence);
            record.check("a message with a number comes".to_owned(), Err(words.clone()));
            return Err((FailureReason::Lost, words));
        }
        verdict
    }
}

/// A name that may be kept: a long one is cut, and its hash tells it from others.
fn short(name: &str) -> String {
    if name.len() <= MAX_NAME_BYTES {
        return name.to_owned();
    }
    let kept: String = name.chars().take(KEPT_CHARS).collect();
    format!("{kept}…{:016x}", xxh3_64(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that long names are kept short and still told apart.
    #[test]
    fn names_are_bounded() {
        let long = |end: &str| "ü".repeat(500_000) + end;
        let [a, b] = [short(&long("a")), short(&long("b"))];
        assert!(a.len() <= MAX_NAME_BYTES && a != b && a == short(&long("a")), "{a} {b}");
        assert_eq!(short("alice"), "alice");
    }
}
