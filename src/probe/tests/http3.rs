//! HTTP/3 against a real server over QUIC, and against what is none.

use super::super::spec::{
    BodyCheck, FlowChecks, HeaderCheck, HttpStep, HttpVersion, TextCheck, TlsOptions,
};
use super::servers::tls_server;
use super::{assert_failure, assert_success, get, phases, run_http, run_within, step};
use crate::model::probe::{FailureReason, Phase, ProbeRun};
use crate::probe::spec::Action;
use ::http::{Request, Response};
use bytes::{Buf, Bytes};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, ServerConfig};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio_util::task::AbortOnDropHandle;

type Stream = h3::server::RequestStream<h3_quinn::BidiStream<Bytes>, Bytes>;

/// An HTTP/3 server that lives until it is dropped.
struct Server {
    address: SocketAddr,
    /// Its certificate.
    pem: Arc<str>,
    _task: AbortOnDropHandle<()>,
}

/// A server that agrees to these protocols.
fn serve(protocols: &[&[u8]]) -> Server {
    let (tls, pem) = tls_server(protocols);
    let crypto = QuicServerConfig::try_from(tls).expect("TLS 1.3");
    let config = ServerConfig::with_crypto(Arc::new(crypto));
    let endpoint = Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).expect("a port");
    let address = endpoint.local_addr().expect("bound");
    let task = tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            drop(tokio::spawn(async move {
                let Ok(connection) = incoming.await else { return };
                let connection = h3_quinn::Connection::new(connection);
                let Ok(mut connection) = h3::server::Connection::new(connection).await else {
                    return;
                };
                while let Ok(Some(resolver)) = connection.accept().await {
                    let Ok((request, stream)) = resolver.resolve_request().await else { continue };
                    drop(tokio::spawn(answer(request, stream)));
                }
            }));
        }
    });
    Server { address, pem, _task: AbortOnDropHandle::new(task) }
}

