//! TURN against a server that allocates, relays, refuses, forgets and loses.

use super::super::network::Network;
use super::super::spec::{TurnCredentials, TurnStep};
use super::turn_server::{ALLOCATE, PERMIT, REFRESH, Rules, Turn};
use super::udp::server;
use super::*;
use crate::base::secret::Secret;
use std::net::SocketAddr;

const LONG: Duration = Duration::from_secs(20);
const BRIEF: Duration = Duration::from_millis(300);

fn user(password: &str) -> Option<TurnCredentials> {
    let (username, password) = (Secret::new("probe"), Secret::new(password));
    Some(TurnCredentials::LongTerm { username, password })
}

fn allocate(address: SocketAddr) -> TurnStep {
    let (url, tls) = (format!("turn://{address}"), TlsOptions::default());
    TurnStep { url, tcp: false, credentials: user("hush"), echo: None, tls }
}

fn echo(address: SocketAddr) -> TurnStep {
    TurnStep { echo: Some(None), ..allocate(address) }
}

async fn run_turn(timeout: Duration, turn: TurnStep) -> ProbeRun {
    run_within(timeout, vec![step("1", Action::Turn(turn))]).await
}

fn attribute(run: &ProbeRun, name: &str) -> Option<String> {
    super::attribute(&run.steps[0], name)
}

/// Guarantees an allocation with credentials that the server asked for, its length as the value, what
/// the server tells, that requests are marked, and that the allocation is given back.
#[tokio::test]
async fn an_address_is_allocated_and_given_back() {
    let turn = Turn::start(Rules::default()).await;
    let run = run_turn(LONG, allocate(turn.udp)).await;
    assert_success(&run);
    assert_eq!(phases(&run.steps[0]), [Phase::Handshake, Phase::Close]);
    assert_eq!(run.latency_ns, run.phase_ns(Phase::Handshake));
    assert_eq!(turn.asked(), [ALLOCATE, ALLOCATE, REFRESH]);
    assert!(turn.software().starts_with("radiosonde/"));
    assert_eq!(attribute(&run, "turn.lifetime_seconds").as_deref(), Some("600"));
    assert_eq!(attribute(&run, "turn.software").as_deref(), Some("test turn"));
    assert_eq!(attribute(&run, "turn.realm").as_deref(), Some("test realm"));
    assert_eq!(attribute(&run, "turn.retransmissions").as_deref(), Some("0"));
    assert_eq!(attribute(&run, "turn.released").as_deref(), None);
    for name in ["turn.relayed_address", "turn.mapped_address"] {
        assert!(
            attribute(&run, name).as_deref().expect("told").starts_with("127.0.0.1:"),
            "{run:?}"
        );
    }
    let open = Turn::start(Rules { open: true, ..Rules::default() }).await;
    let run = run_turn(LONG, TurnStep { credentials: None, ..allocate(open.udp) }).await;
    assert_success(&run);
    assert_eq!(open.asked(), [ALLOCATE, REFRESH]);
}

/// Guarantees a datagram through the relay and back over UDP, TCP and TLS, as the value.
#[tokio::test]
async fn a_datagram_goes_through_the_relay_and_back() {
    let turn = Turn::start(Rules::default()).await;
    let rest =
        [Phase::Handshake, Phase::Subscribe, Phase::Send, Phase::Message, Phase::Close].to_vec();
    let tcp = TurnStep { tcp: true, ..echo(turn.tcp) };
    let tls = TlsOptions { ca_pem: Some(Arc::clone(&turn.pem)), ..TlsOptions::default() };
    let secure = TurnStep { url: format!("turns://{}", turn.tls), tls, ..echo(turn.tls) };
    let cases = [
        (echo(turn.udp), vec![]),
        (tcp, vec![Phase::Connect]),
        (secure, vec![Phase::Connect, Phase::Tls]),
    ];
    for (ask, before) in cases {
        let run = run_turn(LONG, ask).await;
        assert_success(&run);
        assert_eq!(phases(&run.steps[0]), [before, rest.clone()].concat());
        assert_eq!(run.latency_ns, run.steps[0].message_latency_ns);
        assert!(run.latency_ns >= run.phase_ns(Phase::Message), "{run:?}");
        assert!(turn.asked().ends_with(&[ALLOCATE, ALLOCATE, PERMIT, REFRESH]));
    }
}

/// Guarantees that an emulated network lies before both sockets: an allocation takes two round trips
/// of it, and so does the way through the relay and back.
#[tokio::test]
async fn both_sockets_go_through_the_network() {
    let turn = Turn::start(Rules::default()).await;
    let mut network = Network::named("wifi", []).expect("built in");
    network.profile.round_trip = Duration::from_millis(40);
    network.profile.jitter = Duration::ZERO;
    let spec = ProbeSpec {
        network: Some(Arc::new(network)),
        ..spec(vec![step("1", Action::Turn(echo(turn.udp)))])
    };
    let context = context();
    let run = run_once(&spec, SlotStart::now(&context.clock), &context).await;
    assert_success(&run);
    // Four ways, each of which may be a millisecond early.
    for took in [run.latency_ns, run.phase_ns(Phase::Handshake)] {
        assert!((Some(76_000_000)..Some(400_000_000)).contains(&took), "{run:#?}");
    }
    assert_eq!(attribute(&run, "network.profile").as_deref(), Some("wifi"));
}

