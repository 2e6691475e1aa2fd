//! A text to wait for on a connection of no further protocol: bytes of a stream, or a datagram.
//!
//! Messages of streams that a run holds open are awaited in `expect`; here nothing stays open. What
//! comes after its budget is late, told from what never came.

use super::check::FilledText;
use super::deadline::Deadline;
use super::failure::{Attempt, failure, quote};
use super::record::StepRecord;
use super::spec::TextCheck;
use super::target::Target;
use super::template::{Variables, check_text};
use crate::base::clock::MonoNanos;
use crate::base::duration::humane;
use crate::model::probe::FailureReason;
use std::time::Duration;

/// A text to wait for; what else comes is passed over.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpectText {
    /// What it must be; without it, anything will do.
    pub text: Option<TextCheck>,
    /// The budget, from the sending. Later is a failure, told apart from never.
    pub within: Option<Duration>,
}

/// The same with its variables filled in.
#[derive(Clone, Debug)]
pub(super) struct Awaited {
    text: Option<FilledText>,
    within: Option<Duration>,
    /// `a line`.
    noun: &'static str,
}

/// How a wait ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// With the text: from the sending that it counts from, to the read that completed it.
    Came(MonoNanos, MonoNanos),
    /// With something after which it cannot come any more.
    Ended(FailureReason, String),
    /// With the deadline; and what else came, in words.
    Nothing(String),
}

impl ExpectText {
    /// Its texts that are filled in at each run.
    pub(super) fn texts<'a>(&'a self, texts: &mut Vec<&'a str>) {
        texts.extend(self.text.as_ref().and_then(check_text));
    }
}

impl Awaited {
    /// Fills in the variables; `noun` is what is waited for, with its article.
    ///
    /// # Errors
    /// A local failure when a variable has no value.
    pub(super) fn fill(
        expect: &ExpectText,
        noun: &'static str,
        variables: &Variables,
    ) -> Attempt<Self> {
        let text = expect.text.as_ref().map(|text| FilledText::fill(text, variables));
        Ok(Self { text: text.transpose()?, within: expect.within, noun })
    }

    /// Whether these bytes are it.
    pub(super) fn holds(&self, bytes: &[u8]) -> bool {
        self.text.as_ref().is_none_or(|text| text.holds(&String::from_utf8_lossy(bytes)))
    }

    /// Records the check, and what it comes to.
    pub(super) fn judge(
        &self,
        waited: Waited,
        target: &Target,
        deadline: &Deadline,
        record: &mut StepRecord,
    ) -> Attempt<()> {
        let name = self.to_string();
        let expected = |found: &str| format!("expected that over {target} {name}, but {found}");
        let judged = match waited {
            Waited::Came(from, to) => {
                let latency = to.since(from);
                if self.within.is_some_and(|within| latency > within) {
                    let found = format!("it came after {}", humane(latency));
                    Err((failure(FailureReason::Late, expected(&found)), found))
                } else {
                    Ok(())
                }
            }
            Waited::Ended(reason, found) => Err((failure(reason, expected(&found)), found)),
            Waited::Nothing(others) => {
                let found = format!("it never came ({others})");
                // Only what has a budget of its own can be lost; otherwise it is the run's that passed.
                let failed = match self.within {
                    Some(_) => failure(FailureReason::Lost, expected(&found)),
                    None => deadline
                        .failure(format_args!("waiting over {target} until {name} ({others})")),
                };
                Err((failed, found))
            }
        };
        let found = judged.as_ref().map(drop).map_err(|(_, found)| found.clone());
        record.check(name.clone(), found);
        judged.map_err(|(failure, _)| failure)
    }
}

/// `a line that contains "220" comes within 1s`.
impl std::fmt::Display for Awaited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.noun)?;
        if let Some(text) = &self.text {
            write!(f, " that {text}")?;
        }
        f.write_str(" comes")?;
        match self.within {
            Some(within) => write!(f, " within {}", humane(within)),
            None => Ok(()),
        }
    }
}

/// Bytes that came and were not it, in words.
pub(super) fn came(bytes: &[u8]) -> String {
    match bytes.len() {
        0 => "nothing else did".to_owned(),
        length => {
            format!("{length} bytes came: {}", quote(&String::from_utf8_lossy(bytes)))
        }
    }
}
