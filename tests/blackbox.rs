//! `/probe` beside blackbox_exporter itself: the same module file, the same targets, the same names,
//! labels and verdicts.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[expect(dead_code, reason = "nothing is sent to this daemon")]
#[path = "metrics/daemon.rs"]
mod daemon;

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use daemon::{Daemon, free_port, wait_until};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

/// Metrics, and a label, that later versions have and Debian's does not.
const LATER: [&str; 4] = [
    "probe_failed_due_to_bytes",
    "probe_failed_due_to_cel",
    "probe_timeout_seconds",
    "probe_tls_cipher_info",
];

const MODULES: &str = r#"
modules:
  http_2xx: { prober: http, timeout: 5s, http: { preferred_ip_protocol: ip4 } }
  http_post_2xx: { prober: http, http: { method: POST } }
  http_body: { prober: http, http: { fail_if_body_not_matches_regexp: [ "^up$" ] } }
  http_not_ssl: { prober: http, http: { fail_if_not_ssl: true } }
  http_once: { prober: http, http: { follow_redirects: false } }
  tcp_connect: { prober: tcp }
  smtp:
    prober: tcp
    tcp:
      query_response:
        - { expect: "^220 ([a-z]+)", send: "EHLO ${1}" }
        - expect: "^250 hello mail"
"#;

/// Runs until it is dropped.
struct Exporter(Child, String);

impl Exporter {
    async fn start(file: &Path) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let child = Command::new("prometheus-blackbox-exporter")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--web.listen-address={address}"))
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus-blackbox-exporter, of the Debian package of that name");
        // Made at once, so that it is ended whatever happens from here on.
        let exporter = Self(child, format!("http://{address}"));
        let healthy = format!("{}/-/healthy", exporter.1);
        let answers = async || reqwest::get(&healthy).await.is_ok();
        wait_until("blackbox_exporter listens", answers).await;
        exporter
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn http() -> String {
    let router = Router::new()
        .route("/", get(|| async { "up" }).post(|| async { "made" }))
        .route("/down", get(|| async { (axum::http::StatusCode::BAD_GATEWAY, "down") }))
        .route("/moved", get(|| async { Redirect::temporary("/") }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(tokio::spawn(async move { axum::serve(listener, router).await }));
    address
}

async fn lines() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            drop(stream.write_all(b"220 mail ESMTP\r\n").await);
            let mut line = String::new();
            drop(stream.read_line(&mut line).await);
            drop(stream.write_all(b"250 hello mail\r\n").await);
        }
    }));
    address
}

/// Names with their labels, and those lines whose value does not depend on time.
async fn told(page: &str, query: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let answer = reqwest::get(format!("{page}/probe?{query}")).await.unwrap();
    assert_eq!(answer.status(), 200, "{query}");
    let text = answer.text().await.unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let lines = lines.filter(|line| !LATER.iter().any(|later| line.starts_with(later)));
    let lines: Vec<&str> = lines.collect();
    let name = |line: &&str| line.rsplit_once(' ').unwrap().0.to_owned();
    let value = |line: &&&str| !line.contains("seconds");
    let line = |line: &&str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        format!("{name} {}", value.parse::<f64>().unwrap())
    };
    (lines.iter().map(name).collect(), lines.iter().filter(value).map(line).collect())
}

/// Guarantees that a scrape job finds the same after it moved over by its port.
#[tokio::test]
#[ignore = "needs prometheus-blackbox-exporter"]
async fn both_tell_the_same() {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("probes");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("blackbox.yml");
    std::fs::write(&file, MODULES).unwrap();
    let (http, lines, nobody) = (http().await, lines().await, free_port());
    let exporter = Exporter::start(&file).await;
    let daemon = Daemon::start(dir.path(), "").await;
    for query in [
        format!("target={http}"),
        format!("target={http}&module=http_2xx"),
        format!("target=http://{http}/moved"),
        format!("target={http}/down"),
        format!("target={http}&module=http_post_2xx"),
        format!("target={http}&module=http_body"),
        format!("target={http}/down&module=http_body"),
        format!("target={http}&module=http_not_ssl"),
        format!("target={http}/moved&module=http_once"),
        format!("target=127.0.0.1:{nobody}"),
        format!("target={http}&module=tcp_connect"),
        format!("target=127.0.0.1:{nobody}&module=tcp_connect"),
        format!("target={lines}&module=smtp"),
    ] {
        let theirs = told(&exporter.1, &query).await;
        let ours = told(&daemon.page, &query).await;
        assert_eq!(theirs, ours, "{query}");
        assert!(ours.0.contains("probe_success"), "{query}");
    }
}
