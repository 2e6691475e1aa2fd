//! Probe runs on their way to a collector.

use super::super::batch::MAX_SPANS;
use super::super::exporter::{Sending, Transport};
use super::super::grpc::Tls;
use super::super::{Config, ExportError, Exporter, MAX_ATTEMPTS, MAX_QUEUED_TRACES, Protocol};
use super::collector::{FakeCollector, Reply};
use super::{CEILING, config, run, spans_of};
use crate::base::backoff::Backoff;
use crate::base::secret::Secret;
use crate::base::shutdown::Shutdown;
use crate::telemetry::Telemetry;
use crate::wire::probe_spans::{decode, encode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::PrivateKeyDer;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tonic::Code;

const BOTH: [Protocol; 2] = [Protocol::Grpc, Protocol::HttpProtobuf];

/// An exporter with quick backoff, and what it counts.
struct Bench {
    exporter: Exporter,
    telemetry: Telemetry,
    shutdown: Shutdown,
}

impl Bench {
    fn start(config: &Config) -> Self {
        let (telemetry, shutdown) = (Telemetry::new(), Shutdown::new());
        let exporter = Exporter::start_with(Sending {
            transport: Transport::new(config, Tls::System).expect("a valid configuration"),
            timeout: config.timeout,
            backoff: Backoff { first: Duration::from_millis(5), max: Duration::from_millis(20) },
            telemetry: telemetry.clone(),
            shutdown: shutdown.clone(),
        });
        Self { exporter, telemetry, shutdown }
    }

    fn requests(&self, outcome: &str) -> u64 {
        self.telemetry.export_requests_total.with_label_values(&[outcome]).get()
    }

    fn dropped(&self) -> u64 {
        self.telemetry.export_dropped_total.get()
    }
}

/// Guarantees that a run arrives whole, compressed and with the configured headers.
#[tokio::test]
async fn a_run_arrives_over_both_transports() {
    for protocol in BOTH {
        let collector = FakeCollector::start(|_| Reply::Accept).await;
        let bench = Bench::start(&config(&collector.url, protocol));
        bench.exporter.submit(encode(&run(1)));
        let seen = collector.requests(1).await;
        assert_eq!(decode(&seen[0].request), [run(1)], "{protocol:?}");
        assert_eq!(seen[0].key, "CANARY-KEY");
        assert!(seen[0].compressed, "{protocol:?}");
    }
}

/// Guarantees that runs go together up to the bound, and that a run is never torn apart.
#[tokio::test]
async fn runs_go_together() {
    let collector = FakeCollector::start(|_| Reply::Accept).await;
    let bench = Bench::start(&config(&collector.url, Protocol::HttpProtobuf));
    let each = spans_of(&run(1));
    let fit = MAX_SPANS / each;
    // No await between: all are queued before the exporter wakes.
    for _ in 0..fit * 2 + 1 {
        bench.exporter.submit(encode(&run(1)));
    }
    let seen = collector.requests(3).await;
    let sizes: Vec<_> = seen.iter().map(|seen| seen.spans().len()).collect();
    assert_eq!(sizes, [fit * each, fit * each, each]);
    assert!(bench.shutdown.drain(CEILING).await);
    assert_eq!(bench.requests("accepted"), 3);
}

/// Guarantees that a failure that may pass is tried again, and nothing is lost by it.
#[tokio::test]
async fn a_passing_failure_is_tried_again() {
    for protocol in BOTH {
        let collector = FakeCollector::start(|number| match number {
            0 => Reply::Fail(Code::Unavailable, 503, Some("0")),
            1 => Reply::Fail(Code::DeadlineExceeded, 504, None),
            _ => Reply::Accept,
        })
        .await;
        let bench = Bench::start(&config(&collector.url, protocol));
        bench.exporter.submit(encode(&run(1)));
        let seen = collector.requests(3).await;
        assert!(seen.iter().all(|seen| decode(&seen.request) == [run(1)]));
        assert!(bench.shutdown.drain(CEILING).await);
        assert_eq!((bench.requests("retried"), bench.requests("accepted")), (2, 1));
        assert_eq!(bench.dropped(), 0);
    }
}

/// Guarantees that a refused batch is dropped and counted, and the next one goes on its way.
#[tokio::test]
async fn a_refusal_drops_and_goes_on() {
    for protocol in BOTH {
        let collector = FakeCollector::start(|number| match number {
            0 => Reply::Fail(Code::InvalidArgument, 400, None),
            1 => Reply::Reject(2),
            _ => Reply::Accept,
        })
        .await;
        let bench = Bench::start(&config(&collector.url, protocol));
        for number in 1..=3 {
            bench.exporter.submit(encode(&run(number)));
            let _ = collector.requests(number.into()).await;
        }
        assert!(bench.shutdown.drain(CEILING).await);
        let counts = ["refused", "partial", "accepted"].map(|outcome| bench.requests(outcome));
        assert_eq!(counts, [1, 1, 1]);
        assert_eq!(bench.dropped(), 1);
    }
}

/// Guarantees that attempts are bounded, at a collector that keeps failing and at one that is away.
#[tokio::test]
async fn attempts_are_bounded() {
    let failing = FakeCollector::start(|_| Reply::Fail(Code::Unavailable, 503, None)).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let away = format!("http://{}", closed.local_addr().expect("a bound socket"));
    drop(closed);
    for endpoint in [&failing.url, &away] {
        for protocol in BOTH {
            let bench = Bench::start(&config(endpoint, protocol));
            bench.exporter.submit(encode(&run(1)));
            let failed = async {
                while bench.requests("failed") == 0 {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            };
            tokio::time::timeout(CEILING, failed).await.expect("an end of attempts");
            assert_eq!(bench.requests("retried"), u64::from(MAX_ATTEMPTS - 1), "{endpoint}");
            assert_eq!(bench.dropped(), 1);
        }
    }
}

/// Guarantees that a full queue drops and counts, and never holds up the caller.
#[tokio::test]
async fn a_full_queue_drops_and_counts() {
    let collector = FakeCollector::start(|_| Reply::Mute).await;
    let bench = Bench::start(&config(&collector.url, Protocol::Grpc));
    // No await between: the exporter takes nothing meanwhile.
    for _ in 0..MAX_QUEUED_TRACES + 10 {
        bench.exporter.submit(encode(&run(1)));
    }
    assert_eq!(bench.dropped(), 10);
}

/// Guarantees that a mute collector costs an attempt's timeout, and the end comes nevertheless.
#[tokio::test]
async fn a_mute_collector_does_not_hold_up_the_end() {
    for protocol in BOTH {
        let collector = FakeCollector::start(|_| Reply::Mute).await;
        let timeout = Duration::from_millis(50);
        let bench = Bench::start(&Config { timeout, ..config(&collector.url, protocol) });
        bench.exporter.submit(encode(&run(1)));
        let _ = collector.requests(2).await;
        assert!(bench.shutdown.drain(CEILING).await);
        assert_eq!(bench.dropped(), 1, "{protocol:?}");
    }
}

/// Guarantees that what is queued at the end is still sent, without waiting for company.
#[tokio::test]
async fn the_end_empties_the_queue() {
    let collector = FakeCollector::start(|_| Reply::Accept).await;
    let bench = Bench::start(&config(&collector.url, Protocol::Grpc));
    bench.exporter.submit(encode(&run(1)));
    assert!(bench.shutdown.drain(CEILING).await);
    assert_eq!(collector.requests(1).await.len(), 1);
    bench.exporter.submit(encode(&run(2)));
    assert_eq!(bench.dropped(), 1, "after the end nobody takes it");
}

/// Guarantees that gRPC goes over TLS where the endpoint says https, and trusts no stranger.
#[tokio::test]
async fn grpc_goes_over_tls() {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let mut server = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a server");
    server.alpn_protocols = vec![b"h2".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("a bound socket").port();
    let collector = FakeCollector::new(format!("https://localhost:{port}"), |_| Reply::Accept);
    let router = collector.router();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    drop(tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let service = TowerToHyperService::new(router.clone());
            let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            drop(tokio::spawn(async move {
                builder.serve_connection(TokioIo::new(stream), service).await
            }));
        }
    }));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a root");
    let trusting = rustls::ClientConfig::builder().with_root_certificates(roots);
    let given = Tls::Given(Box::new(trusting.with_no_client_auth()));
    let config = config(&collector.url, Protocol::Grpc);
    let (telemetry, shutdown) = (Telemetry::new(), Shutdown::new());
    let sending = |tls| Sending {
        transport: Transport::new(&config, tls).expect("a valid configuration"),
        timeout: CEILING,
        backoff: Backoff { first: Duration::from_millis(1), max: Duration::from_millis(1) },
        telemetry: telemetry.clone(),
        shutdown: shutdown.clone(),
    };
    let stranger = Exporter::start_with(sending(Tls::System));
    stranger.submit(encode(&run(1)));
    let friend = Exporter::start_with(sending(given));
    friend.submit(encode(&run(2)));
    let seen = collector.requests(1).await;
    assert_eq!(decode(&seen[0].request), [run(2)]);
    assert!(shutdown.drain(CEILING).await);
    assert_eq!(telemetry.export_dropped_total.get(), 1);
}