/// Guarantees that a stale nonce is taken over once, and that a second one is a refusal.
#[tokio::test]
async fn a_stale_nonce_is_taken_over_once() {
    let turn = Turn::start(Rules { stale: 1, ..Rules::default() }).await;
    let run = run_turn(LONG, echo(turn.udp)).await;
    assert_success(&run);
    assert_eq!(turn.asked(), [ALLOCATE, ALLOCATE, ALLOCATE, PERMIT, REFRESH]);
    let fickle = Turn::start(Rules { stale: 9, ..Rules::default() }).await;
    let run = run_turn(LONG, allocate(fickle.udp)).await;
    assert_failure(&run, FailureReason::Status, "438 because: it finds a nonce stale");
    assert_eq!(fickle.asked(), [ALLOCATE; 3]);
}

/// Guarantees passwords that are reckoned of a shared secret, as servers with TURN REST do it.
#[tokio::test]
async fn a_shared_secret_makes_a_user() {
    let turn = Turn::start(Rules { secret: Some("shared"), ..Rules::default() }).await;
    let shared = |secret: &str| {
        let (username, secret) = (Secret::new("probe"), Secret::new(secret));
        let credentials = Some(TurnCredentials::Shared { username, secret });
        TurnStep { credentials, ..allocate(turn.udp) }
    };
    assert_success(&run_turn(LONG, shared("shared")).await);
    let run = run_turn(LONG, shared("other")).await;
    assert_failure(&run, FailureReason::Status, "does not accept user name and password");
}

/// Guarantees that every refusal is told with its code and what it means.
#[tokio::test]
async fn refusals_are_clear() {
    let check = async |refuse: Option<(u16, u16)>, ask: fn(SocketAddr) -> TurnStep, words: &str| {
        let turn = Turn::start(Rules { refuse, ..Rules::default() }).await;
        let run = run_turn(LONG, ask(turn.udp)).await;
        assert_failure(&run, FailureReason::Status, words);
        assert_eq!(run.steps[0].status, Some(refuse.map_or(401, |(_, code)| code)));
        turn.asked()
    };
    let wrong = |address| TurnStep { credentials: user("loud"), ..allocate(address) };
    check(None, wrong, "Allocate with 401 because: it does not accept").await;
    let nobody = |address| TurnStep { credentials: None, ..allocate(address) };
    check(None, nobody, "give the probe username and password").await;
    for (code, words) in [
        (403, "403 because: this user may not relay"),
        (437, "another allocation for this socket"),
        (441, "belongs to other credentials"),
        (486, "as many allocations as it may have"),
        (508, "no relayed address left"),
        (599, "599 because: it will not"),
    ] {
        check(Some((ALLOCATE, code)), allocate, words).await;
    }
    let asked = check(Some((PERMIT, 403)), echo, "forbids to relay from and to 127.0.0.1").await;
    assert!(asked.ends_with(&[REFRESH]), "given back: {asked:?}");
    let keeper = Turn::start(Rules { refuse: Some((REFRESH, 437)), ..Rules::default() }).await;
    let run = run_turn(LONG, allocate(keeper.udp)).await;
    assert_success(&run);
    assert_eq!(attribute(&run, "turn.released").as_deref(), Some("false"));
}

/// Guarantees that silence costs the timeout and no more, that a lost request is sent again, and that
/// what does not speak TURN, or does not know the password, is told apart.
#[tokio::test]
async fn a_server_may_say_nothing_or_nonsense() {
    let mute = Turn::start(Rules { ignore: 99, ..Rules::default() }).await;
    for ask in [allocate(mute.udp), TurnStep { tcp: true, ..allocate(mute.tcp) }] {
        let run = run_turn(BRIEF, ask).await;
        assert_failure(&run, FailureReason::Timeout, "to answer Allocate");
        assert!((300_000_000..2_000_000_000).contains(&run.duration_ns), "{run:?}");
    }
    let forgetful = Turn::start(Rules { ignore: 1, ..Rules::default() }).await;
    let run = run_turn(LONG, allocate(forgetful.udp)).await;
    assert_success(&run);
    assert_eq!(attribute(&run, "turn.retransmissions").as_deref(), Some("1"));
    assert!(run.latency_ns >= Some(500_000_000), "{:?}", run.latency_ns);

    let impostor = Turn::start(Rules { impostor: true, ..Rules::default() }).await;
    let run = run_turn(BRIEF, allocate(impostor.udp)).await;
    assert_failure(&run, FailureReason::Protocol, "without the signature");
    let parrot = server(|_, sent, _| vec![sent.to_vec()]).await;
    let run = run_turn(BRIEF, allocate(parrot.address)).await;
    assert_failure(&run, FailureReason::Protocol, "last is not an answer to our request");
    let web = super::servers::raw(async |mut stream| {
        super::servers::write(&mut stream, "HTTP/1.1 400 Bad Request\r\n\r\n").await;
        super::servers::linger(stream).await;
    });
    let run = run_turn(LONG, TurnStep { tcp: true, ..allocate(web.await.address) }).await;
    assert_failure(&run, FailureReason::Protocol, "no STUN message");
    let closed = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let address = closed.local_addr().expect("bound");
    drop(closed);
    let run = run_turn(LONG, allocate(address)).await;
    assert_failure(&run, FailureReason::Connect, "nobody listens there");
}

/// Guarantees that a datagram which the relay keeps is lost, with the place where it was, and that the
/// allocation is given back all the same.
#[tokio::test]
async fn a_relay_may_lose() {
    let turn = Turn::start(Rules { one_way: true, ..Rules::default() }).await;
    let within = Some(Duration::from_millis(50));
    let run = run_turn(BRIEF, TurnStep { echo: Some(within), ..allocate(turn.udp) }).await;
    let words = "it never came (it came through the relay to us, and not back)";
    assert_failure(&run, FailureReason::Lost, words);
    let given_back = async {
        while !turn.asked().ends_with(&[REFRESH]) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, given_back).await.expect("given back");
    let run = run_turn(BRIEF, echo(turn.udp)).await;
    assert_failure(&run, FailureReason::Timeout, "and not back");
}
