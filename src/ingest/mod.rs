//! Floor 5: the OTLP front door over gRPC and HTTP.
//!
//! A request is admitted by its compressed size, inflated within a shared budget, decoded,
//! validated item by item, redacted, handed to a [`Sink`], and answered only when the sink has it
//! on disk. The promises, in the order in which a request meets them:
//!
//! - Nothing is decoded before it is admitted; inflated and decoded bytes share one budget, so a
//!   bomb is refused and an overload is answered with "retry later" instead of memory.
//! - One bad item never costs its batch: it is left out, counted, and named in `partial_success`.
//! - Attributes that the allow-list of [`redact`] does not name never reach the sink.
//! - Success means that the sink committed. Every refusal carries a `google.rpc.Status`; the ones
//!   that another attempt can mend are 503 or `UNAVAILABLE` with a delay, and never 429.
//!
//! What the signals mean is the fold's business; this floor knows their shape alone. Browsers
//! are not served across origins: there is no CORS here.

mod auth;
mod body;
mod budget;
mod config;
mod decode;
mod door;
mod grpc;
mod http;
mod inflate;
mod listener;
mod mend;
mod problem;
pub mod redact;
mod reply;
mod request;
mod rpc;
mod sink;
mod validate;
mod weigh;

pub use config::{Config, Token};
pub use redact::IdentityKey;
pub use request::{DecodedRequest, UNKNOWN_APP, app_of};
pub use sink::{Admitted, CommitError, Pressure, Refusal, Sink};

use crate::base::clock::Clock;
use crate::base::shutdown::Shutdown;
use crate::telemetry::Telemetry;
use std::sync::Arc;
use tokio::net::TcpListener;

/// The two sockets of the door.
#[derive(Debug)]
pub struct Listeners {
    /// OTLP/gRPC.
    pub grpc: TcpListener,
    /// OTLP/HTTP.
    pub http: TcpListener,
}

/// Serves OTLP on both sockets until `shutdown` begins; then takes no new
/// connection, lets the requests in flight finish, and returns. What is still running after ten
/// seconds is cut off unanswered.
pub async fn serve(
    config: Config,
    listeners: Listeners,
    sink: Arc<dyn Sink>,
    clock: Clock,
    telemetry: Telemetry,
    shutdown: Shutdown,
) {
    let door = Arc::new(door::Door::new(config, sink, clock, telemetry));
    let over_http = {
        let door = Arc::clone(&door);
        move |request| http::answer(Arc::clone(&door), request)
    };
    let over_grpc = move |request| grpc::answer(Arc::clone(&door), request);
    tokio::join!(
        listener::serve(listeners.http, listener::Protocol::HttpBoth, over_http, &shutdown),
        listener::serve(listeners.grpc, listener::Protocol::Http2, over_grpc, &shutdown),
    );
}

#[cfg(test)]
mod tests;
