//! Data channels to a real peer on loopback, and to those that do something wrong.

use super::super::network::Network;
use super::super::spec::{HeaderText, Repeat, TextCheck, WebRtcStep};
use super::webrtc_peer::{Manner, Peer};
use super::*;
use crate::base::secret::Secret;
use crate::probe::spec::StatusRange;
use str0m::channel::Reliability;

const LONG: Duration = Duration::from_secs(20);
const BRIEF: Duration = Duration::from_millis(600);

fn open(peer: &Peer) -> WebRtcStep {
    WebRtcStep {
        url: peer.url(),
        headers: Vec::new(),
        status: Vec::new(),
        channel: "probe".to_owned(),
        protocol: String::new(),
        ordered: true,
        max_retransmits: None,
        send: None,
        expect: None,
        tls: TlsOptions { ca_pem: peer.pem.clone(), ..TlsOptions::default() },
    }
}

fn text(text: &str, within: Option<Duration>) -> Expect {
    let text = Some(TextCheck::Equals(text.to_owned()));
    Expect { json: None, text, event: None, within, since: None }
}

/// Sends a message and waits for it.
fn echo(peer: &Peer) -> WebRtcStep {
    let send = Some("ping ${run.id}".to_owned());
    WebRtcStep { send, expect: Some(text("ping ${run.id}", None)), ..open(peer) }
}

async fn run_webrtc(timeout: Duration, webrtc: WebRtcStep) -> ProbeRun {
    run_within(timeout, vec![step("1", Action::WebRtc(webrtc))]).await
}

/// Guarantees the whole way, each part a phase of its own, with the message's round trip as the value;
/// that the offer is marked and carries the definition's headers; and that nothing is left behind.
#[tokio::test]
async fn a_message_goes_there_and_back() {
    let peer = Peer::start(Manner::Echo).await;
    let secret = HeaderText::Secret(Secret::new("Bearer hush"));
    let headers = vec![("authorization".to_owned(), secret)];
    let run = run_webrtc(LONG, WebRtcStep { headers, ..echo(&peer) }).await;
    assert_success(&run);
    let [first, ..] = run.steps.as_slice() else { unreachable!("{run:?}") };
    let offer = [Phase::Connect, Phase::Send, Phase::Wait, Phase::Receive];
    let rest = [Phase::Ice, Phase::Dtls, Phase::Send, Phase::Message];
    assert_eq!(phases(first), [offer, rest].concat());
    assert_eq!((first.status, first.protocol.as_str()), (Some(201), "webrtc"));
    assert_eq!(run.latency_ns, first.message_latency_ns);
    assert!(run.latency_ns >= run.phase_ns(Phase::Message), "{run:?}");
    assert!(attribute(first, "webrtc.peer").expect("told").starts_with("127.0.0.1:"));
    assert_eq!(number(first, "webrtc.messages"), Some(1));
    peer.until(|seen| seen.closed == 1 && seen.deleted == ["7"]).await;
    peer.seen(|seen| {
        let [offer] = seen.offers.as_slice() else { unreachable!("{seen:?}") };
        let found = |name: &str| offer.get(name).and_then(|value| value.to_str().ok());
        assert!(found("traceparent").expect("marked").contains(&run.id.to_hex()));
        assert!(found("baggage").expect("marked").contains("synthetic"));
        assert_eq!(found("content-type"), Some("application/sdp"));
        assert_eq!(found("accept"), Some("application/sdp"));
        assert_eq!(found("authorization"), Some("Bearer hush"));
    });
    assert!(!format!("{run:?}").contains("hush"));
}

/// Guarantees that the offer goes over TLS where the URL asks for it, with a phase for that.
#[tokio::test]
async fn the_offer_goes_over_tls() {
    let peer = Peer::start_secure(Manner::Echo).await;
    let run = run_webrtc(LONG, echo(&peer)).await;
    assert_success(&run);
    assert!(phases(&run.steps[0]).starts_with(&[Phase::Connect, Phase::Tls, Phase::Send]));
    peer.until(|seen| seen.deleted == ["7"]).await;
}

