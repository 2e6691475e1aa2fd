//! Probes through emulated networks: every protocol's phases take what the network costs, and the run
//! says what that was.

use super::servers::{Server, echo, http, https, linger, raw, websocket};
use super::*;
use crate::model::probe::RunId;
use crate::probe::network::{Network, RunNetwork};
use axum::Router;
use axum::routing::get as on_get;
use futures::future::join_all;

/// A network without chance, there and back in so many milliseconds.
fn steady(round_trip_ms: u64) -> Network {
    let mut network = Network::named("wifi", []).expect("built in");
    network.profile.round_trip = Duration::from_millis(round_trip_ms);
    network.profile.jitter = Duration::ZERO;
    network
}

/// Runs the steps several times at once over the network.
async fn runs_over(
    network: Network,
    timeout: Duration,
    steps: Vec<Step>,
    times: usize,
) -> Vec<ProbeRun> {
    let spec = ProbeSpec { network: Some(Arc::new(network)), timeout, ..spec(steps) };
    let context = context();
    let run = || run_once(&spec, SlotStart::now(&context.clock), &context);
    join_all((0..times).map(|_| run())).await
}

async fn run_over(network: Network, timeout: Duration, steps: Vec<Step>) -> ProbeRun {
    runs_over(network, timeout, steps, 1).await.swap_remove(0)
}

fn chat(server: &Server) -> Vec<Step> {
    let expect = expect_json(serde_json::json!({"id": "${run.id}"}));
    let send = Some(r#"{"id":"${run.id}"}"#.to_owned());
    let open = WebSocketStep { send, expect: Some(expect), ..connect(server.url("ws", "/")) };
    vec![step("chat", Action::WebSocket(open))]
}

/// The middle run's phase, in milliseconds, is at least a network's part and not much more.
#[track_caller]
fn assert_about(runs: &[ProbeRun], phase: Phase, ms: u64) {
    let median = median_ms(runs, phase);
    assert!((ms.saturating_sub(3)..ms + 60).contains(&median), "{phase:?} takes {median} ms");
}

/// Guarantees that connecting, the upgrade and the message each cost a round trip, that sending costs
/// none, and that the step tells the network, its seed and what it delivered.
#[tokio::test]
async fn a_websocket_through_a_network() {
    let server = websocket(echo).await;
    let runs = runs_over(steady(60), Duration::from_secs(20), chat(&server), 9).await;
    runs.iter().for_each(assert_success);
    for phase in [Phase::Connect, Phase::Upgrade, Phase::Message] {
        assert_about(&runs, phase, 60);
    }
    assert!(median_ms(&runs, Phase::Send) < 20);
    let value = |run: &ProbeRun| run.latency_ns.expect("it has one") / 1_000_000;
    assert!(runs.iter().all(|run| value(run) >= 55), "{runs:?}");
    let step = &runs[0].steps[0];
    assert_eq!(attribute(step, "network.profile").as_deref(), Some("wifi"));
    assert_eq!(attribute(step, "network.lost").as_deref(), Some("0"));
    let round_trip = number(step, "network.rtt_ns").expect("something was delivered") as f64 / 1e6;
    assert!((57.0..100.0).contains(&round_trip), "{round_trip}");
    let seeds: Vec<_> = runs.iter().map(|run| attribute(&run.steps[0], "network.seed")).collect();
    assert!(seeds.iter().any(|seed| *seed != seeds[0]), "every run has another: {seeds:?}");
}

/// Guarantees that TLS and HTTP/2 above it go through the network, and that a body takes its time at
/// the rate.
#[tokio::test]
async fn https_through_a_network() {
    let body = "x".repeat(100_000);
    let (server, pem) = https(Router::new().route("/", on_get(move || async move { body }))).await;
    let mut network = steady(40);
    network.profile.down_bits = 4_000_000;
    let tls = TlsOptions { ca_pem: Some(pem), ..TlsOptions::default() };
    let ask = HttpStep { tls, ..get(server.url("https", "/")) };
    let steps = vec![step("1", Action::Http(ask))];
    // One after the other: reckoning several handshakes at once would be in each other's way.
    let mut runs = Vec::new();
    for _ in 0..5 {
        runs.push(run_over(network.clone(), Duration::from_secs(20), steps.clone()).await);
    }
    runs.iter().for_each(assert_success);
    for phase in [Phase::Connect, Phase::Tls, Phase::Wait] {
        assert_about(&runs, phase, 40);
    }
    // 200 ms in all, of which the record that holds the head takes 16 KiB.
    assert_about(&runs, Phase::Receive, 165);
    let queued = number(&runs[0].steps[0], "network.queued_ns").expect("it is told");
    assert!(queued > 20_000_000, "{queued}");
}

/// Guarantees that without a network nothing of it shows, neither in time nor in attributes.
#[tokio::test]
async fn without_a_network_there_is_none() {
    let server = http(Router::new().route("/", on_get(|| async { "hi" }))).await;
    let run = run_http(get(server.url("http", "/"))).await;
    assert_success(&run);
    let of_server = ["network.peer.address", "network.protocol.version"];
    let mut names = run.steps[0].attributes.iter().map(|(name, _)| name.as_str());
    assert!(names.all(|name| of_server.contains(&name)), "{run:?}");
}

/// Guarantees that a network through which nothing passes costs the timeout and no more, while
/// connecting and later; and that a server without an ear is told apart from it.
#[tokio::test]
async fn a_dead_network_costs_the_timeout() {
    let mute = raw(linger).await;
    let ask = || vec![step("1", Action::Http(get(mute.url("http", "/"))))];
    let mut dead = steady(5);
    dead.profile.loss_ppm = 1_000_000;
    let run = run_over(dead, Duration::from_millis(300), ask()).await;
    assert_failure(&run, FailureReason::Timeout, "while connecting");
    assert!((300..2_000).contains(&(run.duration_ns / 1_000_000)), "{run:?}");
    assert!(number(&run.steps[0], "network.lost") > Some(0), "{run:?}");
    let run = run_over(steady(5), Duration::from_millis(300), ask()).await;
    assert_failure(&run, FailureReason::Timeout, "waiting for the answer");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", closed.local_addr().expect("bound"));
    drop(closed);
    let refused = vec![step("1", Action::Http(get(url)))];
    let run = run_over(steady(5), Duration::from_secs(20), refused).await;
    assert_failure(&run, FailureReason::Connect, "refused");
}

/// Guarantees that a run without a seed has one of its id, that a run with one keeps it, and that all
/// connections of a step are told as one.
#[test]
fn seeds_follow_from_runs() {
    let clock = Clock::system();
    let seed_of = |network: Network, id: [u8; 16]| {
        let network = RunNetwork::new(&Arc::new(network), RunId(id), &clock, clock.monotonic());
        let mut steps = [StepResult { span_id: [1; 8], ..StepResult::default() }];
        let _ = (network.open([1; 8]), network.open([1; 8]), network.open([2; 8]));
        network.describe(&mut steps);
        let told = steps[0].attributes.iter().filter(|(name, _)| name == "network.seed");
        told.map(|(_, seed)| seed.to_string()).collect::<Vec<_>>()
    };
    let mut id = [0; 16];
    id[3] = 9;
    assert_eq!(seed_of(steady(1), id), ["9"]);
    assert_eq!(seed_of(Network { seed: Some(7), ..steady(1) }, id), ["7"]);
}
