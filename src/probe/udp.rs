//! The UDP step: a datagram there, and one back.
//!
//! A datagram is a message of its own; others than the one expected are passed over. Nothing is
//! sent twice: a lost datagram is what the probe is there to see.

use super::awaited::{Awaited, ExpectText, Waited};
use super::datagrams::{Addresses, Datagrams, MAX_PAYLOAD};
use super::dial::StepContext;
use super::failure::{Attempt, failure, quote};
use super::limits;
use super::record::StepRecord;
use super::target::Target;
use super::writes;
use crate::base::clock::MonoNanos;
use crate::model::probe::{FailureReason, Phase};
use bytes::Bytes;
use std::collections::HashSet;
use std::io;
use xxhash_rust::xxh3::xxh3_64;

/// No more datagrams of one exchange are told from their duplicates.
const MAX_KNOWN: usize = 4096;
/// No more than so many that are here already are looked at after the match.
const MAX_FOLLOWING: usize = 64;

/// Sends a datagram and waits for one.
#[derive(Clone, Debug, PartialEq)]
pub struct UdpStep {
    /// `udp://host:port`.
    pub url: String,
    /// What to send.
    pub send: String,
    /// What to wait for.
    pub expect: ExpectText,
}

/// What came, apart from the match.
#[derive(Debug, Default)]
struct Others {
    known: HashSet<u64>,
    arrived: u64,
    duplicates: u64,
    last: Vec<u8>,
}

impl UdpStep {
    /// Its texts that are filled in at each run.
    pub(super) fn texts<'a>(&'a self, texts: &mut Vec<&'a str>) {
        texts.extend([self.url.as_str(), self.send.as_str()]);
        self.expect.texts(texts);
    }
}

/// Carries out the step; hands back the datagram that matched.
pub(super) async fn run(
    step: &UdpStep,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Option<Bytes>> {
    let target = Target::parse(&with.variables.fill(&step.url)?, ["udp", "dtls"])?;
    record.talks("udp", target.to_string());
    writes::admit(&target, with.writes)?;
    limits::pace(&target, 1, with, record).await?;
    let text = with.variables.fill(&step.send)?;
    if text.len() > MAX_PAYLOAD {
        let words = format!("{} bytes do not fit into one datagram", text.len());
        return Err(failure(FailureReason::Local, words));
    }
    let awaited = Awaited::fill(&step.expect, "a datagram", with.variables)?;
    let mut addresses = Addresses::of(&target, with, record).await?;
    loop {
        let (mut datagrams, address) = addresses.connect(with, record).await?;
        let mut others = Others::default();
        // An address that refuses at once or later makes way for the next.
        let exchanged = match datagrams.send(text.as_bytes()).await {
            Ok(sent) => {
                let waited = wait(&awaited, &mut datagrams, &mut others, sent.0, with).await;
                waited.map(|waited| (sent, waited))
            }
            Err(error) => Err(error),
        };
        let ((from, to), (waited, body)) = match exchanged {
            Ok(exchanged) => exchanged,
            Err(error) => {
                addresses.refused(address, &error);
                continue;
            }
        };
        addresses.note(address, record);
        record.sent = Some(from);
        record.phase(Phase::Send, from, to);
        if let Waited::Came(from, to) = waited {
            record.message(from, to);
        }
        others.note(&mut datagrams, record);
        awaited.judge(waited, &target, with.deadline, record)?;
        return Ok(body);
    }
}

/// Waits for the datagram; an error when the other end refuses them.
async fn wait(
    awaited: &Awaited,
    datagrams: &mut Datagrams,
    others: &mut Others,
    since: MonoNanos,
    with: StepContext<'_>,
) -> io::Result<(Waited, Option<Bytes>)> {
    loop {
        let Ok(received) = with.deadline.limit(datagrams.receive()).await else {
            return Ok((Waited::Nothing(others.words()), None));
        };
        let (bytes, arrived) = received?;
        others.count(bytes);
        if awaited.holds(bytes) {
            let body = Bytes::copy_from_slice(bytes);
            return Ok((Waited::Came(since, arrived), Some(body)));
        }
    }
}

// === impl Others ===

impl Others {
    fn count(&mut self, bytes: &[u8]) {
        self.arrived += 1;
        self.last = bytes.to_vec();
        let hash = xxh3_64(bytes);
        if self.known.contains(&hash) {
            self.duplicates += 1;
        } else if self.known.len() < MAX_KNOWN {
            let _ = self.known.insert(hash);
        }
    }

    /// Counts what followed the match closely, and says what came more than once.
    fn note(&mut self, datagrams: &mut Datagrams, record: &mut StepRecord) {
        for _ in 0..MAX_FOLLOWING {
            let Some(bytes) = datagrams.received() else { break };
            self.count(bytes);
        }
        if self.duplicates > 0 {
            record.attribute("udp.datagrams.duplicate", self.duplicates);
        }
        if self.arrived - self.duplicates > 1 {
            record.attribute("udp.datagrams.received", self.arrived);
        }
    }

    fn last(&self) -> String {
        quote(&String::from_utf8_lossy(&self.last))
    }

    fn words(&self) -> String {
        match self.arrived {
            0 => "nothing else did".to_owned(),
            1 => format!("another came: {}", self.last()),
            count => format!("{count} others came, the last: {}", self.last()),
        }
    }
}
