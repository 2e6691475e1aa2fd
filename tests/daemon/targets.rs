//! One probe for many targets: from files that change, and from a service that does.

use super::process::{Daemon, configure};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

fn write(dir: &Path, file: &str, text: &str) {
    let path = dir.join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    // Whole or not at all, as whoever makes such files does it.
    let aside = path.with_extension("new");
    std::fs::write(&aside, text).unwrap();
    std::fs::rename(aside, path).unwrap();
}

async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(tokio::spawn(async move { axum::serve(listener, router).await }));
    address
}

async fn target() -> String {
    serve(Router::new().route("/up", get(|| async {}))).await
}

/// The instances that ran, by /metrics, with how many good runs each had.
async fn ran(daemon: &Daemon) -> BTreeSet<String> {
    let text = daemon.text("/metrics").await;
    let runs = text.lines().filter(|line| line.starts_with("radiosonde_probe_runs_total"));
    let good = runs.filter(|line| line.contains("outcome=\"success\""));
    good.filter_map(|line| Some(line.split_once("target=\"")?.1.split('"').next()?.to_owned()))
        .collect()
}

/// Guarantees that a file of targets below the probes is no file of probes, that its targets run with its
/// labels and count for the SLO of the probe's name, that a change of it is taken without a restart, and
/// that one with a mistake changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_of_targets_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), "");
    let (one, two) = (target().await, target().await);
    let probe = "probes:
  - name: edge
    every: 500ms
    targets: [ files: [ \"targets/*.json\" ] ]
    http: { get: \"http://${target}/up\" }
slos:
  - { name: edge-up, objective: 99%, window: 1d, availability: { probe: edge } }
";
    write(dir.path(), "probes/edge.yaml", probe);
    let file = "probes/targets/edge.json";
    let listed = |target: &str| {
        format!(r#"[ {{ "targets": ["{target}"], "labels": {{ "zone": "blue" }} }} ]"#)
    };
    write(dir.path(), file, &listed(&one));
    let daemon = Daemon::ready(dir.path()).await;
    daemon.until("runs of the first", async || ran(&daemon).await.contains(&one)).await;
    let labels = ["probe=\"edge\"", "zone=\"blue\""];
    assert!(daemon.metric("radiosonde_probe_runs_total", &labels).await > 0.0);
    let gauge = async || daemon.metric("radiosonde_probe_targets{", &["probe=\"edge\""]).await;
    assert_eq!(gauge().await, 1.0);
    let total = async || daemon.json("/api/slos").await["slos"][0]["total"].as_u64().unwrap_or(0);
    daemon.until("what the SLO counts", async || total().await > 0).await;

    write(dir.path(), file, "[");
    let successful = "radiosonde_config_last_reload_successful";
    daemon.until("the refusal", async || daemon.metric(successful, &[]).await == 0.0).await;
    assert!(daemon.text("/").await.contains("targets/edge.json:1"));
    assert_eq!(gauge().await, 1.0);

    write(dir.path(), file, &listed(&one).replace("[\"", &format!("[\"{two}\", \"")));
    daemon.until("runs of the second", async || ran(&daemon).await.contains(&two)).await;
    assert_eq!(gauge().await, 2.0);
    write(dir.path(), "probes/targets/other.json", &listed("127.0.0.1:1"));
    daemon.until("a new file", async || gauge().await == 3.0).await;
    std::fs::remove_file(dir.path().join("probes/targets/other.json")).unwrap();
    write(dir.path(), file, &listed(&two));
    daemon.until("the end of the first", async || gauge().await == 1.0).await;
}

/// Guarantees that a running daemon follows a service that lists targets, keeps them while that fails, and
/// counts the failures.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_targets_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), "");
    let (one, two) = (target().await, target().await);
    let list = |targets: &[&String]| format!("[{{ \"targets\": {} }}]", serde_json::json!(targets));
    let answer = Arc::new(Mutex::new(Some(list(&[&one]))));
    let said = Arc::clone(&answer);
    let service = serve(Router::new().route(
        "/targets",
        get(move || async move {
            let body = said.lock().unwrap().clone().ok_or(StatusCode::BAD_GATEWAY)?;
            Ok::<_, StatusCode>(([("content-type", "application/json")], body))
        }),
    ));
    let probe = format!(
        "probes:
  - name: edge
    every: 500ms
    targets: {{ http: {{ url: \"http://{}/targets\", refresh: 1s }} }}
    http: {{ get: \"http://${{target}}/up\" }}
",
        service.await
    );
    write(dir.path(), "probes/edge.yaml", &probe);
    let daemon = Daemon::ready(dir.path()).await;
    daemon.until("runs of the first", async || ran(&daemon).await.contains(&one)).await;
    *answer.lock().unwrap() = None;
    let failures = "radiosonde_probe_discovery_failures_total{";
    let labels = ["probe=\"edge\"", "kind=\"http\""];
    daemon.until("failures", async || daemon.metric(failures, &labels).await >= 2.0).await;
    assert_eq!(daemon.metric("radiosonde_probe_targets{", &["probe=\"edge\""]).await, 1.0);
    let told = daemon.logs.lock().unwrap().matches("targets are not listed").count();
    assert_eq!(told, 1, "once for one change");
    let edge = daemon.json("/api/probes").await["probes"][0].clone();
    assert_eq!(edge["instances"], 1);
    assert!(edge["targets_problem"].as_str().unwrap().ends_with("status 502"), "{edge}");
    *answer.lock().unwrap() = Some(list(&[&two, &one]));
    daemon.until("runs of the second", async || ran(&daemon).await.contains(&two)).await;
    let run = reqwest::Client::new().post(format!("{}/api/probes/edge/run", daemon.page));
    assert_eq!(run.send().await.unwrap().status().as_u16(), 200);
    *answer.lock().unwrap() = Some("[]".to_owned());
    let gauge = async || daemon.metric("radiosonde_probe_targets{", &["probe=\"edge\""]).await;
    daemon.until("no target", async || gauge().await == 0.0).await;
    let run = reqwest::Client::new().post(format!("{}/api/probes/edge/run", daemon.page));
    assert_eq!(run.send().await.unwrap().status().as_u16(), 409);
}
