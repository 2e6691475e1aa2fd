//! A real Alertmanager hears from the real daemon: of an alert that fires, and of its end.

#[expect(dead_code, reason = "other tests ask the daemon more")]
#[path = "metrics/daemon.rs"]
mod daemon;
#[path = "metrics/target.rs"]
mod target;

use daemon::{Daemon, free_port, wait_until};
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::Ordering;
use target::{Target, write};

/// Runs until it is dropped.
struct Alertmanager {
    child: Child,
    url: String,
}

impl Alertmanager {
    /// One that passes everything on to `webhook` at once.
    async fn start(dir: &Path, webhook: &str) -> Self {
        let config = format!(
            "route: {{ receiver: page, group_wait: 0s, group_interval: 1s, repeat_interval: 1h }}\n\
             receivers: [ {{ name: page, webhook_configs: [ {{ url: \"{webhook}\" }} ] }} ]\n"
        );
        write(dir, "alertmanager.yml", &config);
        let address = format!("127.0.0.1:{}", free_port());
        let child = Command::new("prometheus-alertmanager")
            .current_dir(dir)
            .args(["--config.file=alertmanager.yml", "--storage.path=alertmanager"])
            .args(["--cluster.listen-address=", "--log.level=warn"])
            .arg(format!("--web.listen-address={address}"))
            .spawn()
            .expect("prometheus-alertmanager, of the Debian package of that name");
        let alertmanager = Self { child, url: format!("http://{address}") };
        let ready = format!("{}/-/ready", alertmanager.url);
        wait_until("alertmanager is ready", async || {
            reqwest::get(&ready).await.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
        alertmanager
    }

    /// Alerts that it holds to be active.
    async fn active(&self) -> Vec<Value> {
        let answer = reqwest::get(format!("{}/api/v2/alerts", self.url)).await.expect("an answer");
        answer.json().await.expect("JSON")
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn statuses(target: &Target) -> Vec<String> {
    let paged = target.paged.lock();
    paged.iter().filter_map(|body| Some(body.get("status")?.as_str()?.to_owned())).collect()
}

/// Guarantees that an Alertmanager takes our firing alert with its labels, holds it active for as long
/// as it fires, and is told when it is over.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs prometheus-alertmanager"]
async fn alertmanager_hears_of_beginning_and_end() {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let dir = tempfile::tempdir().expect("a folder");
    let target = Target::start().await;
    let alertmanager = Alertmanager::start(dir.path(), &format!("{}/page", target.url)).await;
    let config = format!(
        "probes:
  - {{ name: sick, every: 200ms, http: {{ get: \"{}/sick\" }} }}
slos:
  - name: sick-up
    owner: messaging
    objective: 90%
    window: 10m
    availability: {{ probe: sick }}
    burn: [ {{ budget: 20%, long: 40s, short: 20s, severity: page }} ]
receivers:
  - {{ name: alertmanager, alertmanager: {{ url: \"{}\" }} }}
route: {{ receiver: alertmanager }}
",
        target.url, alertmanager.url
    );
    let _daemon = Daemon::start(dir.path(), &config).await;

    wait_until("the alert is active", async || !alertmanager.active().await.is_empty()).await;
    let active = alertmanager.active().await;
    let [alert] = active.as_slice() else { panic!("one alert: {active:#?}") };
    let label = |name: &str| alert["labels"][name].as_str().unwrap_or_default();
    assert_eq!(
        (label("alertname"), label("severity"), label("owner")),
        ("sick-up", "page", "messaging")
    );
    assert!(!alert["annotations"]["summary"].as_str().unwrap_or_default().is_empty(), "{alert:#}");
    wait_until("it is passed on", async || statuses(&target) == ["firing"]).await;

    target.healthy.store(true, Ordering::Release);
    wait_until("the alert is over", async || alertmanager.active().await.is_empty()).await;
    wait_until("its end is passed on", async || statuses(&target) == ["firing", "resolved"]).await;
}