/// Says what it was asked: at `/` at once, at `/slow` after 60 ms, in two parts 120 ms apart.
async fn answer(request: Request<()>, mut stream: Stream) -> Option<()> {
    let mut body = Vec::new();
    while let Some(mut data) = stream.recv_data().await.ok()? {
        body.extend_from_slice(&data.copy_to_bytes(data.remaining()));
    }
    let is_slow = request.uri().path() == "/slow";
    if is_slow {
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    let status = if request.uri().path() == "/gone" { 410 } else { 200 };
    let head = Response::builder().status(status).header("x-zone", "b").body(()).ok()?;
    stream.send_response(head).await.ok()?;
    let marks = request.headers().get("traceparent")?.to_str().ok()?;
    let said = json!({
        "method": request.method().as_str(),
        "authority": request.uri().authority()?.as_str(),
        "body": String::from_utf8_lossy(&body),
        "marked": marks.starts_with("00-"),
    });
    stream.send_data(Bytes::from(said.to_string())).await.ok()?;
    if is_slow {
        tokio::time::sleep(Duration::from_millis(120)).await;
        stream.send_data(Bytes::from_static(b" ")).await.ok()?;
    }
    stream.finish().await.ok()
}

impl Server {
    fn ask(&self, path: &str) -> HttpStep {
        let tls = TlsOptions { ca_pem: Some(Arc::clone(&self.pem)), ..TlsOptions::default() };
        let url = format!("https://{}{path}", self.address);
        HttpStep { version: HttpVersion::Http3, tls, ..get(url) }
    }
}

/// Guarantees the request, the answer's checks, the phases and what is known of the connection.
#[tokio::test]
async fn an_answer_over_quic_is_judged() {
    let server = serve(&[b"h3"]);
    let said = json!({
        "method": "POST",
        "authority": server.address.to_string(),
        "body": "run ${run.id}",
        "marked": true,
    });
    let ask = HttpStep {
        method: "POST".into(),
        body: Some("run ${run.id}".into()),
        header_checks: vec![HeaderCheck {
            name: "x-zone".into(),
            text: TextCheck::Equals("b".into()),
        }],
        body_checks: vec![BodyCheck::Json(Arc::new(said))],
        ..server.ask("/")
    };
    let run = run_http(ask).await;
    assert_success(&run);
    let step = &run.steps[0];
    assert_eq!(phases(step), [Phase::Quic, Phase::Send, Phase::Wait, Phase::Receive]);
    let known = |name: &str, value: &str| {
        assert!(step.attributes.contains(&(name.into(), value.into())), "{step:#?}");
    };
    known("network.protocol.version", "3");
    known("network.transport", "quic");
    assert_eq!((step.status, run.latency_ns), (Some(200), Some(step.duration_ns)));

    let run = run_http(server.ask("/gone")).await;
    assert_failure(&run, FailureReason::Status, "found: 410; it says: {");
    assert_eq!(phases(&run.steps[0]), [Phase::Quic, Phase::Send, Phase::Wait, Phase::Receive]);
}

/// Guarantees that phases tell where the time went, add up to the run, and that chunks are told apart.
#[tokio::test]
async fn phases_add_up() {
    let server = serve(&[b"h3"]);
    let mut unexplained = Vec::new();
    for _ in 0..5 {
        let flow_checks = FlowChecks { min_chunks: Some(2), ..FlowChecks::default() };
        let run = run_http(HttpStep { flow_checks, ..server.ask("/slow") }).await;
        assert_success(&run);
        // Where the machine lets us read late, the one is longer by what the other is shorter.
        let (waited, received) = (run.phase_ns(Phase::Wait), run.phase_ns(Phase::Receive));
        assert!(waited >= Some(59_000_000), "{run:#?}");
        let both = waited.zip(received).map(|(waited, received)| waited + received);
        assert!(both >= Some(178_000_000), "{run:#?}");
        let sum: u64 = run.steps[0].phases.iter().map(|timing| timing.duration_ns).sum();
        unexplained.push(run.duration_ns.checked_sub(sum).expect("phases do not overlap"));
    }
    let least = unexplained.iter().min().expect("five runs");
    assert!(*least < 20_000_000, "{least} ns belong to no phase");
}

/// Guarantees that a port which says nothing costs exactly the timeout, and is said to be silent.
#[tokio::test]
async fn a_mute_port_costs_the_timeout() {
    let mute = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://{}/", mute.local_addr().expect("bound"));
    let ask = HttpStep { version: HttpVersion::Http3, ..get(url) };
    let timeout = Duration::from_millis(300);
    let run: ProbeRun = run_within(timeout, vec![step("1", Action::Http(ask))]).await;
    let words =
        "the timeout of 300ms passed while waiting for a QUIC answer over UDP of 127.0.0.1:";
    assert_failure(&run, FailureReason::Timeout, words);
    assert_eq!(phases(&run.steps[0]), []);
    assert!((300_000_000..2_000_000_000).contains(&run.duration_ns), "{}", run.duration_ns);
}

/// Guarantees that a wrong certificate, a wrong name, and a server of another protocol are told apart,
/// and that the options of TLS hold.
#[tokio::test]
async fn what_the_handshake_refuses() {
    let server = serve(&[b"h3"]);
    let with = |tls: TlsOptions| HttpStep { tls, ..server.ask("/") };
    let pinned = TlsOptions { ca_pem: Some(Arc::clone(&server.pem)), ..TlsOptions::default() };

    let (_, other) = tls_server(&[]);
    let run = run_http(with(TlsOptions { ca_pem: Some(other), ..TlsOptions::default() })).await;
    assert_failure(&run, FailureReason::Tls, "certificate");
    assert_eq!(phases(&run.steps[0]), []);
    let named = |name: &str| TlsOptions { server_name: Some(name.into()), ..pinned.clone() };
    let run = run_http(with(named("elsewhere.test"))).await;
    assert_failure(&run, FailureReason::Tls, "the QUIC handshake with elsewhere.test: ");
    assert_success(&run_http(with(named("localhost"))).await);
    let any = TlsOptions { insecure_skip_verify: true, ..TlsOptions::default() };
    assert_success(&run_http(with(any)).await);

    for protocols in [&[b"other".as_slice()][..], &[]] {
        let run = run_http(serve(protocols).ask("/")).await;
        assert_failure(&run, FailureReason::Protocol, "but not HTTP/3 (ALPN h3)");
    }
    let plain = HttpStep { version: HttpVersion::Http3, ..get("http://127.0.0.1:1/") };
    assert_failure(&run_http(plain).await, FailureReason::Protocol, "it needs https://");
}
