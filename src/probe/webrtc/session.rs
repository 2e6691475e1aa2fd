//! From a URL to an open channel.

use super::super::dial::{StepContext, dial};
use super::super::failure::{Attempt, failure, of_io, quote};
use super::super::inbox::Inbox;
use super::super::limits::pace;
use super::super::record::StepRecord;
use super::super::stream::{FAREWELL, OpenStream};
use super::super::target::Target;
use super::super::tls::Alpn;
use super::super::writes;
use super::WebRtcStep;
use super::channel::{Carrier, Speaker, Tally};
use super::driver::{Driver, Offer, engine};
use super::signalling::{Answer, candidates, post};
use crate::base::clock::MonoNanos;
use crate::model::probe::{Failure, FailureReason, Phase};
use futures::future::join;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use str0m::channel::{ChannelConfig, ChannelId, Reliability};
use str0m::{Event, IceConnectionState};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

/// What fits into the channel's greeting, bytes (RFC 8832, 5.1).
const MAX_NAME_BYTES: usize = 65_535;
/// A failure names no more addresses of the peer.
const MAX_SHOWN: usize = 8;

/// A channel that is open.
struct Opened {
    channel: ChannelId,
    at: MonoNanos,
    /// What the engine told in the same breath.
    early: VecDeque<Event>,
}

