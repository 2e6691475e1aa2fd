//! What probes and notifications of a test meet: a server on loopback.

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, Sse};
use axum::routing::any;
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The server.
#[derive(Clone, Default)]
pub struct Target {
    /// Where it listens.
    pub url: String,
    /// Whether `/sick` answers well.
    pub healthy: Arc<AtomicBool>,
    /// What was posted to `/page`.
    pub paged: Arc<Mutex<Vec<Value>>>,
}

impl Target {
    /// Starts a server on loopback.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let target = Self { url, ..Self::default() };
        let (healthy, paged) = (Arc::clone(&target.healthy), Arc::clone(&target.paged));
        let sick = move || async move {
            if healthy.load(Ordering::Acquire) { StatusCode::OK } else { StatusCode::BAD_GATEWAY }
        };
        let page = move |body: String| async move {
            paged.lock().push(serde_json::from_str(&body).unwrap_or_default());
        };
        let router = Router::new()
            .route("/well", any(|| async { "fine" }))
            .route("/sick", any(sick))
            .route("/feed", any(feed))
            .route("/page", any(page))
            .route("/refuse", any(|| async { StatusCode::BAD_REQUEST }));
        drop(tokio::spawn(async move { axum::serve(listener, router).await }));
        target
    }
}

/// A stream that never ends, and says at once whether whoever asks was there before.
async fn feed(
    headers: HeaderMap,
) -> Sse<impl futures::Stream<Item = Result<Event, std::convert::Infallible>>> {
    let again = headers.contains_key("last-event-id");
    let hello = Event::default().id("1").data(format!("{{\"again\":{again}}}"));
    Sse::new(stream::iter([Ok(hello)]).chain(stream::pending()))
}

/// Writes a file of the configuration.
pub fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(path, text).expect("a file");
}
