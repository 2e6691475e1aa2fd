//! Names with several addresses: who wins the race, and runs to one of them; targets of instances.

use super::super::addresses::{Dialling, race};
use super::super::deadline::Deadline;
use super::super::limits::Limit;
use super::super::record::StepRecord;
use super::super::spec::{Action, Found, Listed, ProbeSpec, Targets};
use super::super::writes::WriteTarget;
use super::super::{SlotStart, run_once};
use super::servers::{linger, raw};
use super::{assert_success, attribute, connect, context, get, number, spec, step};
use crate::model::probe::{FailureReason, Outcome, StepResult};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// An address that neither answers nor refuses: its queue of connections is full.
struct Mute {
    address: SocketAddr,
    _listener: TcpListener,
    _held: Vec<tokio::task::JoinHandle<std::io::Result<TcpStream>>>,
}

async fn mute() -> Mute {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let listener = socket.listen(0).expect("listening");
    let address = listener.local_addr().expect("bound");
    let held = TcpStream::connect(address).await.expect("the first is queued");
    let held = tokio::spawn(async move { Ok(held) });
    let more = (0..8).map(|_| tokio::spawn(TcpStream::connect(address)));
    Mute { address, _listener: listener, _held: std::iter::once(held).chain(more).collect() }
}

/// An address at which nobody listens.
async fn closed() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("bound")
}

async fn raced(addresses: &[SocketAddr]) -> (Option<SocketAddr>, Duration, StepResult) {
    let context = context();
    let began = context.clock.monotonic();
    let deadline = Deadline::new(&context.clock, began, Duration::from_secs(20));
    let mut record = StepRecord::begin(&context.clock, began, "1", [1; 8]);
    let won = race(addresses, &deadline, &mut record).await.ok();
    let took = context.clock.monotonic().since(began);
    (won.and_then(|stream| stream.peer_addr().ok()), took, record.finish(None))
}

/// Guarantees that an address which does not answer delays a connection by 250 ms and no more, that
/// one which refuses does not delay it, and that the step tells who won.
#[tokio::test]
async fn the_fastest_address_wins() {
    let (server, mute, closed) = (raw(linger).await, mute().await, closed().await);
    let (won, took, result) = raced(&[mute.address, server.address]).await;
    assert_eq!(won, Some(server.address));
    assert!(took >= Duration::from_millis(250) && took < Duration::from_secs(5), "{took:?}");
    assert_eq!(number(&result, "happy_eyeballs.attempts"), Some(2));
    assert_eq!(attribute(&result, "happy_eyeballs.winner").as_deref(), Some("127.0.0.1"));
    assert!(number(&result, "happy_eyeballs.winner_begun_after_ns").is_some());
    let (won, took, _) = raced(&[closed, server.address]).await;
    assert_eq!(won, Some(server.address));
    assert!(took < Duration::from_millis(250), "{took:?}");
    assert_eq!(raced(&[closed]).await.0, None);
}

/// Guarantees that a probe of a name passes with either way of dialling, wherever the name leads.
#[tokio::test]
async fn a_name_is_dialled_either_way() {
    let server = super::servers::websocket(super::servers::echo).await;
    let url = format!("ws://localhost:{}/", server.address.port());
    let context = context();
    for addresses in [Dialling::First, Dialling::HappyEyeballs] {
        let step = step("1", Action::WebSocket(connect(url.clone())));
        let spec = ProbeSpec { addresses, ..spec(vec![step]) };
        assert_success(&run_once(&spec, SlotStart::now(&context.clock), &context).await);
    }
}

/// Guarantees that an instance for an address talks to that one and no other, in the name's own words, and
/// that what is not there any more fails its run alone.
#[tokio::test]
async fn an_instance_talks_to_its_address() {
    let server = super::servers::websocket(super::servers::echo).await;
    let url = format!("ws://localhost:{}/", server.address.port());
    let context = context();
    let steps = vec![step("1", Action::WebSocket(connect(url)))];
    let each = ProbeSpec { targets: Targets::EachAddress, ..spec(steps) };
    let run = async |address: &str| {
        let instance = each.instance_for(&Found::plain(address)).expect("an instance");
        run_once(&instance, SlotStart::now(&context.clock), &context).await
    };
    let passed = run("127.0.0.1").await;
    assert_success(&passed);
    assert_eq!(attribute(&passed.steps[0], "network.peer.address").as_deref(), Some("127.0.0.1"));
    assert!(passed.steps[0].target.starts_with("ws://localhost:"), "{passed:?}");
    assert_eq!(passed.labels.to_string(), r#"{address="127.0.0.1", region="test"}"#);
    // Of this machine, too, and nobody listens there.
    let refused = run("127.9.9.9").await;
    let failure = refused.failure.expect("nobody is there");
    assert_eq!(failure.reason, FailureReason::Connect);
    assert!(failure.message.contains("127.9.9.9"), "{}", failure.message);
}

/// Guarantees that an instance goes to its target, with its labels, and that limits know where that is.
#[tokio::test]
async fn an_instance_goes_to_its_target() {
    let server =
        super::servers::http(axum::Router::new().route("/up", axum::routing::get(|| async {})));
    let server = server.await;
    let listed =
        Listed { known: vec![Found::plain(&server.address.to_string())], services: Vec::new() };
    let targets = Targets::Listed(Arc::new(listed));
    let steps = vec![step("1", Action::Http(get("http://${target}/up")))];
    let definition = Arc::new(ProbeSpec { targets, ..spec(steps) });
    let (instances, _) = definition.instances(&[]);
    let context = context();
    let run = async || run_once(&instances[0], SlotStart::now(&context.clock), &context).await;
    let passed = run().await;
    assert_success(&passed);
    assert_eq!(passed.labels.get("target"), Some(server.address.to_string().as_str()));
    context.limits.replace(vec![Limit {
        name: "127.0.0.1".to_owned(),
        target: WriteTarget::parse("127.0.0.1").expect("a target"),
        max_runs: None,
        max_concurrent_runs: Some(0),
        max_messages: None,
    }]);
    assert_eq!(run().await.outcome, Outcome::Missed);
}
