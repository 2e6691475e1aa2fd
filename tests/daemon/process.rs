//! The binary as a child process on free ports, in a folder of the test's.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A running daemon; killed when dropped.
pub struct Daemon {
    child: Child,
    /// Base address of the page and API.
    pub page: String,
    /// Base address of OTLP over HTTP.
    pub otlp_http: String,
    /// What it logged so far.
    pub logs: Arc<Mutex<String>>,
}

/// What a condition may take at most.
const CEILING: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

/// Writes the process's settings: free ports, logs that this module can read, and `more`.
pub fn configure(dir: &Path, more: &str) {
    let settings = format!(
        "listen: 127.0.0.1:0\notlp: {{ grpc: 127.0.0.1:0, http: 127.0.0.1:0 }}\nlog: {{ format: json }}\n{more}\n"
    );
    std::fs::write(dir.join("radiosonde.yaml"), settings).unwrap();
}

impl Daemon {
    /// Starts the binary in a configured folder; it listens when this returns, and may not be ready.
    pub fn listening(dir: &Path) -> Self {
        Self::listening_with(dir, &[])
    }

    /// The same with more in its environment.
    pub fn listening_with(dir: &Path, environment: &[(String, String)]) -> Self {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let mut child = Command::new(env!("CARGO_BIN_EXE_radiosonde"))
            .arg("run")
            .current_dir(dir)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = String::new();
        let addresses = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let parsed: Option<Value> = serde_json::from_str(&line).ok();
            said.push_str(&line);
            said.push('\n');
            parsed.map(|line| line["fields"].clone()).filter(|f| f["message"] == "listening")
        });
        let Some(addresses) = addresses else { panic!("the daemon did not start:\n{said}") };
        // The pipe is read to its end, or the daemon would wait for us.
        let logs = Arc::new(Mutex::new(said));
        let more = Arc::clone(&logs);
        let keep = move |line: String| {
            println!("{line}");
            let mut logs = more.lock().unwrap();
            logs.push_str(&line);
            logs.push('\n');
        };
        drop(std::thread::spawn(move || lines.map_while(Result::ok).for_each(keep)));
        let base = |name: &str| format!("http://{}", addresses[name].as_str().unwrap());
        Self { child, page: base("page"), otlp_http: base("otlp_http"), logs }
    }

    /// Starts the binary and waits until it is ready.
    pub async fn ready(dir: &Path) -> Self {
        let daemon = Self::listening(dir);
        daemon.until("ready", async || daemon.status("/-/ready").await == 200).await;
        daemon
    }

    /// The status of an answer.
    pub async fn status(&self, path: &str) -> u16 {
        reqwest::get(format!("{}{path}", self.page)).await.unwrap().status().as_u16()
    }

    /// The text of an answer.
    pub async fn text(&self, path: &str) -> String {
        reqwest::get(format!("{}{path}", self.page)).await.unwrap().text().await.unwrap()
    }

    /// The JSON of an answer.
    pub async fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.text(path).await).unwrap()
    }

    /// The value of a metric whose line begins with `name` and holds all of `labels`; 0 without one.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = self.text("/metrics").await;
        let fits = |line: &&str| line.starts_with(name) && labels.iter().all(|l| line.contains(l));
        let line = text.lines().find(fits);
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0)
    }

    /// Waits for a condition.
    pub async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let waiting = async {
            while !holds().await {
                tokio::time::sleep(PAUSE).await;
            }
        };
        assert!(tokio::time::timeout(CEILING, waiting).await.is_ok(), "never came: {what}");
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        let _ = self.child.wait().unwrap();
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits until it has ended by itself; its exit code.
    pub async fn ended(mut self) -> Option<i32> {
        for _ in 0..CEILING.as_millis() / PAUSE.as_millis() {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("the daemon does not end");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
