//! A step that takes a stream's connection away, as mobile networks do, or waits until the server
//! does; and measures how long a client takes to notice.

use super::dial::StepContext;
use super::failure::{Attempt, failure};
use super::heartbeat::{self, Heartbeat, Noticed, Pings};
use super::inbox::StreamEnd;
use super::link::Cut;
use super::record::StepRecord;
use super::stream::{self, OpenStream};
use crate::model::probe::{FailureReason, Phase};

/// How the connection goes away, and how that is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropStep {
    /// How it goes.
    pub by: DropBy,
    /// How the client watches it; without a watch it notices only an end that it is told.
    pub heartbeat: Option<Heartbeat>,
}

/// Who ends a connection, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropBy {
    /// Something on the way.
    Network(Cut),
    /// The client, with this close code where the protocol has them.
    Close(u16),
    /// The server: it is waited for.
    Server,
}

/// Carries it out. The value is the time from the end until it was noticed.
///
/// # Errors
/// `timeout` when it is not noticed before the deadline, `local` when the stream has no connection that
/// can be taken away.
pub(super) async fn run(
    step: &DropStep,
    stream: &mut OpenStream,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<()> {
    let from = record.now();
    record.attribute("drop.by", step.by.as_str());
    step.by.happen(stream, with).await?;
    let noticed = notice(step, stream, with).await?;
    let (at, how) = match noticed {
        Noticed::Silence(at) => (at, step.heartbeat.as_ref().map(Heartbeat::silence)),
        Noticed::End(StreamEnd { at, words, .. }) => (at, Some(words)),
        Noticed::Nothing => {
            let doing = format!("waiting for the end of {} to be noticed", stream.target);
            return Err(with.deadline.failure(doing));
        }
    };
    record.attribute("drop.noticed", how.unwrap_or_default());
    record.phase(Phase::Detect, from, at);
    record.value(at.since(from));
    record.sent = Some(from);
    if !matches!(step.by, DropBy::Network(Cut::Silent)) {
        stream.abandon();
    }
    Ok(())
}

async fn notice(
    step: &DropStep,
    stream: &mut OpenStream,
    with: StepContext<'_>,
) -> Attempt<Noticed> {
    if let Some(heartbeat) = &step.heartbeat {
        let mut pings = Pings::default();
        return heartbeat::watch(heartbeat, stream, with.deadline, &with.context.clock, &mut pings)
            .await;
    }
    let ended = stream.inbox.until(with.deadline, |state| state.end.clone()).await;
    Ok(ended.map_or(Noticed::Nothing, Noticed::End))
}

// === impl DropBy ===

impl DropBy {
    async fn happen(self, stream: &mut OpenStream, with: StepContext<'_>) -> Attempt<()> {
        match self {
            Self::Network(cut) => {
                let link = stream.link.as_ref().ok_or_else(|| {
                    let words = format!("the connection under {} cannot be cut", stream.target);
                    failure(FailureReason::Local, words)
                })?;
                link.sever(cut);
                Ok(())
            }
            // A client ends an event stream by closing its connection.
            Self::Close(_) if stream.protocol == "sse" => {
                stream.link.iter().for_each(|link| link.sever(Cut::Finished));
                Ok(())
            }
            Self::Close(code) => stream::close(code, stream, with).await,
            Self::Server => Ok(()),
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Network(cut) => cut.as_str(),
            Self::Close(_) => "close",
            Self::Server => "server",
        }
    }
}
