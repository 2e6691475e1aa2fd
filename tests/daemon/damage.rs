//! History that was damaged while the daemon was not there.

use super::phone::{SPANS, items, request, send};
use super::process::{Daemon, configure};
use std::path::Path;

/// Three hours in nanoseconds: so late that a request's block is closed by the next checkpoint.
const LATE: u64 = 10_800_000_000_000;

/// Names of what lies in the directory of history, its lock apart.
fn windows(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir.join("data/history")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name != "lock").collect();
    names.sort();
    names
}

async fn terminate(daemon: Daemon) {
    daemon.signal("TERM");
    assert_eq!(daemon.ended().await, Some(0));
}

/// Guarantees that the daemon starts on damaged history, sets it aside under another name, makes it
/// anew from its journal, and does so once; and that nothing it had counted has changed.
#[tokio::test(flavor = "multi_thread")]
async fn damaged_history_is_set_aside_and_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), "");
    let daemon = Daemon::ready(dir.path()).await;
    send(&daemon, request(LATE)).await;
    daemon.until("folded", async || items(&daemon, "stored").await == SPANS).await;
    terminate(daemon).await;
    let before = windows(dir.path());
    assert!(before.len() >= 2, "a window of each tier: {before:?}");
    for window in &before {
        let file = dir.path().join("data/history").join(window).join("db");
        std::fs::write(file, b"not a database").unwrap();
    }

    let daemon = Daemon::ready(dir.path()).await;
    assert_eq!(items(&daemon, "stored").await, SPANS);
    let settled = |window: &String| {
        let note = format!("data/history/{window}.broken-1/settled");
        dir.path().join(note).try_exists().unwrap()
    };
    daemon.until("made anew", async || before.iter().all(settled)).await;
    let after = windows(dir.path());
    assert!(before.iter().all(|window| after.contains(window)), "{before:?} {after:?}");
    terminate(daemon).await;

    let daemon = Daemon::ready(dir.path()).await;
    assert_eq!(items(&daemon, "stored").await, SPANS);
    assert_eq!(windows(dir.path()), after, "nothing more was set aside");
}
