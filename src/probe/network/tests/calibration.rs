//! What is really delivered, on real sockets, in real time.
//!
//! Figures are medians of many connections at once, and what a timer of this runtime was late
//! meanwhile is allowed for, so that a busy machine is not taken for a wrong network.

use super::super::Shaped;
use super::super::link::SEGMENT_BYTES;
use super::sockets::pair;
use super::*;
use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

const CONNECTIONS: u64 = 21;
const PAUSE: Duration = Duration::from_millis(20);

fn median(mut values: Vec<Duration>) -> Duration {
    values.sort_unstable();
    values[values.len() / 2]
}

/// The round trip of a message that is sent back, after the connection was idle for a while.
async fn echo(network: Network, seed: u64, clock: Clock) -> Duration {
    let (ours, mut theirs) = pair().await;
    let mut ours = Shaped::new(ours, path(&network, seed, &clock));
    let server = tokio::spawn(async move {
        let mut message = [0; 32];
        theirs.read_exact(&mut message).await.expect("it comes");
        theirs.write_all(&message).await.expect("it goes");
    });
    // Connections of one moment would all fire on the same tick of the timer.
    sleep(Duration::from_micros(seed * 1_300)).await;
    let began = clock.monotonic();
    let mut message = [1; 32];
    ours.write_all(&message).await.expect("taken");
    ours.read_exact(&mut message).await.expect("it comes back");
    let after = clock.monotonic().since(began);
    server.await.expect("it was sent back");
    after
}

/// How late timers are.
async fn lateness(clock: &Clock) -> Duration {
    let mut late = Vec::new();
    for _ in 0..15 {
        let due = clock.monotonic().plus(PAUSE);
        sleep(PAUSE).await;
        late.push(clock.monotonic().since(due));
    }
    median(late)
}

async fn check_round_trip(name: &str) {
    let clock = Clock::system();
    let network = named(name);
    let trips = join_all((0..CONNECTIONS).map(|seed| echo(network.clone(), seed, clock.clone())));
    let (trips, late) = tokio::join!(trips, lateness(&clock));
    let (wanted, got) = (network.profile.round_trip, median(trips));
    let margin = Duration::from_millis(2).max(wanted.mul_f64(0.03)) + 2 * late;
    eprintln!("{name}: round trip {got:?}, wanted {wanted:?}; timers are {late:?} late");
    assert!(got.abs_diff(wanted) <= margin, "{name}: {got:?} instead of {wanted:?}");
}

/// Guarantees the round trip of wifi as the socket's user sees it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_round_trip_of_wifi() {
    check_round_trip("wifi").await;
}

/// Guarantees the same of lte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_round_trip_of_lte() {
    check_round_trip("lte").await;
}

/// Guarantees the same of edge.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_round_trip_of_edge() {
    check_round_trip("edge").await;
}

/// The rate of a download in which nothing is lost, bits per second, after a wait.
async fn download(network: Network, bytes: usize, wait: Duration) -> f64 {
    let clock = Clock::system();
    let (ours, mut theirs) = pair().await;
    let mut ours = Shaped::new(ours, path(&network, 1, &clock));
    sleep(wait).await;
    let server = tokio::spawn(async move {
        theirs.write_all(&vec![7; bytes]).await.expect("it goes");
    });
    let _ = ours.read_u8().await.expect("it begins");
    let began = clock.monotonic();
    let mut rest = vec![0; bytes - 1];
    ours.read_exact(&mut rest).await.expect("it comes");
    let seconds = clock.monotonic().since(began).as_secs_f64();
    server.await.expect("it was sent");
    // The first segment came whole when the clock was started.
    ((bytes - SEGMENT_BYTES) * 8) as f64 / seconds
}

async fn check_rate(name: &str, bytes: usize) {
    let mut network = named(name);
    // A loss at the end would be counted as a slow link.
    network.profile.loss_ppm = 0;
    let wanted = network.profile.down_bits as f64;
    let waits = [0, 150, 300].map(Duration::from_millis);
    let mut rates = join_all(waits.map(|wait| download(network.clone(), bytes, wait))).await;
    rates.sort_by(f64::total_cmp);
    eprintln!("{name}: {:.0} kbit/s, wanted {:.0}", rates[1] / 1e3, wanted / 1e3);
    assert!((rates[1] / wanted - 1.0).abs() < 0.05, "{name}: {rates:?} instead of {wanted}");
}

/// Guarantees rates of downloads within 5 %, a second each of wifi, lte and edge.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rates_of_downloads() {
    let (wifi, lte, edge) = (3_750_000, 1_500_000, 30_000);
    tokio::join!(check_rate("wifi", wifi), check_rate("lte", lte), check_rate("edge", edge));
}
