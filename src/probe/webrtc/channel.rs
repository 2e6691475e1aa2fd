//! The open channel: a task that carries messages both ways, and the steps' side of it.

use super::super::failure::{Attempt, failure};
use super::super::inbox::{InboxWriter, MAX_MESSAGE_BYTES, Received};
use super::super::stream::{Findings, Outlet};
use super::driver::Driver;
use super::signalling::Session;
use crate::model::probe::{Failure, FailureReason};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, join};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use str0m::channel::ChannelId;
use str0m::{Event, IceConnectionState};
use tokio::sync::{mpsc, oneshot};

/// What steps ask of the task.
#[derive(Debug)]
pub(super) enum Command {
    /// Send this, and say when it is written.
    Say(String, Reply),
    /// Say goodbye, and say when that is written.
    Leave(oneshot::Sender<()>),
}

type Reply = oneshot::Sender<Attempt<()>>;

/// The task.
#[derive(Debug)]
pub(super) struct Carrier {
    /// Below the channel.
    pub driver: Driver,
    /// Which it is.
    pub channel: ChannelId,
    /// Where messages go.
    pub inbox: InboxWriter,
    /// What steps ask.
    pub commands: mpsc::Receiver<Command>,
    /// What is counted.
    pub tally: Arc<Tally>,
    /// A message for which there is no room yet.
    pub unsent: Option<(String, Reply)>,
}

/// What came over the channel.
#[derive(Debug, Default)]
pub(super) struct Tally {
    messages: AtomicU64,
    bytes: AtomicU64,
}

/// The steps' side.
#[derive(Debug)]
pub(super) struct Speaker {
    /// To the task.
    pub commands: mpsc::Sender<Command>,
    /// The session at the signalling server.
    pub session: Option<Session>,
    /// What the task counts.
    pub tally: Arc<Tally>,
}

/// How a channel ended.
struct End(FailureReason, String);

// === impl Carrier ===

impl Carrier {
    /// Carries messages until the channel ends, beginning with what came with its opening.
    pub(super) async fn run(mut self, early: VecDeque<Event>) {
        let End(reason, words) = self.carry(early).await;
        self.inbox.end(reason, None, words);
        self.driver.close();
        drop(self.driver.drain().await);
    }

    async fn carry(&mut self, early: VecDeque<Event>) -> End {
        if let Err(end) = self.hear(early) {
            return end;
        }
        loop {
            if let Err(end) = self.settle().await {
                return end;
            }
            let Self { driver, commands, unsent, .. } = self;
            let command = tokio::select! {
                happened = driver.next() => match happened.and_then(|it| driver.take(it)) {
                    Ok(()) => continue,
                    Err(failure) => return failure.into(),
                },
                // While one message waits for room, the next one waits outside.
                Some(command) = commands.recv(), if unsent.is_none() => command,
            };
            match command {
                Command::Say(text, reply) => *unsent = Some((text, reply)),
                Command::Leave(reply) => {
                    driver.close();
                    drop(driver.drain().await);
                    // Whoever asked may have gone.
                    let _ = reply.send(());
                    return End(FailureReason::Closed, "we closed the data channel".to_owned());
                }
            }
        }
    }

    /// Sends what is to be sent, and hears what was said, until both have come to rest.
    async fn settle(&mut self) -> Result<(), End> {
        self.exchange().await?;
        if self.unsent.is_some() {
            // After a long silence the engine would count from when it last heard anything.
            self.driver.tell_the_time()?;
            self.exchange().await?;
        }
        let Some((text, _)) = &self.unsent else { return Ok(()) };
        let written = self.driver.write(self.channel, text);
        self.exchange().await?;
        let told = match written {
            // There will be once the peer has confirmed something.
            Ok(false) => return Ok(()),
            Ok(true) => Ok(()),
            Err(failure) => Err(failure),
        };
        if let Some((_, reply)) = self.unsent.take() {
            // Whoever asked may have gone.
            let _ = reply.send(told);
        }
        Ok(())
    }

    async fn exchange(&mut self) -> Result<(), End> {
        let events = self.driver.drain().await?;
        self.hear(events)
    }

    fn hear(&self, events: VecDeque<Event>) -> Result<(), End> {
        for event in events {
            match event {
                Event::ChannelData(data) if data.id == self.channel => {
                    self.tally.messages.fetch_add(1, Ordering::Relaxed);
                    self.tally.bytes.fetch_add(data.data.len() as u64, Ordering::Relaxed);
                    let (arrived, body) = (self.driver.at(), Bytes::from(data.data));
                    self.inbox.push(Received { arrived, event: None, body });
                }
                Event::ChannelClose(id) if id == self.channel => {
                    let words = "the peer closed the data channel";
                    return Err(End(FailureReason::Closed, words.to_owned()));
                }
                Event::Closed => {
                    let words = "the peer closed the connection";
                    return Err(End(FailureReason::Closed, words.to_owned()));
                }
                Event::IceConnectionStateChange(IceConnectionState::Disconnected) => {
                    let words = "the peer does not answer any more (ICE is disconnected)";
                    return Err(End(FailureReason::Connect, words.to_owned()));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

// === impl End ===

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self(failure.reason, failure.message)
    }
}

// === impl Speaker ===

impl Speaker {
    async fn say(&self, text: String) -> Attempt<()> {
        if text.len() > MAX_MESSAGE_BYTES {
            let words = format!("the message is longer than {MAX_MESSAGE_BYTES} bytes");
            return Err(failure(FailureReason::Local, words));
        }
        let (reply, told) = oneshot::channel();
        let gone = || failure(FailureReason::Closed, "sending: the data channel is closed");
        self.commands.send(Command::Say(text, reply)).await.map_err(|_| gone())?;
        told.await.unwrap_or_else(|_| Err(gone()))
    }

    async fn leave(&mut self) {
        let (reply, told) = oneshot::channel();
        let farewell = async {
            if self.commands.send(Command::Leave(reply)).await.is_ok() {
                drop(told.await);
            }
        };
        let session = async {
            if let Some(session) = &mut self.session {
                session.leave().await;
            }
        };
        let _ = join(farewell, session).await;
    }
}

impl Outlet for Speaker {
    fn send(&mut self, text: String) -> BoxFuture<'_, Attempt<()>> {
        self.say(text).boxed()
    }

    fn ping(&mut self, _: Bytes) -> BoxFuture<'_, Attempt<()>> {
        let words = "a data channel has no pings";
        async move { Err(failure(FailureReason::Local, words)) }.boxed()
    }

    fn hang_up(&mut self) -> BoxFuture<'_, ()> {
        self.leave().boxed()
    }

    fn findings(&self) -> Findings {
        let Tally { messages, bytes } = &*self.tally;
        let counted = |name: &str, count: &AtomicU64| {
            (format!("webrtc.{name}"), count.load(Ordering::Relaxed).into())
        };
        let attributes = vec![counted("messages", messages), counted("received_bytes", bytes)];
        Findings { attributes, check: None }
    }
}
