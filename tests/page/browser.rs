//! Chromium over its DevTools protocol: what is rendered, not what was written.

use serde_json::{Value, json};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use futures::{SinkExt, StreamExt};

const FLAGS: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
];

/// A browser with a profile of its own.
pub(crate) struct Browser {
    child: Child,
    // Deleted after the browser has ended.
    profile: TempDir,
    devtools: String,
}

/// A page of the browser, and what happened on it.
pub(crate) struct Tab {
    socket: WebSocketStream<TcpStream>,
    calls: u64,
    events: Vec<Value>,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// === impl Browser ===

impl Browser {
    pub(crate) async fn start() -> Self {
        let program = std::env::var("CHROMIUM").unwrap_or_else(|_| "chromium".to_owned());
        let profile = tempfile::tempdir().unwrap();
        let child = Command::new(&program)
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{program} does not start: {error}; set CHROMIUM"));
        let mut browser = Self { child, profile, devtools: String::new() };
        let port = browser.port().await;
        browser.devtools = format!("127.0.0.1:{port}");
        browser
    }

    /// The browser writes its port down once it listens.
    async fn port(&self) -> u16 {
        let file = self.profile.path().join("DevToolsActivePort");
        let port = |file: &Path| std::fs::read_to_string(file).ok()?.lines().next()?.parse().ok();
        crate::wait_for("the browser's port", async || port(&file)).await
    }

    pub(crate) async fn tab(&self) -> Tab {
        let url = format!("http://{}/json/new?about:blank", self.devtools);
        let answer = reqwest::Client::new().put(url).send().await.unwrap();
        let target: Value = answer.json().await.unwrap();
        let address = target["webSocketDebuggerUrl"].as_str().unwrap();
        let stream = TcpStream::connect(&self.devtools).await.unwrap();
        let (socket, _) = tokio_tungstenite::client_async(address, stream).await.unwrap();
        let mut tab = Tab { socket, calls: 0, events: Vec::new() };
        for domain in ["Page", "Runtime", "Log", "Network"] {
            let _ = tab.call(&format!("{domain}.enable"), json!({})).await;
        }
        tab
    }
}

// === impl Tab ===

impl Tab {
    /// The result of a DevTools method.
    pub(crate) async fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let call = json!({ "id": self.calls, "method": method, "params": params });
        self.socket.send(Message::text(call.to_string())).await.unwrap();
        loop {
            let message = self.message().await;
            if message["id"] == json!(self.calls) {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }

    async fn message(&mut self) -> Value {
        loop {
            let next = tokio::time::timeout(Duration::from_secs(60), self.socket.next());
            let message = next.await.expect("the browser is alive").unwrap().unwrap();
            if let Message::Text(text) = message {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    /// Loads a page; what happened on the one before is forgotten.
    pub(crate) async fn open(&mut self, url: &str) {
        self.events.clear();
        let _ = self.call("Page.navigate", json!({ "url": url })).await;
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let message = self.message().await;
            self.events.push(message);
        }
    }

    /// What happened since the page was opened.
    pub(crate) fn events(&self) -> &[Value] {
        &self.events
    }

    /// The value of a script's expression.
    pub(crate) async fn value(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true });
        let result = self.call("Runtime.evaluate", params).await;
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result:#}");
        result["result"]["value"].clone()
    }

    /// The size and the colours of the screen.
    pub(crate) async fn screen(&mut self, width: u32, scheme: &str) {
        let phone = width < 600;
        let height = if phone { 844 } else { 900 };
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone,
        });
        let _ = self.call("Emulation.setDeviceMetricsOverride", metrics).await;
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        let _ = self.call("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// Presses a key and lets it go.
    pub(crate) async fn press(&mut self, key: &str, code: u32) {
        for kind in ["rawKeyDown", "keyUp"] {
            let event =
                json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code });
            let _ = self.call("Input.dispatchKeyEvent", event).await;
        }
    }
}
