//! The model on its own, in no time at all; then real sockets on loopback through it, as a user's
//! packets would go.

mod calibration;
mod link;
mod naming;
mod sockets;

use super::link::Link;
use super::profile::Profile;
use super::{Network, Path, RunNetwork};
use crate::base::clock::{Clock, MonoNanos};
use crate::model::probe::RunId;
use std::sync::Arc;
use std::time::Duration;

/// A network in which nothing is left to chance.
fn steady(round_trip: Duration, bits: u64) -> Network {
    let profile = Profile {
        name: "steady".into(),
        round_trip,
        jitter: Duration::ZERO,
        down_bits: bits,
        up_bits: bits,
        loss_ppm: 0,
        source: "a test".into(),
    };
    Network { profile, overlays: Vec::new(), seed: Some(1) }
}

fn named(name: &str) -> Network {
    Network::named(name, []).expect("built in")
}

/// The network of a run that begins now.
fn run(network: Network, clock: &Clock) -> RunNetwork {
    RunNetwork::new(&Arc::new(network), RunId([7; 16]), clock, clock.monotonic())
}

/// A path of a run with that seed.
fn path(network: &Network, seed: u64, clock: &Clock) -> Path {
    run(Network { seed: Some(seed), ..network.clone() }, clock).open([1; 8])
}

/// Both directions of a network in a run that began at zero.
fn links(network: &Network, seed: u64) -> (Link, Link) {
    let clock = Clock::manual(crate::base::clock::UnixNanos(0));
    let Path { up, down, .. } = path(network, seed, &clock);
    (up, down)
}

fn at(time: Duration) -> MonoNanos {
    MonoNanos(0).plus(time)
}
