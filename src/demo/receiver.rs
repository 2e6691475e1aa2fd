//! The demo's pager: a webhook receiver that prints every notification it gets, so that the page
//! arrives in the terminal where the demo runs.

use super::narrator::{Narrator, Tone};
use crate::base::error::Chain;
use crate::base::shutdown::Shutdown;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use parking_lot::Mutex;
use serde::Deserialize;
use std::collections::{BTreeMap, VecDeque};
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// A notification's size, bytes.
const MAX_BODY: usize = 256 * 1024;
/// Alerts told of one notification; more are only counted.
const MAX_ALERTS: usize = 16;
/// Idempotency keys remembered.
const MAX_KEYS: usize = 256;
/// How long a delivery under way at shutdown may take.
const DRAIN: Duration = Duration::from_secs(1);

/// What we read of Alertmanager's webhook payload, version 4.
#[derive(Debug, Deserialize)]
struct Payload {
    #[serde(default)]
    alerts: Vec<Alert>,
}

#[derive(Debug, Deserialize)]
struct Alert {
    #[serde(default)]
    status: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

struct Pager {
    printer: Narrator,
    /// Delivery is at least once; these were told already.
    told: Mutex<VecDeque<String>>,
}

/// Receives webhooks on `listener`, at any path, and tells each once, until `shutdown` begins.
pub async fn receiver(listener: TcpListener, printer: Narrator, shutdown: Shutdown) {
    let pager = Arc::new(Pager { printer, told: Mutex::default() });
    let app = Router::new()
        .fallback(post(receive))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(pager);
    let signal = shutdown.clone();
    let serving = axum::serve(listener, app)
        .with_graceful_shutdown(async move { signal.begun().await })
        .into_future();
    let overdue = async {
        shutdown.begun().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        served = serving => if let Err(cause) = served {
            tracing::error!(error = %Chain(&cause), "the demo's webhook receiver ended");
        },
        () = overdue => {}
    }
}

async fn receive(State(pager): State<Arc<Pager>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let Ok(payload) = serde_json::from_slice::<Payload>(&body) else {
        return StatusCode::BAD_REQUEST;
    };
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
    if key.is_none_or(|key| pager.is_news(key)) {
        pager.tell(&payload);
    }
    StatusCode::OK
}

// === impl Pager ===

impl Pager {
    fn is_news(&self, key: &str) -> bool {
        let mut told = self.told.lock();
        if told.iter().any(|known| known == key) {
            return false;
        }
        if told.len() >= MAX_KEYS {
            drop(told.pop_front());
        }
        told.push_back(key.to_owned());
        true
    }

    fn tell(&self, payload: &Payload) {
        for alert in payload.alerts.iter().take(MAX_ALERTS) {
            self.printer.say(alert.tone(), &alert.sentence());
        }
        let untold = payload.alerts.len().saturating_sub(MAX_ALERTS);
        if untold > 0 {
            self.printer.say(Tone::Note, &format!("and {untold} more alerts"));
        }
    }
}

// === impl Alert ===

impl Alert {
    fn is_resolved(&self) -> bool {
        self.status == "resolved"
    }

    fn tone(&self) -> Tone {
        match self.labels.get("severity").map(String::as_str) {
            Some("page" | "ticket") if self.is_resolved() => Tone::Resolved,
            Some("page") => Tone::Page,
            Some("ticket") => Tone::Ticket,
            // The heartbeat and test messages wake nobody.
            _ => Tone::Note,
        }
    }

    /// `name fires: summary`, without a name that the summary itself begins with.
    fn sentence(&self) -> String {
        let name = self.labels.get("alertname").map_or("an alert", String::as_str);
        let text = ["summary", "description", "message"]
            .iter()
            .find_map(|key| self.annotations.get(*key))
            .filter(|text| !text.is_empty());
        let verb = match self.tone() {
            Tone::Note => "tells",
            _ if self.is_resolved() => "resolved",
            _ => "fires",
        };
        match text {
            Some(text) if text.starts_with(name) => text.clone(),
            Some(text) => format!("{name} {verb}: {text}"),
            None => format!("{name} {verb}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Clock;
    use crate::demo::narrator::Recorded;
    use serde_json::{Value, json};

    fn notification(status: &str, severity: &str, summary: &str) -> Value {
        json!({
            "version": "4",
            "status": status,
            "alerts": [{
                "status": status,
                "labels": { "alertname": "send-message", "severity": severity },
                "annotations": { "summary": summary },
            }],
        })
    }

    /// Guarantees one readable line a notification, told once however often it is delivered, and
    /// that the receiver ends when told to.
    #[tokio::test]
    async fn tells_each_notification_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/oncall", listener.local_addr().unwrap());
        let (recorded, shutdown) = (Recorded::default(), Shutdown::new());
        let narrator = Narrator::new(Box::new(recorded.clone()), Clock::system());
        shutdown.spawn(receiver(listener, narrator, shutdown.clone()));
        let client = crate::demo::loopback::client().unwrap();
        let post = async |key: &str, body: String| {
            let request = client.post(&url).header("idempotency-key", key).body(body);
            request.send().await.unwrap().status().as_u16()
        };
        let firing = notification("firing", "page", "ap-south explains 93 % of it").to_string();
        assert_eq!(post("i1/1", firing.clone()).await, 200);
        assert_eq!(post("i1/1", firing).await, 200);
        let resolved = notification("resolved", "page", "send-message is back after 1m");
        assert_eq!(post("i1/2", resolved.to_string()).await, 200);
        assert_eq!(post("h", notification("firing", "", "alive").to_string()).await, 200);
        assert_eq!(post("x", "not json".to_owned()).await, 400);
        let text = recorded.text();
        let lines: Vec<&str> = text.lines().map(|line| &line[8..]).collect();
        assert_eq!(
            lines,
            [
                "PAGE      send-message fires: ap-south explains 93 % of it",
                "RESOLVED  send-message is back after 1m",
                "          send-message tells: alive",
            ]
        );
        assert!(shutdown.drain(Duration::from_secs(20)).await);
    }

    /// Guarantees that the memory of what was told stays small.
    #[test]
    fn remembers_a_bounded_number_of_keys() {
        let narrator = Narrator::new(Box::new(Recorded::default()), Clock::system());
        let pager = Pager { printer: narrator, told: Mutex::default() };
        for key in 0..2 * MAX_KEYS {
            assert!(pager.is_news(&key.to_string()));
        }
        assert_eq!(pager.told.lock().len(), MAX_KEYS);
        assert!(!pager.is_news(&(2 * MAX_KEYS - 1).to_string()));
    }
}
