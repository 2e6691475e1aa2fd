//! Several subsystems together, without sockets and without sleeping: [`simulation`] on a simulated
//! clock, [`crash`] on a disk that fails, [`rebuild`] on damaged history.
//!
//! [`backend`] is what probes and phones find, [`phones`] what phones send of it, [`setup`] the
//! configuration, [`daemon`] a daemon whose steps a test takes, [`canonical`] how folded states are
//! compared.

mod backend;
mod canonical;
mod crash;
mod daemon;
mod phones;
mod rebuild;
mod setup;
mod simulation;

use crate::base::clock::UnixNanos;
use crate::model::probe::ProbeRun;
use crate::wire::probe_spans;
use crate::wire::record::{Envelope, Kind, Origin};
use prost::Message;

/// When every test begins: 2026-11-24T09:00:00Z.
const START: UnixNanos = UnixNanos(1_795_510_800_000_000_000);

/// A run as it is journaled.
fn envelope(run: &ProbeRun, at: UnixNanos) -> Envelope {
    let payload = probe_spans::encode(run).encode_to_vec().into();
    Envelope::new(Origin::Probe, Kind::Traces, at, payload)
}
