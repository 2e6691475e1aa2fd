//! The ICMP step: echoes to a host, and how many of them come back.
//!
//! `echo` sends them through an unprivileged datagram socket or else a raw one. Where the system
//! permits neither, `connect` times TCP connections instead and an attribute says so; a definition may
//! refuse that. The value is the median of the round trips.

mod connect;
mod echo;

use super::dial::{StepContext, resolve};
use super::failure::{Attempt, failure, of_io};
use super::record::StepRecord;
use super::target::{Target, url_host};
use crate::base::clock::{MonoNanos, nanos};
use crate::model::probe::{FailureReason, Phase};
use echo::EchoSocket;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Any port: an address without one cannot be looked up, and echoes need none.
const NO_PORT: u16 = 1;
/// What to do where echoes are not permitted.
const HINT: &str = "permit it with sysctl net.ipv4.ping_group_range=\"0 2147483647\", or with \
                    setcap cap_net_raw+ep on the binary";

/// Echoes to a host.
#[derive(Clone, Debug, PartialEq)]
pub struct IcmpStep {
    /// Name or address.
    pub host: String,
    /// How many echoes.
    pub count: u16,
    /// From one echo to the next.
    pub interval: Duration,
    /// Bytes of payload.
    pub size: u16,
    /// Which of a name's addresses.
    pub family: Family,
    /// The share of echoes that may be lost, 0..1; never all of them.
    pub max_loss: f64,
    /// How long to wait for answers after the last echo; without it, as long as the run may take.
    pub wait: Option<Duration>,
    /// Where ICMP is not permitted, time connections to this port instead.
    pub fallback: Option<u16>,
    /// The hop limit of what is sent, where it is not the system's.
    pub hop_limit: Option<u8>,
}

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Family {
    /// Whichever comes first.
    #[default]
    Any,
    /// IPv4 only.
    Ipv4,
    /// IPv6 only.
    Ipv6,
}

/// An echo, or what stands for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Echo {
    /// Just before it was sent.
    from: MonoNanos,
    /// Once it was sent.
    sent: MonoNanos,
    /// When the read returned that brought its answer.
    arrived: Option<MonoNanos>,
}

/// Whether a text is the name or address of a host.
#[must_use]
pub fn is_host(text: &str) -> bool {
    url_host(text).is_some()
}

