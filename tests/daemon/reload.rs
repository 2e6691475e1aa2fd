//! A new configuration: taken whole or not at all, noticed by itself.

use super::process::{Daemon, configure};
use serde_json::Value;
use std::path::Path;

const PROBE: &str = "probes:
  - name: home
    every: 1s
    timeout: 1s
    http: { get: \"http://TARGET/-/healthy\", status: 200 }
";

fn write(dir: &Path, file: &str, text: &str) {
    let path = dir.join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn slo(name: &str, indicator: &str) -> String {
    format!("  - {{ name: {name}, objective: 99%, window: 1d, {indicator} }}\n")
}

async fn find(daemon: &Daemon, name: &str) -> Option<Value> {
    let all = daemon.json("/api/slos").await;
    all["slos"].as_array()?.iter().find(|slo| slo["name"] == name).cloned()
}

async fn total(daemon: &Daemon, name: &str) -> u64 {
    find(daemon, name).await.and_then(|slo| slo["total"].as_u64()).unwrap_or(0)
}

/// Guarantees that a changed file is noticed without a signal; that a wrong one changes nothing, is
/// shown in a metric and on the page, and is forgotten when it is mended; and that an SLO which is
/// new counts what the journal holds from before.
#[tokio::test(flavor = "multi_thread")]
async fn files_are_watched_and_a_wrong_one_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    configure(other.path(), "");
    let target = Daemon::ready(other.path()).await;
    configure(dir.path(), "");
    write(dir.path(), "probes/home.yaml", &PROBE.replace("http://TARGET", &target.page));
    let up = format!("slos:\n{}", slo("home-up", "availability: { probe: home }"));
    write(dir.path(), "alerts/home.yaml", &up);
    let daemon = Daemon::ready(dir.path()).await;
    daemon.until("three runs", async || total(&daemon, "home-up").await >= 3).await;

    let fast = slo("home-fast", "latency: { probe: home, under: 500ms }");
    write(dir.path(), "alerts/home.yaml", &format!("{up}{fast}"));
    daemon.until("the new SLO", async || find(&daemon, "home-fast").await.is_some()).await;
    // Runs of its own may be counted before those of the past are.
    let since = async |name| find(&daemon, name).await.unwrap()["since"].clone();
    let has_a_past = async || since("home-fast").await == since("home-up").await;
    daemon.until("its past", has_a_past).await;
    assert!(total(&daemon, "home-fast").await >= 3);

    let successful = "radiosonde_config_last_reload_successful";
    write(dir.path(), "alerts/home.yaml", &format!("{up}  - nonsense\n"));
    daemon.until("the refusal", async || daemon.metric(successful, &[]).await == 0.0).await;
    assert!(daemon.text("/").await.contains("alerts/home.yaml:3"));
    assert!(find(&daemon, "home-fast").await.is_some(), "the one before stays in force");

    write(dir.path(), "alerts/home.yaml", &up);
    daemon.until("the removal", async || find(&daemon, "home-fast").await.is_none()).await;
    assert_eq!(daemon.metric(successful, &[]).await, 1.0);
    assert!(!daemon.text("/").await.contains("alerts/home.yaml:3"));
}

/// Guarantees that a hang-up reads the files anew, as does a request.
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_and_a_request_reload() {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), "");
    let daemon = Daemon::ready(dir.path()).await;
    let at = "radiosonde_config_last_reload_success_timestamp_seconds";
    let started = daemon.metric(at, &[]).await;
    daemon.signal("HUP");
    daemon.until("the reload", async || daemon.metric(at, &[]).await > started).await;
    let before = daemon.metric(at, &[]).await;
    let answer = reqwest::Client::new().post(format!("{}/-/reload", daemon.page)).send().await;
    assert!(answer.unwrap().status().is_success());
    assert!(daemon.metric(at, &[]).await > before);
}

/// Guarantees that files in folders which came after the start are noticed, and that a reload says which
/// settings wait for a restart, once, and when none does any more.
#[tokio::test(flavor = "multi_thread")]
async fn new_folders_are_noticed_and_what_waits_is_told() {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), "");
    write(dir.path(), "probes/home.yaml", &PROBE.replace("TARGET", "127.0.0.1:1"));
    let daemon = Daemon::ready(dir.path()).await;
    let other = PROBE.replace("TARGET", "127.0.0.1:1").replace("home", "away");
    write(dir.path(), "probes/team/away.yaml", &other);
    let probes = async || daemon.text("/api/probes").await;
    daemon.until("the other probe", async || probes().await.contains("away")).await;
    std::fs::remove_dir_all(dir.path().join("probes/team")).unwrap();
    daemon.until("its end", async || !probes().await.contains("away")).await;

    let told = async |words: &str| daemon.text("/api/changes").await.matches(words).count();
    configure(dir.path(), "journal: { bulk_keep: 48h }");
    daemon.until("what waits", async || told("waiting for a restart: journal").await == 1).await;
    write(dir.path(), "probes/home.yaml", &PROBE.replace("TARGET", "127.0.0.1:2"));
    daemon.until("a reload", async || told("a new configuration").await >= 3).await;
    assert_eq!(told("waiting for a restart: journal").await, 1);
    configure(dir.path(), "");
    daemon.until("its end", async || told("nothing waits for a restart").await == 1).await;
}
