//! Datagrams and STUN against servers that answer, lose, repeat, refuse, and talk nonsense.

use super::super::spec::{Action, ExpectText, StunStep, TextCheck, UdpStep};
use super::{assert_failure, assert_success, phases, run_within, step};
use crate::model::probe::{FailureReason, Phase, ProbeRun};
use flate2::Crc;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio_util::task::AbortOnDropHandle;

/// A server that lives until it is dropped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

/// Answers the n-th datagram of a client with what `answers` makes of it.
pub(super) async fn server(
    answers: impl Fn(usize, &[u8], SocketAddr) -> Vec<Vec<u8>> + Send + 'static,
) -> Server {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("bound");
    let task = tokio::spawn(async move {
        let mut buffer = vec![0; 1 << 16];
        for number in 0.. {
            let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
            for answer in answers(number, &buffer[..length], from) {
                drop(socket.send_to(&answer, from).await);
            }
        }
    });
    Server { address, _task: AbortOnDropHandle::new(task) }
}

/// A port where nobody listens.
async fn closed() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    socket.local_addr().expect("bound")
}

fn ask(address: SocketAddr, text: &str, within: Option<Duration>) -> UdpStep {
    let text = Some(TextCheck::Equals(text.to_owned()));
    let expect = ExpectText { text, within };
    UdpStep { url: format!("udp://{address}"), send: "ping ${run.id}".to_owned(), expect }
}

async fn run_udp(udp: UdpStep) -> ProbeRun {
    run_within(Duration::from_millis(400), vec![step("1", Action::Udp(udp))]).await
}

async fn run_stun(timeout: Duration, address: SocketAddr) -> ProbeRun {
    let stun = StunStep { url: format!("stun://{address}") };
    run_within(timeout, vec![step("1", Action::Stun(stun))]).await
}

fn attribute(run: &ProbeRun, name: &str) -> Option<String> {
    super::attribute(&run.steps[0], name)
}

/// Guarantees the round trip as the value, and that other datagrams are passed over and counted.
#[tokio::test]
async fn a_datagram_goes_there_and_back() {
    let echo = server(|_, sent, _| vec![sent.to_vec()]).await;
    let run = run_udp(ask(echo.address, "ping ${run.id}", None)).await;
    assert_success(&run);
    assert_eq!(phases(&run.steps[0]), [Phase::Send, Phase::Message]);
    assert_eq!(run.latency_ns, run.steps[0].message_latency_ns);
    assert_eq!(attribute(&run, "udp.datagrams.received").as_deref(), None);

    let chatty = server(|_, sent, _| {
        let noise = b"noise".to_vec();
        vec![noise.clone(), noise.clone(), vec![0xff; 9], noise, sent.to_vec()]
    })
    .await;
    let run = run_udp(ask(chatty.address, "ping ${run.id}", None)).await;
    assert_success(&run);
    assert_eq!(attribute(&run, "udp.datagrams.duplicate").as_deref(), Some("2"));
    assert_eq!(attribute(&run, "udp.datagrams.received").as_deref(), Some("5"));
    let any = ExpectText { text: None, within: Some(Duration::from_secs(1)) };
    assert_success(&run_udp(UdpStep { expect: any, ..ask(chatty.address, "", None) }).await);
}

/// Guarantees that late, lost and mute are told apart, and a closed port from all of them.
#[tokio::test]
async fn a_datagram_may_not_come_back() {
    let within = Some(Duration::from_millis(50));
    let noisy = server(|_, _, _| vec![b"not this".to_vec()]).await;
    let run = run_udp(ask(noisy.address, "pong", within)).await;
    let words =
        "a datagram that is \"pong\" comes within 50ms, but it never came (another came: not this)";
    assert_failure(&run, FailureReason::Lost, words);
    assert!((400_000_000..2_000_000_000).contains(&run.duration_ns));

    let mute = server(|_, _, _| Vec::new()).await;
    let run = run_udp(ask(mute.address, "pong", None)).await;
    assert_failure(
        &run,
        FailureReason::Timeout,
        "timeout of 400ms passed while waiting over udp://",
    );
    assert_eq!(phases(&run.steps[0]), [Phase::Send]);

    let slow = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let address = slow.local_addr().expect("bound");
    let dawdle = async {
        let (_, from) = slow.recv_from(&mut [0; 64]).await.expect("a datagram");
        tokio::time::sleep(Duration::from_millis(150)).await;
        drop(slow.send_to(b"pong", from).await);
    };
    let (run, ()) = tokio::join!(run_udp(ask(address, "pong", within)), dawdle);
    assert_failure(&run, FailureReason::Late, "but it came after");
    assert!(run.latency_ns > Some(50_000_000));

    let run = run_udp(ask(closed().await, "pong", None)).await;
    assert_failure(&run, FailureReason::Connect, "nobody listens there (ICMP port unreachable)");
}

/// Guarantees that an address of a name that refuses is passed over.
#[tokio::test]
async fn a_name_may_have_more_addresses() {
    let echo = server(|_, sent, _| vec![sent.to_vec()]).await;
    // `localhost` may be ::1 as well, where nobody listens.
    let url = format!("udp://localhost:{}", echo.address.port());
    let run = run_udp(UdpStep { url, ..ask(echo.address, "ping ${run.id}", None) }).await;
    assert_success(&run);
    assert_eq!(phases(&run.steps[0]), [Phase::Resolve, Phase::Send, Phase::Message]);
    assert_eq!(attribute(&run, "network.peer.address").as_deref(), Some("127.0.0.1"));
}

