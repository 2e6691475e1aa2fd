//! `kill -9`: what was acknowledged is there after a restart, exactly once.

use super::phone::{SPANS, items, request, send};
use super::process::{Daemon, configure};

const REQUESTS: u64 = 20;

/// Guarantees that every acknowledged span survives `kill -9`, that a repeated request after it counts
/// as duplicates, and that the equation of the ledger holds.
#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_spans_survive_exactly_once() {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), "");
    let daemon = Daemon::ready(dir.path()).await;
    let bodies: Vec<Vec<u8>> = (0..REQUESTS).map(request).collect();
    for body in &bodies {
        send(&daemon, body.clone()).await;
    }
    daemon.kill();

    let daemon = Daemon::ready(dir.path()).await;
    let all = SPANS * REQUESTS;
    daemon.until("all spans", async || items(&daemon, "stored").await == all).await;
    for body in &bodies {
        send(&daemon, body.clone()).await;
    }
    daemon.until("duplicates", async || items(&daemon, "duplicate").await == all).await;
    assert_eq!(items(&daemon, "stored").await, all);
    assert_eq!(items(&daemon, "received").await, 2 * all);
}
