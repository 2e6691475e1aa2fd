//! Which of a name's addresses a probe talks to.
//!
//! By default they are tried in the order in which the resolver gives them. Happy Eyeballs (RFC 8305)
//! is what browsers and phones do: families take turns, a further attempt begins every 250 ms or as
//! soon as one fails, and the first connection wins. The resolver's answer is waited for as a whole,
//! so that the resolution delay of the RFC has no place here.

use super::deadline::Deadline;
use super::record::StepRecord;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// No more addresses of a name are tried.
pub(super) const MAX_ADDRESSES: usize = 16;
/// The connection attempt delay that RFC 8305 recommends.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// How a name with several addresses is dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Dialling {
    /// In order, until one connects.
    #[default]
    First,
    /// By RFC 8305.
    HappyEyeballs,
}

/// Families in turn, beginning with that of the first address.
fn interleaved(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (own, other): (Vec<SocketAddr>, Vec<SocketAddr>) =
        addresses.iter().partition(|address| address.is_ipv6() == first);
    let longest = own.len().max(other.len());
    (0..longest).flat_map(|at| [own.get(at), other.get(at)]).flatten().copied().collect()
}

/// Connects to the fastest of some addresses, and notes which won after how long.
///
/// # Errors
/// What became of each that was tried; those that had no answer by the deadline timed out.
pub(super) async fn race(
    addresses: &[SocketAddr],
    deadline: &Deadline,
    record: &mut StepRecord,
) -> Result<TcpStream, Vec<(SocketAddr, io::Error)>> {
    let began = record.now();
    let candidates = interleaved(addresses);
    let mut waiting = candidates.iter().copied();
    let mut attempts = FuturesUnordered::new();
    let (mut errors, mut open) = (Vec::new(), Vec::new());
    loop {
        let next = waiting.next();
        if let Some(address) = next {
            open.push((address, record.now()));
            attempts.push(async move { (address, TcpStream::connect(address).await) });
        } else if attempts.is_empty() {
            return Err(errors);
        }
        let patience = match next {
            Some(_) if waiting.len() > 0 => {
                deadline.no_later_than(record.now().plus(ATTEMPT_DELAY))
            }
            _ => deadline.clone(),
        };
        match patience.limit(attempts.next()).await {
            Ok(Some((address, Ok(stream)))) => {
                let begun = open.iter().find(|(known, _)| *known == address);
                let begun = begun.map_or(Duration::ZERO, |(_, at)| at.since(began));
                record.attribute("happy_eyeballs.addresses", candidates.len());
                record.attribute("happy_eyeballs.attempts", open.len());
                record.attribute("happy_eyeballs.winner", address.ip().to_string());
                record.attribute("happy_eyeballs.winner_begun_after_ns", begun);
                return Ok(stream);
            }
            Ok(Some((address, Err(error)))) => errors.push((address, error)),
            Ok(None) => {}
            Err(_) if deadline.has_passed() => {
                let failed = |address| errors.iter().any(|(known, _)| *known == address);
                let mute: Vec<SocketAddr> =
                    open.iter().map(|(a, _)| *a).filter(|a| !failed(*a)).collect();
                let late = |address| (address, io::ErrorKind::TimedOut.into());
                errors.extend(mute.into_iter().map(late));
                return Err(errors);
            }
            Err(_) => {}
        }
    }
}
