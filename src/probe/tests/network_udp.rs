//! Datagrams of probes through emulated networks: late, lost and cut off as the network says, and the
//! run tells what was delivered.

use super::super::dns::{DnsStep, DnsTransport};
use super::super::network::profile::{Effect, Overlay, PROFILES};
use super::super::network::{Network, RunNetwork, ShapedUdp};
use super::super::spec::{ExpectText, StunStep, TextCheck, UdpStep};
use super::udp::{Server, mapped, server};
use super::*;
use crate::model::probe::RunId;
use futures::future::join_all;
use std::net::SocketAddr;
use tokio::net::UdpSocket;
use tokio::time::sleep;

const MS: Duration = Duration::from_millis(1);

async fn echo() -> Server {
    server(|_, sent, _| vec![sent.to_vec()]).await
}

fn ask(address: SocketAddr) -> Vec<Step> {
    let text = Some(TextCheck::Equals("ping ${run.id}".to_owned()));
    let expect = ExpectText { text, within: None };
    let udp =
        UdpStep { url: format!("udp://{address}"), send: "ping ${run.id}".to_owned(), expect };
    vec![step("1", Action::Udp(udp))]
}

async fn run_over(network: &Network, timeout: Duration, steps: Vec<Step>) -> ProbeRun {
    run_with(&context(), network, timeout, steps).await
}

/// One of many runs: making a context takes longer than any of them.
async fn run_with(
    context: &Context,
    network: &Network,
    timeout: Duration,
    steps: Vec<Step>,
) -> ProbeRun {
    let spec = ProbeSpec { network: Some(Arc::new(network.clone())), timeout, ..spec(steps) };
    run_once(&spec, SlotStart::now(&context.clock), context).await
}

/// Without chance and nearly without a rate, there and back in that time.
fn steady(round_trip: Duration) -> Network {
    let mut network = Network::named("wifi", []).expect("built in");
    network.profile.round_trip = round_trip;
    network.profile.jitter = Duration::ZERO;
    (network.profile.up_bits, network.profile.down_bits) = (1_000_000_000, 1_000_000_000);
    network
}

fn attribute(run: &ProbeRun, name: &str) -> Option<String> {
    super::attribute(&run.steps[0], name)
}

fn median(mut values: Vec<Duration>) -> Duration {
    values.sort_unstable();
    values[values.len() / 2]
}

/// How late timers of this machine are just now, at most of the time. A millisecond of it is what
/// the emulation reckons with.
async fn lateness(clock: &Clock) -> Duration {
    let mut late = Vec::new();
    for _ in 0..25 {
        let due = clock.monotonic().plus(13 * MS);
        sleep(13 * MS).await;
        late.push(clock.monotonic().since(due));
    }
    median(late).saturating_sub(MS)
}

/// Guarantees the round trip of every built-in profile, the slow ones speeded up ten times: within a
/// millisecond or 2 %, but for what this machine's timers are late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_round_trip_of_every_profile() {
    let (echo, context) = (echo().await, context());
    for profile in &PROFILES {
        let mut network = Network::named(&profile.name, []).expect("built in");
        let profile = &mut network.profile;
        if profile.round_trip > 100 * MS {
            (profile.round_trip, profile.jitter) = (profile.round_trip / 10, profile.jitter / 10);
            (profile.up_bits, profile.down_bits) = (profile.up_bits * 10, profile.down_bits * 10);
        }
        let bits = (b"ping ".len() + 32) as f64 * 8.0;
        let passing = bits / profile.up_bits as f64 + bits / profile.down_bits as f64;
        let wanted = profile.round_trip + Duration::from_secs_f64(passing);
        let run = |number: u32| {
            let (context, network, address) = (&context, &network, echo.address);
            async move {
                // Runs of one moment would all end on the same tick of the timer.
                sleep(Duration::from_micros(3_300) * number).await;
                run_with(context, network, Duration::from_secs(2), ask(address)).await
            }
        };
        let (runs, late) = tokio::join!(join_all((0..41).map(run)), lateness(&context.clock));
        let values = runs.iter().filter_map(|run| run.latency_ns).map(Duration::from_nanos);
        let values: Vec<_> = values.collect();
        assert!(values.len() > 30, "{}: {} came back", network, values.len());
        let got = median(values);
        let margin = MS.max(wanted.mul_f64(0.02)) + 2 * late;
        eprintln!("{network}: {got:?}, wanted {wanted:?}; timers are {late:?} too late");
        assert!(got.abs_diff(wanted) <= margin, "{network}: {got:?} instead of {wanted:?}");
    }
}

/// The networks with seeds from 0 on through which a datagram and its answer pass.
async fn passes(network: &Network, seeds: u64, address: SocketAddr) -> Vec<bool> {
    let context = &context();
    let run = |seed| {
        let network = Network { seed: Some(seed), ..network.clone() };
        async move { run_with(context, &network, 400 * MS, ask(address)).await }
    };
    let runs = join_all((0..seeds).map(run)).await;
    for run in &runs {
        let lost = number(&run.steps[0], "network.lost");
        let came = run.outcome == Outcome::Success;
        assert_eq!(lost, Some(i64::from(!came)), "{run:?}");
        assert_eq!(attribute(run, "network.rtt_ns").is_some(), came, "{run:?}");
    }
    runs.iter().map(|run| run.outcome == Outcome::Success).collect()
}