/// Guarantees that the channel is asked for as the definition says.
#[tokio::test]
async fn the_channel_is_as_it_was_defined() {
    let peer = Peer::start(Manner::Echo).await;
    let channel = WebRtcStep {
        channel: "room ${run.id}".to_owned(),
        protocol: "chat.v2".to_owned(),
        ordered: false,
        max_retransmits: Some(3),
        ..echo(&peer)
    };
    let run = run_webrtc(LONG, channel).await;
    assert_success(&run);
    peer.seen(|seen| {
        let [channel] = seen.channels.as_slice() else { unreachable!("{seen:?}") };
        assert_eq!(channel.label, format!("room {}", run.id.to_hex()));
        assert_eq!((channel.protocol.as_str(), channel.ordered), ("chat.v2", false));
        assert_eq!(channel.reliability, Reliability::MaxRetransmits { retransmits: 3 });
    });
}

/// Guarantees that later steps send and expect over the channel, many times, and long messages.
#[tokio::test]
async fn later_steps_use_the_channel() {
    let peer = Peer::start(Manner::Echo).await;
    let send = |text: String, count| {
        let repeat = Repeat { count, gap: Duration::ZERO };
        Action::Send { on: "chat".to_owned(), send: text, repeat }
    };
    let expect = |wanted: &str| Action::Expect {
        on: vec!["chat".to_owned()],
        expect: text(wanted, Some(LONG)),
    };
    let long = "x".repeat(300_000);
    let run = run(vec![
        step("chat", Action::WebRtc(open(&peer))),
        step("many", send("n ${run.sequence}".to_owned(), 200)),
        step("last", expect("n 200")),
        step("first", expect("n 1")),
        step("long", send(long.clone(), 1)),
        step("back", expect(&long)),
    ])
    .await;
    assert_success(&run);
    assert_eq!(number(&run.steps[0], "webrtc.messages"), Some(201));
    let bytes = number(&run.steps[0], "webrtc.received_bytes").expect("told");
    assert!((100_000..1_000_000).contains(&bytes), "{bytes}");
}

/// Guarantees that a step can open several channels, each with a peer connection of its own.
#[tokio::test]
async fn many_channels_of_one_step() {
    let peer = Peer::start(Manner::Echo).await;
    let many = Step { count: 5, ..step("crowd", Action::WebRtc(open(&peer))) };
    let one = step("1", Action::WebRtc(echo(&peer)));
    let run = run(vec![many, one]).await;
    assert_success(&run);
    peer.until(|seen| seen.deleted.len() == 6 && seen.closed == 6).await;
    assert_eq!(peer.seen(|seen| seen.channels.len()), 6);
}

/// Guarantees that a peer that does not take the offer, or answers with what is no answer, is told apart
/// from one that cannot be reached.
#[tokio::test]
async fn offers_that_are_not_answered() {
    let peer = Peer::start(Manner::Refuse).await;
    let run = run_webrtc(LONG, echo(&peer)).await;
    assert_failure(&run, FailureReason::Status, "found: 403; it says: no rooms left");
    let peer = Peer::start(Manner::Talk).await;
    let run = run_webrtc(LONG, echo(&peer)).await;
    assert_failure(&run, FailureReason::Protocol, "it begins: <html>hello");
    let peer = Peer::start(Manner::Babble).await;
    let run = run_webrtc(LONG, echo(&peer)).await;
    assert_failure(&run, FailureReason::Protocol, "is too long");
    let peer = Peer::start(Manner::Echo).await;
    let status = vec![StatusRange { first: 200, last: 200 }];
    let run = run_webrtc(LONG, WebRtcStep { status, ..echo(&peer) }).await;
    assert_failure(&run, FailureReason::Status, "expected that status is 200, found: 201");
}

