//! Requests to a TURN server and their answers: credentials when they are asked for, a stale nonce
//! taken over once, and over UDP a request without an answer sent again as STUN says.

use super::super::deadline::{Deadline, Expired};
use super::super::failure::{Attempt, failure, of_stream, quote};
use super::super::marking;
use super::super::stun_message::{Message, Transaction, Unfit, parse};
use super::super::target::Target;
use super::line::Line;
use super::message::{Method, Session, Wish, alternate, request};
use crate::base::clock::MonoNanos;
use crate::base::secret::Secret;
use crate::model::probe::{Failure, FailureReason};
use bytes::Bytes;
use std::io;
use std::time::Duration;

/// RTO of RFC 8489: a request is sent again after this, and then after twice the time before.
const FIRST_RETRANSMISSION: Duration = Duration::from_millis(500);
/// Rc of RFC 8489: no request is sent more often.
const MAX_REQUESTS: u32 = 7;
const UNAUTHENTICATED: u16 = 401;
const STALE_NONCE: u16 = 438;

/// Who asks.
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    /// No longer than a message has room for.
    pub username: Secret,
    /// The password.
    pub password: Secret,
}

/// One client of a server.
#[derive(Debug)]
pub(super) struct Client<'a> {
    /// The way there.
    pub line: Line,
    /// Where to.
    pub target: &'a Target,
    credentials: Option<Credentials>,
    session: Option<Session>,
    /// Requests that were sent again.
    pub retransmissions: u32,
    /// Whether anything came over the line.
    pub has_heard: bool,
    /// The code of the last refusal that ended a request.
    pub refusal: Option<u16>,
}

/// An answer that says yes.
#[derive(Debug)]
pub(super) struct Granted {
    bytes: Bytes,
    /// Just before the first request was sent; the one without credentials, where that came first.
    pub asked: MonoNanos,
    /// When the answer came.
    pub arrived: MonoNanos,
}

/// Why a request came to nothing.
#[derive(Debug)]
pub(super) enum Denied {
    /// The line does not carry it.
    Line(io::Error),
    /// Anything else.
    Failed(Failure),
}

/// An answer to one request, be it yes or no.
struct Reply {
    bytes: Bytes,
    sent: MonoNanos,
    arrived: MonoNanos,
    is_granted: bool,
}

// === impl Client ===

impl<'a> Client<'a> {
    /// A client that has not asked anything yet.
    pub(super) fn new(line: Line, target: &'a Target, credentials: Option<Credentials>) -> Self {
        Self {
            line,
            target,
            credentials,
            session: None,
            retransmissions: 0,
            has_heard: false,
            refusal: None,
        }
    }

    /// Asks; shows credentials when the server wants them.
    ///
    /// # Errors
    /// A line that does not carry it, a refusal, the deadline.
    pub(super) async fn ask(&mut self, wish: Wish, deadline: &Deadline) -> Result<Granted, Denied> {
        let mut asked = None;
        let (mut has_shown, mut was_stale) = (self.session.is_some(), false);
        loop {
            let Reply { bytes, sent, arrived, is_granted } = self.exchange(wish, deadline).await?;
            let asked = *asked.get_or_insert(sent);
            if is_granted {
                return Ok(Granted { bytes, asked, arrived });
            }
            let message = parse(&bytes).map_err(|unfit| self.unreadable(wish.method(), unfit))?;
            let Some((code, reason)) = message.refusal() else {
                return Err(self.unreadable(wish.method(), Unfit::Malformed));
            };
            let goes_on = match code {
                UNAUTHENTICATED if !has_shown => {
                    has_shown = true;
                    self.show_credentials(&message)?
                }
                STALE_NONCE if !was_stale => {
                    was_stale = true;
                    self.session.as_mut().is_some_and(|session| session.renew(&message))
                }
                _ => false,
            };
            if !goes_on {
                self.refusal = Some(code);
                return Err(Denied::Failed(self.refused(wish, code, &reason, &message)));
            }
        }
    }

    /// The realm to which the credentials belong, once it is known.
    pub(super) fn realm(&self) -> Option<&str> {
        self.session.as_ref().map(Session::realm)
    }

    /// Makes a session of a challenge; false where there are no credentials.
    fn show_credentials(&mut self, challenge: &Message<'_>) -> Result<bool, Denied> {
        let Some(Credentials { username, password }) = &self.credentials else { return Ok(false) };
        self.session = Session::of(challenge, username, password.reveal());
        match &self.session {
            Some(_) => Ok(true),
            None => {
                let text = format!(
                    "{} asks for credentials (401) without saying of which realm and nonce",
                    self.target
                );
                Err(Denied::Failed(failure(FailureReason::Protocol, text)))
            }
        }
    }

