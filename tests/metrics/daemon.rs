//! The real binary in a folder of its own, on ports of its own.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Longer than any start or wait should take, even on a busy machine.
pub const CEILING: Duration = Duration::from_secs(120);

/// A daemon that runs until it is dropped.
pub struct Daemon {
    child: Child,
    /// Where page, API and /metrics are.
    pub page: String,
    /// Where OTLP over HTTP goes.
    pub otlp: String,
}

impl Daemon {
    /// Writes `radiosonde.yaml` with free ports, and starts the binary on the folder.
    pub async fn start(dir: &Path, settings: &str) -> Self {
        let [page, grpc, http] = [free_port(), free_port(), free_port()];
        let config = format!(
            "listen: 127.0.0.1:{page}\notlp:\n  grpc: 127.0.0.1:{grpc}\n  http: 127.0.0.1:{http}\n{settings}"
        );
        std::fs::write(dir.join("radiosonde.yaml"), config).expect("a file");
        let child = Command::new(env!("CARGO_BIN_EXE_radiosonde"))
            .args(["run", "--data", "data"])
            .current_dir(dir)
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the binary");
        let daemon = Self {
            child,
            page: format!("http://127.0.0.1:{page}"),
            otlp: format!("http://127.0.0.1:{http}"),
        };
        let ready = format!("{}/-/ready", daemon.page);
        wait_until("the daemon is ready", async || {
            reqwest::get(&ready).await.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
        daemon
    }

    /// The page of metrics.
    pub async fn metrics(&self) -> String {
        let answer = reqwest::get(format!("{}/metrics", self.page)).await.expect("an answer");
        assert_eq!(answer.status(), 200);
        assert_eq!(
            answer.headers().get("content-type").expect("a media type"),
            "text/plain; version=0.0.4; charset=utf-8"
        );
        answer.text().await.expect("UTF-8")
    }

    /// Sends OTLP/JSON; the daemon has it on disk then. `signal` is `traces`, `metrics` or `logs`.
    pub async fn send(&self, signal: &str, body: &serde_json::Value) {
        let request = reqwest::Client::new()
            .post(format!("{}/v1/{signal}", self.otlp))
            .header("content-type", "application/json")
            .body(body.to_string());
        let answer = request.send().await.expect("an answer");
        let status = answer.status();
        assert_eq!(status, 200, "{}", answer.text().await.unwrap_or_default());
    }

    /// Ends it as an operator would, and waits for it.
    pub async fn stop(mut self) {
        let pid = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(told.expect("kill").success());
        wait_until(
            "the daemon ends",
            async || matches!(self.child.try_wait(), Ok(Some(status)) if status.success()),
        )
        .await;
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody uses at the moment.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    listener.local_addr().expect("an address").port()
}

/// Asks again and again until the answer is yes.
pub async fn wait_until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let waited = tokio::time::timeout(CEILING, asking).await;
    assert!(waited.is_ok(), "not within {CEILING:?}: {what}");
}