/// Carries out the step.
pub(super) async fn run(
    step: &IcmpStep,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<()> {
    run_over(step, EchoSocket::open, with, record).await
}

/// `open` is how to get a socket for echoes.
async fn run_over(
    step: &IcmpStep,
    open: impl Fn(IpAddr) -> io::Result<EchoSocket>,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<()> {
    let host = url_host(&with.variables.fill(&step.host)?).ok_or_else(|| {
        failure(FailureReason::Local, "the host is neither a name nor an address")
    })?;
    record.talks("icmp", format!("icmp://{host}"));
    let address = find(step, &host, with, record).await?;
    match (open(address), step.fallback) {
        (Ok(socket), _) => {
            if let Some(limit) = step.hop_limit {
                socket.set_hop_limit(limit).map_err(|error| {
                    of_io(&error, FailureReason::Local, "setting the hop limit")
                })?;
            }
            let (echoes, ttl, error) = echo::exchange(&socket, address, step, with, record).await?;
            for echo in &echoes {
                record.phase(Phase::Send, echo.from, echo.sent);
                if let Some(arrived) = echo.arrived {
                    record.phase(Phase::Wait, echo.sent, arrived);
                }
            }
            let none_came = echoes.iter().all(|echo| echo.arrived.is_none());
            let judged = judge(step, &host, &echoes, ttl, with, record);
            // Whoever says why no echo can come back knows better than silence does.
            judged.map_err(|silence| error.filter(|_| none_came).unwrap_or(silence))
        }
        (Err(error), Some(port)) if is_refusal(&error) => {
            record.attribute("icmp.fallback", "tcp connect: not permitted to send ICMP");
            let server = SocketAddr::new(address, port);
            let echoes = connect::exchange(server, step, with, record).await?;
            for echo in &echoes {
                if let Some(arrived) = echo.arrived {
                    record.phase(Phase::Connect, echo.from, arrived);
                }
            }
            judge(step, &host, &echoes, None, with, record)
        }
        (Err(error), None) if is_refusal(&error) => {
            let words = format!("not permitted to send ICMP ({error}): {HINT}");
            Err(failure(FailureReason::Local, words))
        }
        (Err(error), _) => {
            Err(of_io(&error, FailureReason::Local, &format!("making a socket to {address}")))
        }
    }
}

/// Not permitted, or not built into the system.
fn is_refusal(error: &io::Error) -> bool {
    const PROTOCOL_NOT_SUPPORTED: [i32; 2] = [93, 43];
    error.kind() == io::ErrorKind::PermissionDenied
        || error.raw_os_error().is_some_and(|code| PROTOCOL_NOT_SUPPORTED.contains(&code))
}

/// The first address of the family.
async fn find(
    step: &IcmpStep,
    host: &str,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<IpAddr> {
    let target = Target::parse(&format!("icmp://{host}:{NO_PORT}"), ["icmp", "icmp"])?;
    let addresses = resolve(&target, with, record).await?;
    let mut addresses = addresses.iter().map(SocketAddr::ip);
    let (name, found) = match step.family {
        Family::Any => ("", addresses.next()),
        Family::Ipv4 => ("IPv4 ", addresses.find(IpAddr::is_ipv4)),
        Family::Ipv6 => ("IPv6 ", addresses.find(IpAddr::is_ipv6)),
    };
    let found = found.ok_or_else(|| {
        failure(FailureReason::Resolve, format!("{} has no {name}address", target.host))
    })?;
    if target.address().is_none() {
        record.attribute("network.peer.address", found.to_string());
    }
    Ok(found)
}

/// Says what came back, and whether it is enough.
fn judge(
    step: &IcmpStep,
    host: &str,
    echoes: &[Echo],
    ttl: Option<u8>,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<()> {
    let mut trips: Vec<Duration> =
        echoes.iter().filter_map(|echo| Some(echo.arrived?.since(echo.from))).collect();
    trips.sort_unstable();
    let (count, received) = (usize::from(step.count), trips.len());
    record.attribute("icmp.sent", echoes.len());
    record.attribute("icmp.received", received);
    if let (Some(least), Some(most)) = (trips.first(), trips.last()) {
        record.attribute("icmp.rtt_min_ns", *least);
        record.attribute("icmp.rtt_max_ns", *most);
    }
    if let Some(ttl) = ttl {
        record.attribute("icmp.ttl", u32::from(ttl));
    }
    if received == 0 && with.deadline.has_passed() {
        let doing = format!("waiting for an answer of {host} to {} echoes", echoes.len());
        return Err(with.deadline.failure(doing));
    }
    let lost = count - received.min(count);
    let percent = |share: f64| (share * 1_000.0).round() / 10.0;
    let name = format!("no more than {}% of {count} echoes are lost", percent(step.max_loss));
    let share = lost as f64 / count.max(1) as f64;
    let holds = received > 0 && share <= step.max_loss;
    let found = format!("{lost} of {count} are ({}%)", percent(share));
    record.check(name.clone(), if holds { Ok(()) } else { Err(found.clone()) });
    let (Some(median), true) = (median(&trips), holds) else {
        let words = format!("expected of {host} that {name}, but {found}");
        return Err(failure(FailureReason::Lost, words));
    };
    record.value(median);
    Ok(())
}

/// Of durations in order.
fn median(sorted: &[Duration]) -> Option<Duration> {
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get(sorted.len().saturating_sub(1) / 2)?;
    Some(Duration::from_nanos(nanos(lower).midpoint(nanos(upper))))
}

#[cfg(test)]
mod tests;
