//! The beginning and the end of a daemon's life.

use super::phone::{SPANS, items, request, send};
use super::process::{Daemon, configure};

/// Guarantees that SIGTERM ends the daemon with code 0, that nothing acknowledged is lost, and that
/// the next start takes it from the checkpoint.
#[tokio::test(flavor = "multi_thread")]
async fn a_terminated_daemon_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), "");
    let daemon = Daemon::ready(dir.path()).await;
    send(&daemon, request(1)).await;
    daemon.signal("TERM");
    assert_eq!(daemon.ended().await, Some(0));
    assert!(dir.path().join("data/checkpoint").try_exists().unwrap());
    let daemon = Daemon::ready(dir.path()).await;
    assert_eq!(items(&daemon, "stored").await, SPANS);
}

/// Guarantees that a daemon which is not ready says so, and answers no question about state that is
/// half folded.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_answered_before_the_journal_is_folded() {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), "");
    let daemon = Daemon::ready(dir.path()).await;
    for number in 0..200 {
        send(&daemon, request(number)).await;
    }
    daemon.kill();
    let daemon = Daemon::listening(dir.path());
    daemon
        .until("ready", async || {
            // Asked in this order, so that an answer is of a daemon that was ready, or was not yet.
            let counted = items(&daemon, "stored").await;
            let ready = daemon.status("/-/ready").await == 200;
            let asked = daemon.status("/api/slos").await;
            assert!(asked == 200 || asked == 503, "{asked}");
            assert!(counted == 0 || counted == 200 * SPANS, "a counter that grows: {counted}");
            ready && counted > 0
        })
        .await;
}
