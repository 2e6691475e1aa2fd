//! The back end's secure edge: `/health` over HTTP/1.1 and 2 with TLS, and over HTTP/3 where the build
//! has it, on one port. Its certificate is its own and made at each start, so whoever asks must not
//! insist on knowing who signed it.

use super::sockets::TwinSockets;
use crate::base::error::Chain;
use crate::base::shutdown::Shutdown;
use axum::Router;
use axum::routing::get;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tracing::warn;

/// Where the shipped probes expect the secure edge.
pub const SECURE_ADDRESS: &str = "127.0.0.1:7074";

/// For whom the certificate is.
const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];
/// Connections over TCP at a time.
const MAX_CONNECTIONS: usize = 64;
/// No connection lasts longer.
const LIFE: Duration = Duration::from_secs(60);

/// Serves until `shutdown` begins.
pub async fn start_secure(sockets: TwinSockets, shutdown: Shutdown) {
    let TwinSockets { datagrams, listener, .. } = sockets;
    let serving = async {
        #[cfg(feature = "http3")]
        shutdown.spawn(super::quic::serve(datagrams, tls(&[b"h3"])?, shutdown.clone()));
        #[cfg(not(feature = "http3"))]
        drop(datagrams);
        let acceptor = TlsAcceptor::from(Arc::new(tls(&[b"h2", b"http/1.1"])?));
        serve_connections(&listener, &acceptor, &shutdown).await;
        Ok::<_, Box<dyn Error + Send + Sync>>(())
    };
    tokio::select! {
        () = shutdown.begun() => {}
        served = serving => if let Err(cause) = served {
            warn!(error = %Chain(&*cause), "the sample back end has no secure edge");
        },
    }
}

/// TLS with a new certificate that agrees to these protocols.
fn tls(protocols: &[&[u8]]) -> Result<ServerConfig, Box<dyn Error + Send + Sync>> {
    let made = rcgen::generate_simple_self_signed(NAMES.map(str::to_owned))?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?;
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

async fn serve_connections(listener: &TcpListener, acceptor: &TlsAcceptor, shutdown: &Shutdown) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (acceptor, signal) = (acceptor.clone(), shutdown.clone());
                shutdown.spawn(async move {
                    let _held = place;
                    tokio::select! {
                        () = signal.begun() => {}
                        // Whoever asks may leave at any time.
                        done = tokio::time::timeout(LIFE, converse(stream, &acceptor)) => drop(done),
                    }
                });
            }
            Err(error) => {
                warn!(error = &error as &dyn Error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    let stream = TokioIo::new(acceptor.accept(stream).await?);
    let routes = Router::new().route("/health", get(super::rest::health));
    let service = TowerToHyperService::new(routes);
    auto::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Clock;
    use crate::probe::{Context, SlotStart, run_once};
    use crate::telemetry::Telemetry;
    use std::net::SocketAddr;

    /// Guarantees that the shipped probes of the secure edge pass here.
    #[tokio::test]
    async fn the_shipped_probes_pass() {
        let sockets = TwinSockets::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let (address, shutdown) = (sockets.address().to_string(), Shutdown::new());
        shutdown.spawn(start_secure(sockets, shutdown.clone()));
        let shipped = [
            include_str!("../../../probes/tls.yaml"),
            #[cfg(feature = "http3")]
            include_str!("../../../probes/http3.yaml"),
        ];
        let context = Context::new(Clock::system(), Telemetry::new());
        for text in shipped {
            let text = text.replace(SECURE_ADDRESS, &address);
            let loaded = crate::config::load_embedded(&[("probes/a.yaml", &text)], &|_| true);
            for probe in loaded.settings.expect("no mistakes").probes {
                let run = run_once(&probe, SlotStart::now(&context.clock), &context).await;
                assert!(run.succeeded(), "{}: {:?}", probe.name, run.failure);
            }
        }
        assert!(shutdown.drain(Duration::from_secs(30)).await, "it ends");
    }
}