/// Guarantees that the timeout says how far the way was, between which addresses it was looked for, and
/// that the session is given back all the same.
#[tokio::test]
async fn peers_that_are_not_there() {
    let peer = Peer::start(Manner::Mute).await;
    let run = run_webrtc(BRIEF, echo(&peer)).await;
    assert_failure(&run, FailureReason::Timeout, "looking for a way to the peer by ICE");
    assert_failure(&run, FailureReason::Timeout, "we offered 127.0.0.1:");
    assert_failure(&run, FailureReason::Timeout, "its answer names 127.0.0.1:");
    assert!(phases(&run.steps[0]).ends_with(&[Phase::Receive]));
    peer.until(|seen| seen.deleted == ["7"]).await;
    let peer = Peer::start(Manner::Plain).await;
    let run = run_webrtc(BRIEF, echo(&peer)).await;
    assert_failure(
        &run,
        FailureReason::Timeout,
        "passed while DTLS, SCTP or the channel's greeting",
    );
    assert!(phases(&run.steps[0]).ends_with(&[Phase::Receive, Phase::Ice]));
}

/// Guarantees that a peer that shows another certificate than its answer names is not talked to.
#[tokio::test]
async fn another_certificate_is_refused() {
    let peer = Peer::start(Manner::Disguise).await;
    let run = run_webrtc(LONG, echo(&peer)).await;
    assert_failure(
        &run,
        FailureReason::Tls,
        "its certificate is not the one that its answer names",
    );
    assert!(phases(&run.steps[0]).ends_with(&[Phase::Ice]));
    assert_eq!(peer.seen(|seen| seen.channels.len()), 0);
}

/// Guarantees that a message which comes late, one which never comes and a channel that is closed are
/// three things.
#[tokio::test]
async fn late_lost_and_closed() {
    let expecting = |peer: &Peer, within| {
        let expect = Some(text("ping ${run.id}", Some(within)));
        WebRtcStep { expect, ..echo(peer) }
    };
    let peer = Peer::start(Manner::Dawdle(80)).await;
    let run = run_webrtc(LONG, expecting(&peer, Duration::from_millis(40))).await;
    assert_failure(&run, FailureReason::Late, "it came after");
    assert!(run.steps[0].message_latency_ns >= Some(79_000_000), "{run:?}");
    let peer = Peer::start(Manner::Swallow).await;
    let run = run_webrtc(BRIEF, expecting(&peer, Duration::from_millis(40))).await;
    assert_failure(&run, FailureReason::Lost, "it never came (nothing else did)");
    let peer = Peer::start(Manner::CloseChannel).await;
    let run = run_webrtc(LONG, echo(&peer)).await;
    assert_failure(&run, FailureReason::Closed, "the peer closed the data channel");
    let peer = Peer::start(Manner::CloseAll).await;
    let run = run_webrtc(LONG, echo(&peer)).await;
    assert_failure(&run, FailureReason::Closed, "the peer closed the connection");
}

/// Guarantees that no server is asked for a session where nothing may be written, nor over an emulated
/// network, which would not be measured.
#[tokio::test]
async fn what_may_not_be_asked_is_not() {
    let peer = Peer::start(Manner::Echo).await;
    let foreign = WebRtcStep { url: "http://192.0.2.1/whip".to_owned(), ..echo(&peer) };
    let run = run_webrtc(LONG, foreign).await;
    assert_failure(&run, FailureReason::Local, "writing to http://192.0.2.1/whip is not allowed");
    let network = Network::named("wifi", []).expect("built in");
    let steps = vec![step("1", Action::WebRtc(echo(&peer)))];
    let spec = ProbeSpec { network: Some(Arc::new(network)), ..spec(steps) };
    let context = context();
    let run = run_once(&spec, SlotStart::now(&context.clock), &context).await;
    assert_failure(&run, FailureReason::Local, "does not go through an emulated network");
    assert_eq!(peer.seen(|seen| seen.offers.len()), 0);
}
