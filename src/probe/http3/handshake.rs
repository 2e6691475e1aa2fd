//! From a name to a QUIC connection: resolve, and one handshake that is QUIC's and TLS's.

use super::super::connection::Stamps;
use super::super::deadline::Expired;
use super::super::dial::{StepContext, resolve};
use super::super::failure::{Attempt, failure, of_io, quote};
use super::super::record::StepRecord;
use super::super::spec::TlsOptions;
use super::super::target::Target;
use super::super::tls::Alpn;
use super::socket::StampedUdp;
use crate::base::error::Chain;
use crate::model::probe::{Failure, FailureReason, Phase};
use quinn::crypto::rustls::{HandshakeData, QuicClientConfig};
use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, EndpointConfig, TokioRuntime,
    TransportConfig,
};
use std::net::SocketAddr;
use std::sync::Arc;

/// The protocol's name in the handshake.
const H3: &[u8] = b"h3";
/// TLS alerts arrive as codes from here on (RFC 9001, 4.8).
const CRYPTO: u64 = 0x100;
/// The alert of a server that speaks none of the protocols offered.
const NO_APPLICATION_PROTOCOL: u64 = 120;

/// A connection, its stamps, and what must live as long.
#[derive(Debug)]
pub(super) struct Quic {
    pub(super) connection: Connection,
    pub(super) stamps: Arc<Stamps>,
    _endpoint: Endpoint,
}

/// Connects. Addresses are tried in order until one answers, each with an equal share of what the
/// deadline leaves: nobody tells where datagrams do not arrive.
pub(super) async fn connect(
    target: &Target,
    tls: &TlsOptions,
    step: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Quic> {
    let config = client_config(tls, step)?;
    let name = tls.server_name.as_deref().unwrap_or(&target.host);
    let addresses = resolve(target, step, record).await?;
    let from = record.now();
    let mut silent: Vec<String> = Vec::new();
    for (tried, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - tried).unwrap_or(1).max(1);
        let share =
            step.deadline.no_later_than(record.now().plus(step.deadline.remaining() / left));
        match share.limit(open(*address, name, config.clone(), step)).await {
            Ok(opened) => {
                let quic = opened?;
                record.phase(Phase::Quic, from, quic.stamps.last_read());
                agree(&quic.connection)?;
                if target.address().is_none() {
                    record.attribute("network.peer.address", address.ip().to_string());
                }
                return Ok(quic);
            }
            Err(Expired) => silent.push(address.to_string()),
        }
    }
    let silent = silent.join(" and ");
    Err(step.deadline.failure(format_args!(
        "waiting for a QUIC answer over UDP of {silent}: nobody listens there, or a firewall drops it"
    )))
}

fn client_config(tls: &TlsOptions, step: StepContext<'_>) -> Attempt<ClientConfig> {
    let tls = step.context.tls.get(tls, Alpn::Http3)?;
    let crypto = QuicClientConfig::try_from(tls).map_err(|error| {
        failure(FailureReason::Local, format!("QUIC cannot be set up: {error}"))
    })?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    let mut transport = TransportConfig::default();
    // The run has a deadline of its own.
    transport.max_idle_timeout(None);
    config.transport_config(Arc::new(transport));
    Ok(config)
}

async fn open(
    address: SocketAddr,
    name: &str,
    config: ClientConfig,
    step: StepContext<'_>,
) -> Attempt<Quic> {
    let stamps = Arc::new(Stamps::new(step.context.clock.clone()));
    let doing = format!("opening a UDP socket to {address}");
    let local = |error: std::io::Error| of_io(&error, FailureReason::Local, &doing);
    let socket = StampedUdp::bind(address, Arc::clone(&stamps)).map_err(local)?;
    let endpoint = Endpoint::new_with_abstract_socket(
        EndpointConfig::default(),
        None,
        Arc::new(socket),
        Arc::new(TokioRuntime),
    );
    let endpoint = endpoint.map_err(local)?;
    let connecting = endpoint.connect_with(config, address, name).map_err(|error| {
        failure(FailureReason::Connect, format!("connecting to {address}: {error}"))
    })?;
    let doing = format!("the QUIC handshake with {name}");
    let connection = connecting.await.map_err(|error| of_quic(&error, &doing))?;
    Ok(Quic { connection, stamps, _endpoint: endpoint })
}

/// A server without protocols of its own agrees to any, and says so by naming none.
fn agree(connection: &Connection) -> Attempt<()> {
    let data = connection.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
    match data.and_then(|data| data.protocol) {
        Some(protocol) if protocol == H3 => Ok(()),
        _ => Err(no_http3("the handshake")),
    }
}

/// An error of QUIC: a certificate, the protocol, the peer.
pub(super) fn of_quic(error: &ConnectionError, doing: &str) -> Failure {
    let alert = match error {
        ConnectionError::TransportError(error) => {
            Some((u64::from(error.code), error.reason.clone()))
        }
        ConnectionError::ConnectionClosed(close) => {
            let said = String::from_utf8_lossy(&close.reason).into_owned();
            Some((u64::from(close.error_code), said))
        }
        _ => None,
    };
    let alert = alert.and_then(|(code, said)| Some((code.checked_sub(CRYPTO)?, said)));
    if let Some((code, said)) = alert.filter(|(code, _)| *code <= u64::from(u8::MAX)) {
        if code == NO_APPLICATION_PROTOCOL {
            return no_http3(doing);
        }
        let said = if said.is_empty() { format!("TLS alert {code}") } else { quote(&said) };
        return failure(FailureReason::Tls, format!("{doing}: {said}"));
    }
    let reason = match error {
        ConnectionError::ApplicationClosed(_)
        | ConnectionError::ConnectionClosed(_)
        | ConnectionError::Reset => FailureReason::Closed,
        _ => FailureReason::Protocol,
    };
    failure(reason, format!("{doing}: {}", quote(&Chain(error).to_string())))
}

fn no_http3(doing: &str) -> Failure {
    let words = format!("{doing}: the server speaks QUIC there, but not HTTP/3 (ALPN h3)");
    failure(FailureReason::Protocol, words)
}
