//! Servers on loopback, real ones and broken ones.

use axum::Router;
use futures::{SinkExt, StreamExt};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::task::AbortOnDropHandle;

/// A server that lives until it is dropped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

impl Server {
    pub(super) fn url(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://{}{path}", self.address)
    }
}

/// A server that hands every connection to `serve`.
pub(super) async fn raw<F, S>(serve: S) -> Server
where
    F: Future<Output = ()> + Send + 'static,
    S: Fn(TcpStream) -> F + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).expect("a fresh socket");
            drop(tokio::spawn(serve(stream)));
        }
    });
    Server { address, _task: AbortOnDropHandle::new(task) }
}

/// HTTP/1.1 and HTTP/2 with prior knowledge.
pub(super) async fn http(router: Router) -> Server {
    raw(move |stream| serve(router.clone(), stream)).await
}

/// The same over TLS, with a certificate for `localhost` and 127.0.0.1 that is handed back as PEM.
pub(super) async fn https(router: Router) -> (Server, Arc<str>) {
    let serve = move |stream| serve(router.clone(), stream);
    secure(&[b"h2", b"http/1.1"], serve).await
}

/// A server that hands every connection to `serve` once it is secured, with a certificate as above.
pub(super) async fn secure<F, S>(protocols: &[&[u8]], serve: S) -> (Server, Arc<str>)
where
    F: Future<Output = ()> + Send + 'static,
    S: Fn(TlsStream<TcpStream>) -> F + Clone + Send + 'static,
{
    let (acceptor, pem) = acceptor_for(protocols);
    let server = raw(move |stream| {
        let (acceptor, serve) = (acceptor.clone(), serve.clone());
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(stream).await;
            }
        }
    });
    (server.await, pem)
}

/// TLS with a certificate for `localhost` and 127.0.0.1, which is handed back as PEM.
pub(super) fn acceptor() -> (TlsAcceptor, Arc<str>) {
    acceptor_for(&[b"h2", b"http/1.1"])
}

fn acceptor_for(protocols: &[&[u8]]) -> (TlsAcceptor, Arc<str>) {
    let (config, pem) = tls_server(protocols);
    (TlsAcceptor::from(Arc::new(config)), pem)
}

/// What a server with such a certificate needs.
pub(super) fn tls_server(protocols: &[&[u8]]) -> (rustls::ServerConfig, Arc<str>) {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a matching key");
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    (config, made.cert.pem().into())
}

async fn serve(router: Router, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let service = TowerToHyperService::new(router);
    let builder = auto::Builder::new(TokioExecutor::new());
    drop(builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await);
}

/// A server that hands every WebSocket to `serve`.
pub(super) async fn websocket<F, S>(serve: S) -> Server
where
    F: Future<Output = ()> + Send + 'static,
    S: Fn(WebSocketStream<TcpStream>) -> F + Clone + Send + 'static,
{
    raw(move |stream| {
        let serve = serve.clone();
        async move {
            if let Ok(socket) = tokio_tungstenite::accept_async(stream).await {
                serve(socket).await;
            }
        }
    })
    .await
}

/// Sends every text back to where it came from.
pub(super) async fn echo(mut socket: WebSocketStream<TcpStream>) {
    while let Some(Ok(message)) = socket.next().await {
        if let Message::Text(_) = message {
            drop(socket.send(message).await);
        }
    }
}

/// Reads a request's head and returns it.
pub(super) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).await.is_ok() {
        head.extend_from_slice(&byte);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Writes what the other end may no longer want.
pub(super) async fn write(stream: &mut (impl AsyncWrite + Unpin), bytes: impl AsRef<[u8]>) {
    drop(stream.write_all(bytes.as_ref()).await);
}

/// Reads and throws away until the other end closes.
pub(super) async fn linger(mut stream: TcpStream) {
    drop(tokio::io::copy(&mut stream, &mut tokio::io::sink()).await);
}