/// Guarantees that datagrams are lost for good, as many as the profile says by the binomial
/// distribution's 99 % bounds, the same ones for the same seeds, and that each run tells it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datagrams_are_lost_by_their_seed() {
    let echo = echo().await;
    let mut network = steady(4 * MS);
    network.profile.loss_ppm = 200_000;
    let first = passes(&network, 300, echo.address).await;
    let (n, share) = (300.0, 1.0 - 0.8 * 0.8);
    let lost = first.iter().filter(|passed| !**passed).count() as f64;
    let bound = 2.576 * f64::sqrt(n * share * (1.0 - share));
    assert!((lost - n * share).abs() <= bound, "{lost} of {n} are lost");
    assert_eq!(passes(&network, 300, echo.address).await, first);
}

/// Sends numbered datagrams to an echo for so long; hands back when each went and came.
async fn stream(network: Network, length: Duration) -> Vec<(Duration, Option<Duration>)> {
    let (echo, clock) = (echo().await, Clock::system());
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    socket.connect(echo.address).await.expect("connected");
    let began = clock.monotonic();
    let run = RunNetwork::new(&Arc::new(network), RunId([7; 16]), &clock, began);
    let mut shaped = ShapedUdp::new(socket, run.open([1; 8]));
    let mut passed: Vec<(Duration, Option<Duration>)> = Vec::new();
    let mut due = began;
    let mut buffer = [0; 4];
    while clock.monotonic().since(began) < length + 200 * MS {
        let now = clock.monotonic();
        if now >= due && now.since(began) < length {
            let number = u32::try_from(passed.len()).expect("few");
            passed.push((now.since(began), None));
            shaped.send(&number.to_be_bytes()).await.expect("taken");
            due = due.plus(2 * MS);
        }
        if tokio::time::timeout(MS, shaped.recv(&mut buffer)).await.is_ok() {
            let number = u32::from_be_bytes(buffer) as usize;
            passed[number].1 = Some(clock.monotonic().since(began));
        }
    }
    passed
}

fn with_outage(packets_wait: bool) -> Network {
    let (length, every) = (200 * MS, Duration::from_secs(1));
    let effect = Effect::Outage { length, every, packets_wait };
    let overlay = Overlay { name: "test", effect, words: "", source: "a test" };
    Network { overlays: vec![overlay], seed: Some(5), ..steady(4 * MS) }
}

/// Guarantees how long an outage is: of datagrams that are lost in it, and of those that wait for its
/// end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outages_have_their_length() {
    let length = Duration::from_millis(1_500);
    let (cut, held) =
        tokio::join!(stream(with_outage(false), length), stream(with_outage(true), length));
    let came: Vec<Duration> = cut.iter().filter_map(|(at, back)| back.map(|_| *at)).collect();
    let gaps = came.windows(2).map(|pair| pair[1] - pair[0]);
    let longest = gaps.max().expect("some came");
    // Also lost is what reaches the far end, or its answer what leaves it, in the outage.
    assert!((200 * MS..250 * MS).contains(&longest), "{longest:?} without an answer");
    assert!(held.iter().all(|(_, back)| back.is_some()), "none is lost");
    let trips = held.iter().map(|(at, back)| back.expect("it came") - *at);
    let longest = trips.max().expect("some came");
    assert!((195 * MS..250 * MS).contains(&longest), "{longest:?} for one that waited");
}

/// Guarantees that STUN and DNS over UDP go through the network, that STUN's second request makes up
/// for a loss, and that a closed port is told through it.
#[tokio::test]
async fn other_datagrams_go_through_too() {
    let network = steady(60 * MS);
    let stun = server(|_, request, from| vec![mapped(request, from)]).await;
    let steps = || {
        let url = format!("stun://{}", stun.address);
        vec![step("1", Action::Stun(StunStep { url }))]
    };
    let run = run_over(&network, Duration::from_secs(20), steps()).await;
    assert_success(&run);
    assert!(run.latency_ns >= Some(57_000_000), "{run:?}");
    assert_eq!(attribute(&run, "network.profile").as_deref(), Some("wifi"));
    let mut lossy = network.clone();
    lossy.profile.loss_ppm = 600_000;
    let context = &context();
    let ran = join_all((0..20).map(|seed| {
        let network = Network { seed: Some(seed), ..lossy.clone() };
        let steps = steps();
        async move { run_with(context, &network, Duration::from_secs(2), steps).await }
    }));
    let again = |run: &&ProbeRun| {
        run.outcome == Outcome::Success
            && attribute(run, "stun.retransmissions").as_deref() != Some("0")
    };
    assert!(ran.await.iter().filter(again).count() > 0, "a loss is made up for");

    let names = server(|_, query, _| {
        let mut answer = query.to_vec();
        answer[2] |= 0x80;
        answer[3] = 3;
        vec![answer]
    })
    .await;
    let dns = DnsStep {
        server: names.address.to_string(),
        name: "probe.test".to_owned(),
        record_type: 1,
        transport: DnsTransport::Udp,
        accept_truncated: false,
        recursion: true,
        rcodes: vec![3],
        answers: Vec::new(),
        min_answers: None,
        tls: TlsOptions::default(),
    };
    let run = run_over(&network, Duration::from_secs(1), vec![step("1", Action::Dns(dns))]).await;
    assert_success(&run);
    assert!(run.latency_ns >= Some(57_000_000), "{run:?}");

    let closed = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let steps = ask(closed.local_addr().expect("bound"));
    drop(closed);
    let run = run_over(&network, Duration::from_secs(20), steps).await;
    assert_failure(&run, FailureReason::Connect, "nobody listens there");
    assert!(run.duration_ns >= 57_000_000, "{run:?}");
}
