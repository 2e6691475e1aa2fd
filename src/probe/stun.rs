//! The STUN step: from where does a server see us come? One binding request (RFC 8489) and its
//! answer, which is what every call over WebRTC begins with.
//!
//! A request without an answer is sent again, 500 ms after the first, then after twice as long and
//! so on, all with one transaction id. The value counts from the first, so a loss is in it.

use super::datagrams::{Addresses, Datagrams};
use super::deadline::Expired;
use super::dial::StepContext;
use super::failure::{Attempt, failure, quote};
use super::marking;
use super::record::StepRecord;
use super::stun_message::{self as message, Answer, Transaction, Unfit};
use super::target::Target;
use crate::base::clock::MonoNanos;
use crate::model::probe::{Failure, FailureReason, Phase};
use bytes::Bytes;
use std::io;
use std::time::Duration;

/// RTO of RFC 8489: the request is sent again after this, and then after twice the time before.
const FIRST_RETRANSMISSION: Duration = Duration::from_millis(500);
/// Rc of RFC 8489: no request is sent more often.
const MAX_REQUESTS: u32 = 7;

/// Sends a binding request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StunStep {
    /// `stun:` with host and port, written `stun://host:port`.
    pub url: String,
}

/// What came of asking one address.
#[derive(Debug)]
struct Asked {
    first: (MonoNanos, MonoNanos),
    requests: u32,
    /// The answer and its arrival; none when the deadline passed.
    answer: Option<(Answer, MonoNanos)>,
    /// Datagrams that were no answer of ours, and what was wrong with the last.
    others: u32,
    unfit: Option<Unfit>,
}

/// Carries out the step.
pub(super) async fn run(
    step: &StunStep,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Option<Bytes>> {
    let target = Target::parse(&with.variables.fill(&step.url)?, ["stun", "stuns"])?;
    record.talks("stun", target.to_string());
    let transaction: Transaction = rand::random();
    let request = message::request(transaction, &marking::user_agent());
    let mut addresses = Addresses::of(&target, with, record).await?;
    loop {
        let (mut datagrams, address) = addresses.connect(with, record).await?;
        match ask(&request, transaction, &mut datagrams, with).await {
            Ok(asked) => {
                addresses.note(address, record);
                return asked.judge(&target, with, record).map(|()| None);
            }
            Err(error) => addresses.refused(address, &error),
        }
    }
}

/// Asks one address until it answers or the deadline passes; an error when it refuses datagrams.
async fn ask(
    request: &[u8],
    transaction: Transaction,
    datagrams: &mut Datagrams,
    with: StepContext<'_>,
) -> io::Result<Asked> {
    let first = datagrams.send(request).await?;
    let mut asked = Asked { first, requests: 1, answer: None, others: 0, unfit: None };
    let (mut pause, mut again) = (FIRST_RETRANSMISSION, first.0.plus(FIRST_RETRANSMISSION));
    loop {
        let is_last = asked.requests >= MAX_REQUESTS;
        let until =
            if is_last { with.deadline.clone() } else { with.deadline.no_later_than(again) };
        match until.limit(datagrams.receive()).await {
            Ok(received) => {
                let (bytes, arrived) = received?;
                match message::answer(bytes, transaction) {
                    Ok(answer) => {
                        asked.answer = Some((answer, arrived));
                        return Ok(asked);
                    }
                    Err(unfit) => {
                        asked.others = asked.others.saturating_add(1);
                        asked.unfit = Some(unfit);
                    }
                }
            }
            Err(Expired) if with.deadline.has_passed() => return Ok(asked),
            Err(Expired) => {
                let _ = datagrams.send(request).await?;
                asked.requests += 1;
                pause *= 2;
                again = again.plus(pause);
            }
        }
    }
}

// === impl Asked ===

impl Asked {
    fn judge(self, target: &Target, with: StepContext<'_>, record: &mut StepRecord) -> Attempt<()> {
        let (from, to) = self.first;
        record.sent = Some(from);
        record.phase(Phase::Send, from, to);
        record.attribute("stun.retransmissions", self.requests - 1);
        let Some((answer, arrived)) = self.answer else {
            return Err(self.unanswered(target, with));
        };
        record.message(from, arrived);
        match answer {
            Answer::Mapped { address: Some(address), software } => {
                record.attribute("stun.mapped_address", address.to_string());
                if let Some(software) = software {
                    record.attribute("stun.software", software);
                }
                Ok(())
            }
            Answer::Mapped { address: None, .. } => Err(failure(
                FailureReason::Protocol,
                format!("{target} answers without saying which address it sees"),
            )),
            Answer::Refused { code, reason } => {
                record.status(code);
                let text = format!("{target} refuses with {code}: {}", quote(&reason));
                Err(failure(FailureReason::Status, text))
            }
        }
    }

    /// Silence is a timeout; a server that says something else does not speak STUN.
    fn unanswered(&self, target: &Target, with: StepContext<'_>) -> Failure {
        let Some(unfit) = self.unfit else {
            return with.deadline.failure(format_args!("waiting for an answer of {target}"));
        };
        let others = self.others;
        let text =
            format!("{target} did not answer; what came instead, {others} in all, is {unfit}");
        failure(FailureReason::Protocol, text)
    }
}
