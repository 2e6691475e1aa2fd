//! A datagram through the relay and back: from a second socket of ours to the relayed address, from
//! there to us as the server's client, and from us through the relay to the second socket.
//!
//! The second socket speaks first, so that whatever address translation lies before it lets the
//! answer in, and the server tells its address. As in any call, nothing is sent twice.

use super::super::awaited::{Awaited, Waited};
use super::super::datagrams::Datagrams;
use super::super::dial::StepContext;
use super::super::failure::{Attempt, failure, of_io};
use super::super::record::StepRecord;
use super::super::stun_message::parse;
use super::Allocation;
use super::client::{Client, broken};
use super::message::{Wish, relayed, send_indication};
use crate::base::clock::MonoNanos;
use crate::base::error::Chain;
use crate::model::probe::{Failure, FailureReason, Phase};
use bytes::Bytes;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

/// What came, and when.
enum Came {
    /// To us as the server's client.
    Relayed(io::Result<(Bytes, MonoNanos)>),
    /// To the second socket, and whether it is the datagram.
    Back(io::Result<(bool, MonoNanos)>),
}

/// How far the datagram came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Not even to us.
    There,
    /// To us, and we sent it back.
    Back,
}

/// Sends a datagram through the relay and waits for it.
pub(super) async fn echo(
    client: &mut Client<'_>,
    allocation: Allocation,
    within: Option<Duration>,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<()> {
    let Allocation { relayed, mapped } = allocation;
    let peer = Datagrams::connect(relayed, with, record).await;
    let mut peer = peer.map_err(|error| {
        let doing = format!("making a socket to the relayed address {relayed}");
        of_io(&error, FailureReason::Connect, &doing)
    })?;
    let from = record.now();
    let permitted = permit(client, mapped.ip(), with, record).await?;
    // Where the relay is next door, it may see another address of ours than the server did.
    match peer.own_ip() {
        Some(own) if own != mapped.ip() && is_near(relayed.ip()) => {
            let _ = client.ask(Wish::Permit(own), with.deadline).await;
            record.phase(Phase::Subscribe, from, record.now());
        }
        _ => record.phase(Phase::Subscribe, from, permitted),
    }

    let text = format!("radiosonde {}", with.mark.traceparent());
    let awaited = Awaited::fill(&super::awaited(&text, within), "a datagram", with.variables)?;
    let sent = with.deadline.run("sending to the relay", peer.send(text.as_bytes())).await?;
    let (from, to) = sent.map_err(|error| refused(&error))?;
    record.sent = Some(from);
    record.phase(Phase::Send, from, to);
    let waited = pass(client, &mut peer, &awaited, from, with).await?;
    if let Waited::Came(from, to) = waited {
        record.message(from, to);
    }
    awaited.judge(waited, client.target, with.deadline, record)
}

/// Sends back what comes through the relay, until it is where it came from.
async fn pass(
    client: &mut Client<'_>,
    peer: &mut Datagrams,
    awaited: &Awaited,
    since: MonoNanos,
    with: StepContext<'_>,
) -> Attempt<Waited> {
    let mut way = Way::There;
    loop {
        let next = async {
            tokio::select! {
                received = client.line.receive() => Came::Relayed(received),
                received = peer.receive() => {
                    Came::Back(received.map(|(bytes, at)| (awaited.holds(bytes), at)))
                }
            }
        };
        let Ok(came) = with.deadline.limit(next).await else {
            return Ok(Waited::Nothing(way.words().to_owned()));
        };
        match came {
            Came::Back(Ok((true, arrived))) => return Ok(Waited::Came(since, arrived)),
            Came::Back(Ok((false, _))) => {}
            Came::Back(Err(error)) => return Err(refused(&error)),
            Came::Relayed(received) => {
                let (bytes, _) = received.map_err(|error| broken(&error, client.target))?;
                let Some(answer) = turned_around(&bytes, awaited) else { continue };
                way = Way::Back;
                let sent = with.deadline.run("sending back", client.line.send(&answer)).await?;
                let _ = sent.map_err(|error| broken(&error, client.target))?;
            }
        }
    }
}

/// The second socket does not carry it.
fn refused(error: &io::Error) -> Failure {
    let text = format!("sending to the relayed address: {}", Chain(error));
    failure(FailureReason::Connect, text)
}

/// Asks leave for an address of ours; hands back when it was given.
async fn permit(
    client: &mut Client<'_>,
    peer: IpAddr,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<MonoNanos> {
    let granted = client.ask(Wish::Permit(peer), with.deadline).await;
    if let Some(code) = client.refusal {
        record.status(code);
    }
    granted.map(|granted| granted.arrived).map_err(|denied| denied.into_failure(client.target))
}

/// What sends a datagram of ours back to where it came from; none when the message holds none.
fn turned_around(bytes: &[u8], awaited: &Awaited) -> Option<Vec<u8>> {
    let message = parse(bytes).ok()?;
    let (peer, data) = relayed(&message).filter(|(_, data)| awaited.holds(data))?;
    Some(send_indication(rand::random(), peer, data))
}

/// Whether an address is of this machine or its own network.
fn is_near(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

// === impl Way ===

impl Way {
    /// Where it was lost, in words.
    const fn words(self) -> &'static str {
        match self {
            Self::There => "it did not come through the relay to us",
            Self::Back => "it came through the relay to us, and not back",
        }
    }
}
