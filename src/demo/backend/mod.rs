//! The sample real-time back end: chat rooms over WebSocket, a feed of everything over SSE, and a
//! REST API; and a little gRPC; an MQTT server and a name server on ports of their own. It is what the
//! shipped probes and the simulated phones talk to.
//!
//! It reads the [`Conditions`] at every request, so the script can break it while it runs. Rooms,
//! streams, kept messages and requests in flight all have limits; beyond them it answers 503.

mod chat;
mod datagrams;
mod feed;
mod grpc;
mod hub;
mod mqtt;
mod names;
#[cfg(feature = "http3")]
mod quic;
mod rest;
mod secure;
mod sockets;
mod updates;
#[cfg(feature = "webrtc")]
mod webrtc;

use super::conditions::Conditions;
use crate::base::clock::Clock;
use crate::base::error::Chain;
use crate::base::shutdown::Shutdown;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use hub::Hub;
pub use mqtt::{DEFAULT_MQTT_ADDRESS, start_mqtt};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{error, warn};

pub use names::{NAMES_ADDRESS, start_names};
pub use secure::{SECURE_ADDRESS, start_secure};
pub use sockets::TwinSockets;

/// Where the shipped probes expect the back end.
pub const DEFAULT_ADDRESS: &str = "127.0.0.1:7070";

/// The header in which a phone says where it is, as an edge would add it. Requests without it come
/// from next door.
pub const REGION_HEADER: &str = "x-client-region";

/// Open WebSockets and event streams.
const MAX_STREAMS: usize = 256;
/// REST requests being answered.
const MAX_IN_FLIGHT: usize = 512;
/// A request's body, bytes.
const MAX_BODY: usize = 16 * 1024;
/// How long requests that were being answered at shutdown may take.
const DRAIN: Duration = Duration::from_secs(2);
/// The back end's own luck: the same in every run.
const SEED: u64 = 7_070;

/// What every handler shares.
#[derive(Clone)]
struct Service(Arc<Shared>);

struct Shared {
    hub: Hub,
    conditions: Arc<Conditions>,
    clock: Clock,
    streams: Arc<Semaphore>,
    in_flight: Arc<Semaphore>,
    luck: Mutex<StdRng>,
    shutdown: Shutdown,
}

/// Serves the back end on `listener` until `shutdown` begins, and at most two seconds longer for
/// requests that are being answered. Streams end at once.
///
/// Routes: WebSocket `/chat` and `/rooms/{id}`; `POST` and `GET /rooms/{id}/messages`;
/// `GET /messages/{id}`; SSE `GET /feed`; long polling `GET /rooms/{id}/updates`; `GET /health`; gRPC `demo.Chat`, health and reflection;
/// `POST /webrtc`, where the build has it. On loopback, datagrams to the same address are answered as well.
pub async fn start_backend(listener: TcpListener, conditions: Arc<Conditions>, shutdown: Shutdown) {
    let clock = Clock::system();
    let service = Service(Arc::new(Shared {
        hub: Hub::new(clock.clone()),
        conditions,
        clock,
        streams: Arc::new(Semaphore::new(MAX_STREAMS)),
        in_flight: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
        luck: Mutex::new(StdRng::seed_from_u64(SEED)),
        shutdown: shutdown.clone(),
    }));
    shutdown.spawn(datagrams::serve_datagrams(listener.local_addr(), shutdown.clone()));
    // Small messages both ways: without this they wait for delayed acknowledgements.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            warn!(error = &error as &dyn std::error::Error, "cannot set nodelay");
        }
    });
    let signal = shutdown.clone();
    let serving = axum::serve(listener, router(service))
        .with_graceful_shutdown(async move { signal.begun().await })
        .into_future();
    let overdue = async {
        shutdown.begun().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        served = serving => if let Err(cause) = served {
            error!(error = %Chain(&cause), "the sample back end ended");
        },
        () = overdue => warn!("the sample back end left requests unanswered"),
    }
}

fn router(service: Service) -> Router {
    let rest = Router::new()
        .route("/rooms/{id}/messages", post(rest::publish).get(rest::history))
        .route("/messages/{id}", get(rest::message))
        .route_layer(from_fn_with_state(service.clone(), rest::weather));
    let router = Router::new();
    #[cfg(feature = "webrtc")]
    let router = router.merge(webrtc::routes(&service));
    router
        .route("/chat", get(chat::echo))
        .route("/rooms/{id}", get(chat::room))
        .route("/feed", get(feed::feed))
        .route("/rooms/{id}/updates", get(updates::updates))
        .route("/health", get(rest::health))
        .merge(rest)
        .merge(grpc::routes())
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(service)
}

// === impl Service ===

impl Service {
    /// A place among the open streams, held as long as the stream lives; `None` when all are taken.
    fn admit_stream(&self) -> Option<OwnedSemaphorePermit> {
        self.0.streams.clone().try_acquire_owned().ok()
    }

    /// True in `ratio` of all calls.
    fn happens(&self, ratio: f64) -> bool {
        ratio > 0.0 && self.0.luck.lock().random_bool(ratio.min(1.0))
    }

    /// `typical`, give or take three tenths.
    fn about(&self, typical: Duration) -> Duration {
        typical.mul_f64(self.0.luck.lock().random_range(0.7..=1.3))
    }
}

#[cfg(test)]
mod tests;
