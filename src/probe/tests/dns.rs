//! DNS steps against servers of all sorts, over UDP, TCP and TLS.

use super::super::dns::{DnsStep, DnsTransport};
use super::super::spec::{Action, Step, TextCheck, TlsOptions};
use super::servers::{Server, raw, secure};
use super::{assert_failure, assert_success, median_ms, phases, run, run_within, step};
use crate::model::probe::{FailureReason, Phase, ProbeRun};
use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio_util::task::AbortOnDropHandle;

/// What a server sends for a query, in order.
type Answers = Vec<Vec<u8>>;

/// A name server over UDP that lives until it is dropped.
struct Names {
    address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

async fn names_on(
    address: &str,
    delay: Duration,
    answer: impl Fn(&Message) -> Answers + Send + 'static,
) -> Names {
    let socket = UdpSocket::bind(address).await.expect("a port");
    let address = socket.local_addr().expect("bound");
    let task = tokio::spawn(async move {
        let mut query = [0; 4096];
        while let Ok((length, asker)) = socket.recv_from(&mut query).await {
            tokio::time::sleep(delay).await;
            let query = Message::from_vec(&query[..length]).expect("a query");
            for datagram in answer(&query) {
                drop(socket.send_to(&datagram, asker).await);
            }
        }
    });
    Names { address, _task: AbortOnDropHandle::new(task) }
}

async fn names(answer: impl Fn(&Message) -> Answers + Send + 'static) -> Names {
    names_on("127.0.0.1:0", Duration::ZERO, answer).await
}

/// Answers a connection's queries, each message with its length in front.
async fn converse<S, F>(mut stream: S, answer: F)
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Fn(&Message) -> Answers,
{
    while let Ok(length) = stream.read_u16().await {
        let mut query = vec![0; usize::from(length)];
        let _ = stream.read_exact(&mut query).await.expect("whole");
        for message in answer(&Message::from_vec(&query).expect("a query")) {
            let length = u16::try_from(message.len()).expect("short").to_be_bytes();
            drop(stream.write_all(&[&length, message.as_slice()].concat()).await);
        }
    }
}

fn reply(to: &Message, records: &[RData], change: impl FnOnce(&mut Message)) -> Vec<u8> {
    let mut message = Message::response(to.metadata.id, OpCode::Query);
    message.metadata.authoritative = true;
    let _ = message.add_queries(to.queries.clone());
    let name = to.queries[0].name().clone();
    for record in records {
        let _ = message.add_answer(Record::from_rdata(name.clone(), 300, record.clone()));
    }
    change(&mut message);
    message.to_vec().expect("can be written")
}

fn address(last: u8) -> RData {
    RData::A(A(Ipv4Addr::new(192, 0, 2, last)))
}

fn right(query: &Message) -> Answers {
    vec![reply(query, &[address(1), address(2)], |_| {})]
}

fn ask(server: impl ToString) -> DnsStep {
    DnsStep {
        server: server.to_string(),
        name: "chat.demo".to_owned(),
        record_type: 1,
        transport: DnsTransport::Udp,
        recursion: true,
        rcodes: Vec::new(),
        accept_truncated: false,
        answers: Vec::new(),
        min_answers: None,
        tls: TlsOptions::default(),
    }
}

async fn run_dns(step_: DnsStep) -> ProbeRun {
    run(vec![step("1", Action::Dns(step_))]).await
}

fn attribute(run: &ProbeRun, name: &str) -> Option<String> {
    super::attribute(&run.steps[0], name)
}

/// Guarantees phases, value, code and attributes of an answer over UDP, and that a value of it can
/// be captured.
#[tokio::test]
async fn an_answer_over_udp() {
    let server = names(right).await;
    let asked = DnsStep {
        answers: vec![TextCheck::Equals("192.0.2.2".to_owned())],
        min_answers: Some(2),
        ..ask(server.address)
    };
    let capture = vec![("address".to_owned(), "/answers/0".to_owned())];
    let again = DnsStep {
        answers: vec![TextCheck::Contains("${address}".to_owned())],
        ..ask(server.address)
    };
    let first = Step { capture, ..step("1", Action::Dns(asked)) };
    let run = run(vec![first, step("2", Action::Dns(again))]).await;
    assert_success(&run);
    let done = &run.steps[0];
    assert_eq!(phases(done), [Phase::Send, Phase::Wait]);
    assert_eq!((done.status, done.protocol.as_str()), (Some(0), "dns"));
    assert_eq!(done.target, format!("udp://{}", server.address));
    assert!(done.message_latency_ns.is_some_and(|latency| latency <= done.duration_ns));
    assert_eq!(attribute(&run, "dns.question.name").as_deref(), Some("chat.demo."));
    assert_eq!(attribute(&run, "dns.answers").as_deref(), Some("192.0.2.1, 192.0.2.2"));
    assert_eq!(attribute(&run, "dns.ttl_seconds").as_deref(), Some("300"));
    assert_eq!(attribute(&run, "dns.truncated").as_deref(), Some("false"));
    assert_eq!(attribute(&run, "dns.authoritative").as_deref(), Some("true"));
}

/// Guarantees that a server may be a name, which is resolved first.
#[tokio::test]
async fn a_server_may_be_a_name() {
    let server = names(right).await;
    let run = run_dns(ask(format!("localhost:{}", server.address.port()))).await;
    assert_success(&run);
    assert_eq!(run.steps[0].phases[0].phase, Phase::Resolve);
    assert_eq!(run.steps[0].phases.last().map(|timing| timing.phase), Some(Phase::Wait));
}

/// Guarantees the serial of a zone as an attribute.
#[tokio::test]
async fn a_zone_has_a_serial() {
    let server = names(|query| {
        let zone = Name::from_ascii("chat.demo.").expect("valid");
        let soa = RData::SOA(SOA::new(zone.clone(), zone, 42, 1, 1, 1, 1));
        vec![reply(query, &[soa], |_| {})]
    })
    .await;
    let run = run_dns(DnsStep { record_type: 6, ..ask(server.address) }).await;
    assert_success(&run);
    assert_eq!(attribute(&run, "dns.serial").as_deref(), Some("42"));
}

/// Guarantees that each check fails for its own reason, and says what was found.
#[tokio::test]
async fn wrong_answers_fail_their_checks() {
    let server = names(right).await;
    let nothing = names(|query| {
        vec![reply(query, &[], |m| m.metadata.response_code = ResponseCode::NXDomain)]
    })
    .await;
    let empty = names(|query| vec![reply(query, &[], |_| {})]).await;
    let run = run_dns(ask(nothing.address)).await;
    assert_failure(&run, FailureReason::Status, "rcode is NOERROR, found: NXDOMAIN");
    assert_eq!((run.steps[0].status, run.latency_ns), (Some(3), None));
    assert_success(&run_dns(DnsStep { rcodes: vec![0, 3], ..ask(nothing.address) }).await);
    let run = run_dns(ask(empty.address)).await;
    assert_failure(&run, FailureReason::Check, "at least 1 answer, found: 0: none");
    assert_success(&run_dns(DnsStep { min_answers: Some(0), ..ask(empty.address) }).await);
    let run = run_dns(DnsStep { min_answers: Some(3), ..ask(server.address) }).await;
    assert_failure(&run, FailureReason::Check, "at least 3 answers, found: 2");
    let answers = vec![TextCheck::Equals("192.0.2.9".to_owned())];
    let run = run_dns(DnsStep { answers, ..ask(server.address) }).await;
    assert_failure(&run, FailureReason::Check, "an answer is \"192.0.2.9\", found: 192.0.2.1, ");
}

/// Guarantees that a truncated answer is noted and asked again over TCP, with phases that add up;
/// or taken as it is.
#[tokio::test]
async fn a_truncated_answer_is_asked_again() {
    let tcp = raw(|stream| converse(stream, right)).await;
    let cut = names_on(&tcp.address.to_string(), Duration::ZERO, |query| {
        vec![reply(query, &[], |m| m.metadata.truncation = true)]
    })
    .await;
    let run = run_dns(ask(cut.address)).await;
    assert_success(&run);
    use Phase::{Connect, Receive, Send, Wait};
    assert_eq!(phases(&run.steps[0]), [Send, Wait, Connect, Send, Wait, Receive]);
    assert_eq!(attribute(&run, "dns.truncated").as_deref(), Some("true"));
    assert_eq!(attribute(&run, "dns.answers").as_deref(), Some("192.0.2.1, 192.0.2.2"));
    let run = run_dns(DnsStep { accept_truncated: true, ..ask(cut.address) }).await;
    assert_success(&run);
    assert_eq!(phases(&run.steps[0]), [Send, Wait]);
    assert_eq!(attribute(&run, "dns.truncated").as_deref(), Some("true"));
}

/// Guarantees questions over a connection, in the clear and over TLS.
#[tokio::test]
async fn questions_over_connections() {
    let tcp = raw(|stream| converse(stream, right)).await;
    let run = run_dns(DnsStep { transport: DnsTransport::Tcp, ..ask(tcp.address) }).await;
    assert_success(&run);
    use Phase::{Connect, Receive, Send, Tls, Wait};
    assert_eq!(phases(&run.steps[0]), [Connect, Send, Wait, Receive]);
    let (server, pem) = secure(&[b"dot"], |stream| converse(stream, right)).await;
    let asked = DnsStep {
        transport: DnsTransport::Tls,
        tls: TlsOptions { ca_pem: Some(pem), ..TlsOptions::default() },
        ..ask(server.address)
    };
    let run = run_dns(asked.clone()).await;
    assert_success(&run);
    assert_eq!(phases(&run.steps[0]), [Connect, Tls, Send, Wait, Receive]);
    assert_eq!(run.steps[0].target, format!("tls://{}", server.address));
    let run = run_dns(DnsStep { tls: TlsOptions::default(), ..asked }).await;
    assert_failure(&run, FailureReason::Tls, "");
}

/// Guarantees that answers with another id or question are passed over, and the right one is taken.
#[tokio::test]
async fn forged_answers_are_ignored() {
    let server = names(|query| {
        let other = Query::query(Name::from_ascii("other.demo.").expect("valid"), RecordType::A);
        let forged = [RData::A(A(Ipv4Addr::new(6, 6, 6, 6)))];
        vec![
            reply(query, &forged, |m| m.metadata.id = m.metadata.id.wrapping_add(1)),
            reply(query, &forged, |m| m.queries = vec![other]),
            Vec::new(),
            b"x".to_vec(),
            reply(query, &[address(1)], |_| {}),
        ]
    })
    .await;
    let run = run_dns(ask(server.address)).await;
    assert_success(&run);
    assert_eq!(attribute(&run, "dns.answers").as_deref(), Some("192.0.2.1"));
}

/// Guarantees that an answer from somewhere else is not heard.
#[tokio::test]
async fn an_answer_from_elsewhere_is_not_heard() {
    let elsewhere = Arc::new(std::net::UdpSocket::bind("127.0.0.1:0").expect("a port"));
    let server = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let address = server.local_addr().expect("bound");
    let serving = tokio::spawn(async move {
        let mut query = [0; 4096];
        let (length, asker) = server.recv_from(&mut query).await.expect("a query");
        let query = Message::from_vec(&query[..length]).expect("a query");
        drop(elsewhere.send_to(&right(&query)[0], asker));
        server
    });
    let asked = vec![step("1", Action::Dns(ask(address)))];
    let run = run_within(Duration::from_millis(300), asked).await;
    assert_failure(&run, FailureReason::Timeout, "waiting for the answer of 127.0.0.1");
    drop(serving.await);
}

/// Guarantees that garbage with the right id is a protocol error, over UDP and TCP.
#[tokio::test]
async fn garbage_is_a_protocol_error() {
    let garbage = |query: &Message| {
        let [high, low] = query.metadata.id.to_be_bytes();
        vec![vec![high, low, 0x80, 0, 0, 9, 0, 9, 0, 0, 0, 0, 0xff, 0xff, 0xff]]
    };
    let server = names(garbage).await;
    let run = run_dns(ask(server.address)).await;
    assert_failure(&run, FailureReason::Protocol, "the answer cannot be read");
    let tcp = raw(move |stream| converse(stream, garbage)).await;
    let run = run_dns(DnsStep { transport: DnsTransport::Tcp, ..ask(tcp.address) }).await;
    assert_failure(&run, FailureReason::Protocol, "the answer cannot be read");
}

/// Guarantees that a mute server costs the timeout, and says what was waited for.
#[tokio::test]
async fn a_mute_server_costs_the_timeout() {
    let server = names(|_| Vec::new()).await;
    let asked = vec![step("1", Action::Dns(ask(server.address)))];
    let run = run_within(Duration::from_millis(200), asked).await;
    assert_failure(&run, FailureReason::Timeout, "waiting for the answer of 127.0.0.1");
    assert!(run.duration_ns >= 200_000_000);
    assert_eq!(phases(&run.steps[0]), [Phase::Send]);
    let wrong = names(|query| vec![reply(query, &[], |m| m.metadata.id ^= 1)]).await;
    let asked = vec![step("1", Action::Dns(ask(wrong.address)))];
    let run = run_within(Duration::from_millis(200), asked).await;
    assert_failure(&run, FailureReason::Timeout, "was not the answer to this query");
}

/// Guarantees the classes of a port where nothing listens, a closed connection and a name that
/// cannot be.
#[tokio::test]
async fn what_does_not_work_has_its_class() {
    let gone = names(right).await.address;
    let run = run_dns(ask(gone)).await;
    assert_failure(&run, FailureReason::Connect, "asking udp://127.0.0.1");
    let closing: Server = raw(|mut stream| async move {
        let _ = stream.read_u16().await;
    })
    .await;
    let run = run_dns(DnsStep { transport: DnsTransport::Tcp, ..ask(closing.address) }).await;
    assert_failure(&run, FailureReason::Closed, "waiting for the answer");
    let run = run_dns(DnsStep { name: "a b".to_owned(), ..ask(gone) }).await;
    assert_failure(&run, FailureReason::Local, "the name is not one of the DNS");
    let captured = DnsStep { server: "${run.id}:x".to_owned(), ..ask(gone) };
    assert_failure(&run_dns(captured).await, FailureReason::Local, "the server is neither");
}

/// Guarantees that the value is how long the server takes.
#[tokio::test]
async fn the_value_is_the_servers_delay() {
    let server = names_on("127.0.0.1:0", Duration::from_millis(40), right).await;
    let mut runs = Vec::new();
    for _ in 0..7 {
        runs.push(run_dns(ask(server.address)).await);
    }
    let wait = median_ms(&runs, Phase::Wait);
    assert!((39..80).contains(&wait), "{wait} ms");
    assert!(runs[0].latency_ns.is_some_and(|latency| latency >= 39_000_000));
}
