//! From a name to a connection: resolve, connect, TLS, each stamped when it is done.

use super::addresses::{Dialling, MAX_ADDRESSES, race};
use super::connection::{Connection, StampedTcp};
use super::deadline::Deadline;
use super::failure::{Attempt, failure, is_local, of_io};
use super::link::Link;
use super::marking::Mark;
use super::network::{Path, RunNetwork, Shaped};
use super::record::StepRecord;
use super::runner::Context;
use super::socket::Way;
use super::spec::TlsOptions;
use super::target::Target;
use super::template::Variables;
use super::tls::Alpn;
use super::writes::WriteTarget;
use crate::base::error::Chain;
use crate::model::probe::{Failure, FailureReason, Phase};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ProtocolVersion};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What a step works with.
#[derive(Clone, Copy, Debug)]
pub(super) struct StepContext<'a> {
    /// Clock, telemetry, TLS.
    pub context: &'a Context,
    /// Of the whole run, or of the cleaning up.
    pub deadline: &'a Deadline,
    /// What the run knows so far.
    pub variables: &'a Variables,
    /// Who sends.
    pub mark: &'a Mark,
    /// Where the probe may write to, besides loopback.
    pub writes: &'a [WriteTarget],
    /// How a name with several addresses is dialled.
    pub dialling: Dialling,
    /// The emulated network that everything goes through, where there is one.
    pub network: Option<&'a Arc<RunNetwork>>,
}