/// Opens the stream of a step.
pub(in super::super) async fn open(
    step: &WebRtcStep,
    name: &str,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<OpenStream> {
    let target = Target::parse(&with.variables.fill(&step.url)?, ["http", "https"])?;
    record.talks("webrtc", target.to_string());
    // An offer makes the server open a session.
    writes::admit(&target, with.writes)?;
    if with.network.is_some() {
        let words = "WebRTC does not go through an emulated network";
        return Err(failure(FailureReason::Local, words));
    }
    let channel = channel_of(step, with)?;
    let clock = with.context.clock.clone();
    // Keys are made elsewhere, so that no other run of this thread waits, and before the first phase.
    let made = tokio::task::spawn_blocking(move || engine(&clock));
    let made = with.deadline.run("making keys for an offer", made).await?;
    let rtc =
        made.map_err(|_| failure(FailureReason::Local, "no keys were made for an offer"))??;
    pace(&target, 1, with, record).await?;
    let connection = dial(&target, &step.tls, Alpn::Either, with, record).await?;
    // A cut is for the stream's own connection; this one has done its work with the answer.
    record.link = None;
    let own = own_address(&target, record).await?;
    let mut driver = Driver::bind(rtc, own, &with.context.clock).await?;
    let offer = driver.offer(channel)?;
    let mut answer = post(step, &offer.sdp, &target, connection, with, record).await?;
    record.sent = Some(answer.asked);
    let established = establish(&mut driver, offer, &answer, &target, with, record).await;
    let opened = match established {
        Ok(opened) => opened,
        Err(failure) => {
            leave(&mut driver, &mut answer).await;
            return Err(failure);
        }
    };
    if let Some(peer) = driver.peer() {
        record.attribute("webrtc.peer", peer.to_string());
    }
    let (inbox, writer) = Inbox::new(&with.context.clock);
    let (sender, commands) = mpsc::channel(1);
    let tally = Arc::new(Tally::default());
    let Opened { channel, at, early } = opened;
    let speaker = Speaker { commands: sender, session: answer.session, tally: Arc::clone(&tally) };
    let carrier = Carrier { driver, channel, inbox: writer, commands, tally, unsent: None };
    Ok(OpenStream {
        step: name.to_owned(),
        receiver: 0,
        target,
        protocol: "webrtc",
        asked: answer.asked,
        opened: at,
        sent: Vec::new(),
        inbox,
        max_gap: None,
        close_code: None,
        outlet: Some(Box::new(speaker)),
        reader: AbortOnDropHandle::new(tokio::spawn(carrier.run(early))),
        link: None,
        silent: Vec::new(),
    })
}

fn channel_of(step: &WebRtcStep, with: StepContext<'_>) -> Attempt<ChannelConfig> {
    let fill = |text: &str| {
        let text = with.variables.fill(text)?;
        if text.len() > MAX_NAME_BYTES {
            let words = format!("the channel's name `{}` is too long", quote(&text));
            return Err(failure(FailureReason::Local, words));
        }
        Ok(text)
    };
    let reliability =
        step.max_retransmits.map(|retransmits| Reliability::MaxRetransmits { retransmits });
    Ok(ChannelConfig {
        label: fill(&step.channel)?,
        protocol: fill(&step.protocol)?,
        ordered: step.ordered,
        reliability: reliability.unwrap_or_default(),
        negotiated: None,
    })
}

/// The address of ours from which the signalling server was just reached. Nothing is sent.
async fn own_address(target: &Target, record: &StepRecord) -> Attempt<IpAddr> {
    let resolved = || record.found("network.peer.address")?.to_string().parse().ok();
    let server: IpAddr = target.address().or_else(resolved).ok_or_else(|| {
        failure(FailureReason::Local, "the address of the signalling server is not known")
    })?;
    let any: IpAddr = match server {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let looked = async {
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect((server, target.port)).await?;
        socket.local_addr()
    };
    let looked = looked.await;
    let doing = "finding our own address";
    looked.map(|own| own.ip()).map_err(|error| of_io(&error, FailureReason::Local, doing))
}

/// Accepts the answer and goes on until the channel is open.
async fn establish(
    driver: &mut Driver,
    offer: Offer,
    answer: &Answer,
    target: &Target,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Opened> {
    let from = record.now();
    let accepted = driver.accept(offer, &answer.sdp);
    record.check("the answer is SDP that answers the offer".to_owned(), accepted.clone().map(drop));
    let channel = accepted.map_err(|why| {
        let said = quote(answer.sdp.lines().next().unwrap_or_default());
        let text = format!(
            "the answer of {target} does not answer the offer: {}; it begins: {said}",
            quote(&why)
        );
        failure(FailureReason::Protocol, text)
    })?;
    let mut ice = None;
    loop {
        let drained = with.deadline.limit(driver.drain()).await;
        let mut events = drained.unwrap_or_else(|_| Ok(VecDeque::new()))?;
        while let Some(event) = events.pop_front() {
            let at = driver.at();
            match event {
                Event::IceConnectionStateChange(state) if state.is_connected() && ice.is_none() => {
                    record.phase(Phase::Ice, from, at);
                    ice = Some(at);
                }
                Event::IceConnectionStateChange(IceConnectionState::Disconnected) => {
                    let found = if ice.is_some() { "lost" } else { "found" };
                    let text = format!("no way to the peer was {found}: {}", ways(driver, answer));
                    return Err(failure(FailureReason::Connect, text));
                }
                Event::ChannelOpen(id, _) if id == channel => {
                    record.phase(Phase::Dtls, ice.unwrap_or(from), at);
                    return Ok(Opened { channel, at, early: events });
                }
                Event::ChannelClose(id) if id == channel => return Err(closed("channel")),
                Event::Closed => return Err(closed("connection")),
                _ => {}
            }
        }
        match with.deadline.limit(driver.next()).await {
            Ok(happened) => driver.take(happened?)?,
            Err(_) if ice.is_some() => {
                let doing = "DTLS, SCTP or the channel's greeting with the peer was under way";
                return Err(with.deadline.failure(doing));
            }
            Err(_) => {
                let doing =
                    format!("looking for a way to the peer by ICE: {}", ways(driver, answer));
                return Err(with.deadline.failure(doing));
            }
        }
    }
}

fn closed(what: &str) -> Failure {
    let text = format!("the peer closed the {what} before it was open");
    failure(FailureReason::Closed, text)
}

/// Between which addresses a way was looked for.
fn ways(driver: &Driver, answer: &Answer) -> String {
    let mut all: Vec<String> = candidates(&answer.sdp).collect();
    all.dedup();
    let more = all.len().saturating_sub(MAX_SHOWN);
    all.truncate(MAX_SHOWN);
    let theirs = match (all.as_slice(), more) {
        ([], _) => "its answer names no address".to_owned(),
        (some, 0) => format!("its answer names {}", some.join(", ")),
        (some, more) => format!("its answer names {} and {more} more", some.join(", ")),
    };
    let refused: Vec<String> = driver.refused().collect();
    let refused = if refused.is_empty() {
        String::new()
    } else {
        format!("; nothing could be sent to {}", refused.join("; "))
    };
    format!("we offered {}, {theirs}{refused}", driver.own())
}

/// Says goodbye to a peer with which no channel was opened.
async fn leave(driver: &mut Driver, answer: &mut Answer) {
    driver.close();
    let session = async {
        if let Some(session) = &mut answer.session {
            session.leave().await;
        }
    };
    let farewell = join(driver.drain(), session);
    // Neither an answer nor an error matters.
    drop(tokio::time::timeout(FAREWELL, farewell).await);
}
