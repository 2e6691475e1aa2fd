//! HTTP/3 at the secure edge: one route, `/health`.

use crate::base::error::Chain;
use crate::base::shutdown::Shutdown;
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, EndpointConfig, Incoming, ServerConfig, TokioRuntime, VarInt};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;
use tracing::warn;

type Stream = h3::server::RequestStream<h3_quinn::BidiStream<Bytes>, Bytes>;
type BoxError = Box<dyn Error + Send + Sync>;

/// Connections at a time; more are refused.
const MAX_CONNECTIONS: usize = 64;
/// No connection lasts longer.
const LIFE: Duration = Duration::from_secs(60);

/// Answers over QUIC until `shutdown` begins.
pub(super) async fn serve(socket: UdpSocket, tls: rustls::ServerConfig, shutdown: Shutdown) {
    let endpoint = match endpoint(socket, tls) {
        Ok(endpoint) => endpoint,
        Err(cause) => {
            warn!(error = %Chain(&*cause), "the sample back end speaks no HTTP/3");
            return;
        }
    };
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let incoming = tokio::select! {
            () = shutdown.begun() => break,
            incoming = endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else { break };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        let signal = shutdown.clone();
        shutdown.spawn(async move {
            let _held = place;
            tokio::select! {
                () = signal.begun() => {}
                // Whoever asks may leave at any time.
                done = tokio::time::timeout(LIFE, converse(incoming)) => drop(done),
            }
        });
    }
    endpoint.close(VarInt::from_u32(0), b"the demo is over");
}

fn endpoint(socket: UdpSocket, tls: rustls::ServerConfig) -> Result<Endpoint, BoxError> {
    let config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    let runtime = Arc::new(TokioRuntime);
    let socket = socket.into_std()?;
    Ok(Endpoint::new(EndpointConfig::default(), Some(config), socket, runtime)?)
}

async fn converse(incoming: Incoming) -> Result<(), BoxError> {
    let connection = h3_quinn::Connection::new(incoming.await?);
    let mut connection = h3::server::Connection::new(connection).await?;
    while let Some(resolver) = connection.accept().await? {
        let (request, stream) = resolver.resolve_request().await?;
        answer(&request, stream).await?;
    }
    Ok(())
}

async fn answer(request: &Request<()>, mut stream: Stream) -> Result<(), BoxError> {
    let (status, body) = match request.uri().path() {
        "/health" => (StatusCode::OK, r#"{"status":"pass"}"#),
        _ => (StatusCode::NOT_FOUND, r#"{"error":"no such place"}"#),
    };
    let head = Response::builder().status(status).header(header::CONTENT_TYPE, "application/json");
    stream.send_response(head.body(())?).await?;
    stream.send_data(Bytes::from_static(body.as_bytes())).await?;
    Ok(stream.finish().await?)
}
