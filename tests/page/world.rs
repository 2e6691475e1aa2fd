//! The real daemon in a folder of its own, with a target that works and one that does not.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A daemon that has run its probes, and pages because of one of them.
pub(crate) struct World {
    child: Child,
    // Deleted after the daemon has ended.
    _folder: TempDir,
    /// Address of its page.
    pub(crate) page: String,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A target: `/fine` answers, `/broken` does not do its job.
async fn target() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let routes = Router::new()
        .route("/fine", get(|| async { "fine" }))
        .route("/broken", get(|| async { StatusCode::INTERNAL_SERVER_ERROR }));
    drop(tokio::spawn(async move { axum::serve(listener, routes).await }));
    port
}

impl World {
    pub(crate) async fn start() -> Self {
        // The client of this test speaks plain HTTP, but asks for a provider all the same.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let folder = tempfile::tempdir().unwrap();
        let [page, grpc, http] = [free_port(), free_port(), free_port()];
        let target = target().await;
        let probe = |name: &str| {
            format!(
                "  - name: {name}\n    every: 1s\n    timeout: 900ms\n    http: {{ get: \"http://127.0.0.1:{target}/{name}\", status: 200 }}\n"
            )
        };
        let slo = |name: &str| {
            format!(
                "  - name: {name}-up\n    owner: messaging\n    objective: 99%\n    window: 30m\n    availability: {{ probe: {name} }}\n    burn: [{{ budget: 25%, long: 2m, short: 20s, severity: page }}]\n"
            )
        };
        for (file, text) in [
            (
                "radiosonde.yaml",
                format!(
                    "listen: 127.0.0.1:{page}\notlp:\n  grpc: 127.0.0.1:{grpc}\n  http: 127.0.0.1:{http}\n"
                ),
            ),
            ("probes/all.yaml", format!("probes:\n{}{}", probe("fine"), probe("broken"))),
            ("alerts/all.yaml", format!("slos:\n{}{}", slo("fine"), slo("broken"))),
        ] {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let child = Command::new(env!("CARGO_BIN_EXE_radiosonde"))
            .args(["run", "--data", "data"])
            .current_dir(folder.path())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let page = format!("http://127.0.0.1:{page}");
        let world = Self { child, _folder: folder, page };
        crate::wait_for("an alert", async || world.incident().await).await;
        world
    }

    /// Something of the JSON API.
    async fn asked(&self, path: &str, pointer: &str) -> Option<String> {
        let answer = reqwest::get(format!("{}{path}", self.page)).await.ok()?;
        let value: serde_json::Value = answer.json().await.ok()?;
        value.pointer(pointer)?.as_str().map(str::to_owned)
    }

    /// The id of the incident.
    pub(crate) async fn incident(&self) -> Option<String> {
        self.asked("/api/alerts", "/alerts/0/id").await
    }

    /// The id of a failed run.
    pub(crate) async fn failed_run(&self) -> Option<String> {
        self.asked("/api/probes/broken", "/failed/0/id").await
    }

    /// How many bytes an answer has.
    pub(crate) async fn weight(&self, path: &str) -> usize {
        let answer = reqwest::get(format!("{}{path}", self.page)).await.unwrap();
        answer.bytes().await.unwrap().len()
    }
}
