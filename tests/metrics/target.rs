//! What probes and notifications of a test meet: a server on loopback.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::any;
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
            .route("/page", any(page))
            .route("/refuse", any(|| async { StatusCode::BAD_REQUEST }));
        drop(tokio::spawn(async move { axum::serve(listener, router).await }));
        target
    }
}

/// Writes a file of the configuration.
pub fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(path, text).expect("a file");
}