/// Dials a target. Addresses are tried in order until one connects, each with an equal share of
/// what the deadline leaves.
pub(super) async fn dial(
    target: &Target,
    tls: &TlsOptions,
    alpn: Alpn,
    step: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Connection> {
    // Before the first phase: making a configuration is not the target's time.
    let config = if target.tls { Some(step.context.tls.get(tls, alpn)?) } else { None };
    let tcp = dial_tcp(target, step, record).await?;
    let Some(config) = config else { return Ok(Connection::over(tcp)) };
    let name = tls.server_name.as_deref().unwrap_or(&target.host);
    Ok(Connection::over(secure(tcp, name, config, step, record).await?))
}

/// Dials a target as far as TCP, whatever its scheme asks for.
pub(super) async fn dial_tcp(
    target: &Target,
    step: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<StampedTcp> {
    let addresses = resolve(target, step, record).await?;
    let mut path = step.network.map(|network| network.open(record.span()));
    let tcp = connect(&addresses, &mut path, step, record).await?;
    if target.address().is_none()
        && let Ok(peer) = tcp.peer_addr()
    {
        record.attribute("network.peer.address", peer.ip().to_string());
    }
    let way = match path {
        Some(path) => Way::Shaped(Shaped::new(tcp, path)),
        None => Way::Bare(tcp),
    };
    let link = Arc::new(Link::new(step.context.clock.clone()));
    record.link = Some(Arc::clone(&link));
    Ok(StampedTcp::new(way, link))
}

/// Makes a connection a secure one: the TLS handshake with the server of that name.
pub(super) async fn secure<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    name: &str,
    config: Arc<ClientConfig>,
    step: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<TlsStream<S>> {
    let shaken = handshake(stream, name, config, step, record).await?;
    shaken.map_err(|error| of_io(&error, FailureReason::Tls, &handshake_with(name)))
}

/// The TLS handshake for those who want to know more of what went wrong in it.
pub(super) async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    name: &str,
    config: Arc<ClientConfig>,
    step: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<io::Result<TlsStream<S>>> {
    let server = ServerName::try_from(name.to_owned()).map_err(|error| {
        failure(FailureReason::Tls, format!("`{name}` cannot be verified: {error}"))
    })?;
    let from = record.now();
    let connected = TlsConnector::from(config).connect(server, stream);
    let connected = step.deadline.run(handshake_with(name), connected).await?;
    if let Ok(tls) = &connected {
        record.phase(Phase::Tls, from, record.now());
        note_tls(tls.get_ref().1, record);
        if let Some(inspection) = &step.context.inspection {
            inspection.secured(tls.get_ref().1);
        }
    }
    Ok(connected)
}

/// What the handshake is called in failures.
pub(super) fn handshake_with(name: &str) -> String {
    format!("the TLS handshake with {name}")
}

/// What both ends agreed on, by the names of OpenTelemetry.
fn note_tls(session: &ClientConnection, record: &mut StepRecord) {
    let version = session.protocol_version().and_then(|version| match version {
        ProtocolVersion::TLSv1_2 => Some("1.2"),
        ProtocolVersion::TLSv1_3 => Some("1.3"),
        _ => None,
    });
    if let Some(version) = version {
        record.attribute("tls.protocol.version", version);
    }
    if let Some(suite) = session.negotiated_cipher_suite().and_then(|s| s.suite().as_str()) {
        record.attribute("tls.cipher", suite);
    }
}

/// The addresses of a target's host; of a run that is pinned or inspected, the one that may be talked to.
pub(super) async fn resolve(
    target: &Target,
    step: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Vec<SocketAddr>> {
    let addresses = lookup(target, step, record).await?;
    let addresses = match &step.context.pin {
        Some(pin) => pin.choose(&target.host, addresses),
        None => addresses,
    };
    match &step.context.inspection {
        Some(inspection) => inspection.choose(target, &addresses),
        None => Ok(addresses),
    }
}

/// The addresses of a target's host. One that is an address itself needs no resolving, and the
/// phase is absent.
async fn lookup(
    target: &Target,
    step: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Vec<SocketAddr>> {
    if let Some(address) = target.address() {
        return Ok(vec![SocketAddr::new(address, target.port)]);
    }
    let from = record.now();
    let doing = format!("resolving {}", target.host);
    let found = step.deadline.run(&doing, step.context.lookups.find(&target.host)).await??;
    let to = record.now();
    let found = found.as_ref().as_ref();
    let found = found.map_err(|error| of_io(error, FailureReason::Resolve, &doing))?;
    let with_port = |found: &SocketAddr| {
        let mut address = *found;
        address.set_port(target.port);
        address
    };
    let addresses: Vec<SocketAddr> = found.iter().take(MAX_ADDRESSES).map(with_port).collect();
    if addresses.is_empty() {
        return Err(failure(FailureReason::Resolve, format!("{doing}: it has no address")));
    }
    record.phase(Phase::Resolve, from, to);
    Ok(addresses)
}

async fn connect(
    addresses: &[SocketAddr],
    path: &mut Option<Path>,
    step: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<TcpStream> {
    let (from, deadline) = (record.now(), step.deadline);
    if step.dialling == Dialling::HappyEyeballs && addresses.len() > 1 {
        return match race(addresses, deadline, record).await {
            Ok(stream) => {
                // The race is run on the machine's own network; the emulated one is what the winner is on.
                let ready = deadline.run("connecting", settle(&stream, path)).await?;
                ready.map_err(|error| of_io(&error, FailureReason::Connect, "connecting"))?;
                record.phase(Phase::Connect, from, record.now());
                Ok(stream)
            }
            Err(errors) => Err(unconnected(&errors, deadline)),
        };
    }
    let mut errors: Vec<(SocketAddr, io::Error)> = Vec::new();
    for (tried, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - tried).unwrap_or(1).max(1);
        let share = deadline.no_later_than(record.now().plus(deadline.remaining() / left));
        let error = match share.limit(open(*address, path)).await {
            Ok(Ok(stream)) => {
                record.phase(Phase::Connect, from, record.now());
                return Ok(stream);
            }
            Ok(Err(error)) => error,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
        errors.push((*address, error));
    }
    Err(unconnected(&errors, deadline))
}

/// The failure of a connection to none of some addresses.
fn unconnected(errors: &[(SocketAddr, io::Error)], deadline: &Deadline) -> Failure {
    let tries: Vec<String> =
        errors.iter().map(|(address, error)| format!("{address}: {}", Chain(error))).collect();
    let tries = tries.join("; ");
    if deadline.has_passed() {
        return deadline.failure(format_args!("connecting ({tries})"));
    }
    let ours = errors.iter().all(|(_, error)| is_local(error));
    let reason = if ours { FailureReason::Local } else { FailureReason::Connect };
    failure(reason, format!("connecting to {tries}"))
}

/// A connection over the real path, and then what the emulated one adds to its handshake.
async fn open(address: SocketAddr, path: &mut Option<Path>) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    settle(&stream, path).await?;
    Ok(stream)
}

/// Readies a connection, and adds what the emulated path does to its handshake.
async fn settle(stream: &TcpStream, path: &mut Option<Path>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if let Some(path) = path {
        path.shake_hands().await;
    }
    Ok(())
}