/// Guarantees that a collector which repeats our key does not bring it into an error.
#[tokio::test]
async fn a_repeated_key_is_not_shown() {
    for protocol in BOTH {
        let collector =
            FakeCollector::start(|_| Reply::Fail(Code::Unauthenticated, 401, None)).await;
        let config = config(&format!("{}/?token=CANARY-TOKEN", collector.url), protocol);
        let transport = Transport::new(&config, Tls::System).expect("a valid configuration");
        let answer = format!("{:?}", transport.send(&encode(&run(1))).await);
        assert!(answer.starts_with("Refused") && answer.contains(&collector.url), "{answer}");
        assert!(!answer.contains("CANARY"), "{answer}");
    }
}

/// Guarantees that an invalid configuration is refused in words without secrets.
#[tokio::test]
async fn an_invalid_configuration_is_refused() {
    let check = |config: &Config, expected: &str| {
        let started = Exporter::start(config, Telemetry::new(), &Shutdown::new());
        let error = started.err().map(|error: ExportError| error.to_string()).unwrap_or_default();
        assert!(error.contains(expected) && !error.contains("CANARY"), "{error}");
        assert!(!format!("{config:?}").contains("CANARY-KEY"));
    };
    for protocol in BOTH {
        check(&config("ftp://CANARY", protocol), "not an http or https address");
        check(&config("", protocol), "not an http or https address");
        let headers = vec![("x-api-key".to_owned(), Secret::new("CANARY\n"))];
        let config = Config { headers, ..config("http://127.0.0.1:1", protocol) };
        check(&config, "header `x-api-key`");
    }
}
