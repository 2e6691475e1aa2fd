//! Export against a collector on loopback that speaks both transports.

mod collector;
mod own_spans;
mod sending;

use super::{Config, Protocol};
use crate::base::secret::Secret;
use crate::model::probe::ProbeRun;
use crate::wire::probe_spans::{encode, tests::sample_run};
use std::time::Duration;

/// Longer than any test should take; a wait that gets here has failed.
const CEILING: Duration = Duration::from_secs(60);

fn config(endpoint: &str, protocol: Protocol) -> Config {
    let headers = vec![("x-api-key".to_owned(), Secret::new("CANARY-KEY"))];
    Config { endpoint: endpoint.to_owned(), protocol, headers, timeout: CEILING }
}

/// A run of three spans or more that is told from others by its number.
fn run(number: u8) -> ProbeRun {
    let mut run = sample_run();
    run.id.0 = [number; 16];
    run
}

fn spans_of(run: &ProbeRun) -> usize {
    let request = encode(run);
    request.resource_spans.iter().flat_map(|r| &r.scope_spans).map(|s| s.spans.len()).sum()
}