    /// One request and its answer.
    async fn exchange(&mut self, wish: Wish, deadline: &Deadline) -> Result<Reply, Denied> {
        let transaction: Transaction = rand::random();
        let request = request(wish, transaction, &marking::user_agent(), self.session.as_ref());
        let sent = self.carry(&request, wish, deadline).await?;
        let (mut pause, mut again) = (FIRST_RETRANSMISSION, sent.plus(FIRST_RETRANSMISSION));
        let (mut requests, mut last) = (1, None);
        loop {
            let is_last = !self.line.is_lossy() || requests >= MAX_REQUESTS;
            let until = if is_last { deadline.clone() } else { deadline.no_later_than(again) };
            match until.limit(self.line.receive()).await {
                Ok(received) => {
                    let (bytes, arrived) = received.map_err(Denied::Line)?;
                    self.has_heard = true;
                    match self.granted(&bytes, wish.method(), transaction) {
                        Ok(is_granted) => return Ok(Reply { bytes, sent, arrived, is_granted }),
                        Err(unfit) => last = Some(unfit),
                    }
                }
                Err(Expired) if deadline.has_passed() => {
                    return Err(Denied::Failed(self.unanswered(wish.method(), last, deadline)));
                }
                Err(Expired) => {
                    let _ = self.carry(&request, wish, deadline).await?;
                    self.retransmissions = self.retransmissions.saturating_add(1);
                    requests += 1;
                    pause *= 2;
                    again = again.plus(pause);
                }
            }
        }
    }

    async fn carry(
        &mut self,
        request: &[u8],
        wish: Wish,
        deadline: &Deadline,
    ) -> Result<MonoNanos, Denied> {
        let doing = format!("sending {} to {}", wish.method().name(), self.target);
        let sent = deadline.run(doing, self.line.send(request)).await.map_err(Denied::Failed)?;
        sent.map(|(from, _)| from).map_err(Denied::Line)
    }

    /// Whether an answer says yes, if it is one of ours.
    fn granted(
        &self,
        bytes: &[u8],
        method: Method,
        transaction: Transaction,
    ) -> Result<bool, Unfit> {
        let message = parse(bytes)?;
        let is_granted = method.answered_by(message.kind).ok_or(Unfit::NotAnAnswer)?;
        if message.transaction != transaction {
            return Err(Unfit::Stranger);
        }
        // Errors may come from who could not verify us, and are not signed then.
        match &self.session {
            Some(session) if is_granted && !session.signed(&message) => Err(Unfit::Signature),
            _ => Ok(is_granted),
        }
    }

    // === what went wrong, in words ===

    fn unreadable(&self, method: Method, unfit: Unfit) -> Denied {
        let text = format!("the answer of {} to {} is {unfit}", self.target, method.name());
        Denied::Failed(failure(FailureReason::Protocol, text))
    }

    fn unanswered(&self, method: Method, last: Option<Unfit>, deadline: &Deadline) -> Failure {
        let (target, method) = (self.target, method.name());
        match last {
            None => deadline.failure(format_args!("waiting for {target} to answer {method}")),
            Some(unfit) => {
                let text = format!("{target} did not answer {method}; what came last is {unfit}");
                failure(FailureReason::Protocol, text)
            }
        }
    }

    /// A refusal, with what it means for whoever must act.
    fn refused(&self, wish: Wish, code: u16, reason: &str, message: &Message<'_>) -> Failure {
        let meaning = match (code, wish) {
            (300, _) => match alternate(message) {
                Some(address) => format!("it sends us to another server, {address}"),
                None => "it sends us to another server".to_owned(),
            },
            (401, _) if self.credentials.is_none() => {
                "it wants credentials: give the probe username and password".to_owned()
            }
            (401, _) => "it does not accept user name and password".to_owned(),
            (403, Wish::Permit(peer)) => format!("it forbids to relay from and to {peer}"),
            (403, _) => "this user may not relay".to_owned(),
            (437, _) => "it knows of another allocation for this socket, or of none".to_owned(),
            (438, _) => "it finds a nonce stale that it has just given".to_owned(),
            (440, _) => "it has no relay of this address family".to_owned(),
            (441, _) => "the allocation belongs to other credentials".to_owned(),
            (442, _) => "it does not relay UDP".to_owned(),
            (443, _) => "its relayed address and ours are of different families".to_owned(),
            (486, _) => "this user has as many allocations as it may have".to_owned(),
            (508, _) => "it has no relayed address left".to_owned(),
            _ => "it will not".to_owned(),
        };
        let (target, method) = (self.target, wish.method().name());
        let said = if reason.is_empty() { String::new() } else { format!(" {}", quote(reason)) };
        let text = format!("{target} refuses {method} with {code}{said}: {meaning}");
        failure(FailureReason::Status, text)
    }
}

/// An error of a line on which there was an answer before.
pub(super) fn broken(error: &io::Error, target: &Target) -> Failure {
    if error.kind() == io::ErrorKind::ConnectionRefused {
        let text = format!("{target} has gone: nobody listens there (ICMP port unreachable)");
        return failure(FailureReason::Closed, text);
    }
    of_stream(error, &format!("talking to {target}"))
}

// === impl Granted ===

impl Granted {
    /// The message. It was read once before it was granted.
    pub(super) fn message(&self, target: &Target) -> Attempt<Message<'_>> {
        parse(&self.bytes).map_err(|unfit| {
            failure(FailureReason::Protocol, format!("the answer of {target} is {unfit}"))
        })
    }
}

// === impl Denied ===

impl Denied {
    /// As a failure, where no other address is left to try.
    pub(super) fn into_failure(self, target: &Target) -> Failure {
        match self {
            Self::Line(error) => broken(&error, target),
            Self::Failed(failure) => failure,
        }
    }
}