/// Guarantees that nothing is sent that may not be, or that fits into no datagram.
#[tokio::test]
async fn what_must_not_be_sent_is_not() {
    let echo = server(|_, sent, _| vec![sent.to_vec()]).await;
    let url = format!("udp://0.0.0.0:{}", echo.address.port());
    let run = run_udp(UdpStep { url, ..ask(echo.address, "x", None) }).await;
    assert_failure(&run, FailureReason::Local, "writing to udp://0.0.0.0");
    let long = UdpStep { send: "x".repeat(70_000), ..ask(echo.address, "x", None) };
    assert_failure(&run_udp(long).await, FailureReason::Local, "70000 bytes do not fit");
}

/// An answer of that type to a request, with one attribute and a fingerprint.
fn answer(kind: [u8; 2], request: &[u8], attribute: [u8; 2], value: &[u8]) -> Vec<u8> {
    let padded = value.len().next_multiple_of(4);
    let mut answer = [&kind[..], &((padded + 12) as u16).to_be_bytes(), &request[4..20]].concat();
    answer.extend(attribute);
    answer.extend((value.len() as u16).to_be_bytes());
    answer.extend(value);
    answer.resize(24 + padded, 0);
    let mut crc = Crc::new();
    crc.update(&answer);
    answer.extend([0x80, 0x28, 0, 4]);
    answer.extend((crc.sum() ^ 0x5354_554e).to_be_bytes());
    answer
}

/// Says where the request came from, as the standard wants it.
pub(super) fn mapped(request: &[u8], from: SocketAddr) -> Vec<u8> {
    let SocketAddr::V4(from) = from else { unreachable!("servers are on 127.0.0.1") };
    let masked = |bytes: &[u8], mask: [u8; 4]| -> Vec<u8> {
        bytes.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect()
    };
    let cookie = [0x21, 0x12, 0xa4, 0x42];
    let (port, ip) = (from.port().to_be_bytes(), from.ip().octets());
    let value = [vec![0, 1], masked(&port, cookie), masked(&ip, cookie)].concat();
    answer([1, 1], request, [0, 0x20], &value)
}

/// Guarantees the address that the server sees, and that strangers' answers and noise are ignored.
#[tokio::test]
async fn stun_tells_how_we_are_seen() {
    let server = server(|_, request, from| {
        assert_eq!(request[..2], [0, 1], "a binding request");
        let mut stranger = mapped(request, from);
        stranger[19] ^= 1;
        stranger.truncate(32);
        stranger[3] = 12;
        vec![stranger, b"noise".to_vec(), mapped(request, from), mapped(request, from)]
    })
    .await;
    let run = run_stun(Duration::from_secs(20), server.address).await;
    assert_success(&run);
    assert_eq!(phases(&run.steps[0]), [Phase::Send, Phase::Message]);
    assert_eq!(run.latency_ns, run.steps[0].message_latency_ns);
    let seen = attribute(&run, "stun.mapped_address").expect("an address");
    assert!(seen.starts_with("127.0.0.1:") && seen != server.address.to_string(), "{seen}");
    assert_eq!(attribute(&run, "stun.retransmissions").as_deref(), Some("0"));
}

/// Guarantees that a lost request is sent again with the same transaction, and that the value counts
/// from the first.
#[tokio::test]
async fn a_lost_request_is_sent_again() {
    let first = parking_lot::Mutex::new(Vec::new());
    let server = server(move |number, request, from| {
        if number == 0 {
            *first.lock() = request.to_vec();
            return Vec::new();
        }
        assert_eq!(*first.lock(), request, "the same once more");
        vec![mapped(request, from)]
    })
    .await;
    let run = run_stun(Duration::from_secs(20), server.address).await;
    assert_success(&run);
    assert_eq!(attribute(&run, "stun.retransmissions").as_deref(), Some("1"));
    assert!(run.latency_ns >= Some(500_000_000), "{:?}", run.latency_ns);
}

/// Guarantees that refusals, silence, nonsense and closed ports are told apart.
#[tokio::test]
async fn stun_may_fail() {
    let long = Duration::from_secs(20);
    let refusing = server(|_, request, _| {
        vec![answer([1, 0x11], request, [0, 9], &[&[0, 0, 4, 1][..], b"Unauthorized"].concat())]
    });
    let run = run_stun(long, refusing.await.address).await;
    assert_failure(&run, FailureReason::Status, "refuses with 401: Unauthorized");
    assert_eq!(run.steps[0].status, Some(401));

    let vague = server(|_, request, _| vec![answer([1, 1], request, [0x80, 0x22], b"vague")]);
    let run = run_stun(long, vague.await.address).await;
    assert_failure(&run, FailureReason::Protocol, "without saying which address it sees");

    let brief = Duration::from_millis(700);
    let mute = server(|_, _, _| Vec::new()).await;
    let run = run_stun(brief, mute.address).await;
    assert_failure(&run, FailureReason::Timeout, "for an answer of stun://");
    assert_eq!(attribute(&run, "stun.retransmissions").as_deref(), Some("1"));

    let echo = server(|_, request, _| vec![request.to_vec()]).await;
    let run = run_stun(brief, echo.address).await;
    let words = "what came instead, 2 in all, is not an answer to our request";
    assert_failure(&run, FailureReason::Protocol, words);

    let run = run_stun(long, closed().await).await;
    assert_failure(&run, FailureReason::Connect, "nobody listens there");
}
