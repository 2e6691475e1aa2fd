//! gRPC on the port of everything else: health, a chat, and reflection, by which clients learn what
//! the chat's messages look like.
//!
//! ```proto
//! package demo;
//! message Line { string id = 1; string text = 2; }
//! service Chat {
//!   rpc Echo(Line) returns (Line);
//!   rpc Follow(Line) returns (stream Line);   // a greeting, then what is said in all rooms
//! }
//! ```

mod codec;
mod reflection;

use super::hub::Message as Said;
use super::{MAX_BODY, Service};
use crate::probe::grpc::messages::{
    HealthCheckRequest, HealthCheckResponse, ReflectionRequest, ServingStatus,
};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use codec::Prost;
use futures::stream::{self, Stream, StreamExt};
use prost::Message;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tonic::server::Grpc;
use tonic::{Status, Streaming};

/// `demo.Line`.
#[derive(Clone, PartialEq, Message)]
struct Line {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    text: String,
}

/// The methods, each under the path by which gRPC calls it.
pub(super) fn routes() -> Router<Service> {
    Router::new()
        .route("/grpc.health.v1.Health/Check", post(check))
        .route("/demo.Chat/Echo", post(echo))
        .route("/demo.Chat/Follow", post(follow))
        .route("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", post(reflect))
}

/// `Health/Check`: for load balancers; the weather does not reach it.
async fn check(request: Request) -> Response {
    let answer = tower::service_fn(|asked: tonic::Request<HealthCheckRequest>| async move {
        let service = asked.into_inner().service;
        if !service.is_empty() && service != reflection::CHAT {
            return Err(Status::not_found("no such service"));
        }
        Ok(tonic::Response::new(HealthCheckResponse { status: ServingStatus::Serving.into() }))
    });
    grpc().unary(answer, request).await.map(Body::new)
}

/// `Chat/Echo`: the same line again, unless the script wants it otherwise.
async fn echo(State(service): State<Service>, request: Request) -> Response {
    let Ok(_held) = service.0.in_flight.try_acquire() else { return busy().into_http() };
    let answer = tower::service_fn(|line: tonic::Request<Line>| {
        let is_faulty = service.happens(service.0.conditions.error_ratio());
        async move {
            if is_faulty {
                return Err(Status::unavailable("something went wrong"));
            }
            Ok(tonic::Response::new(line.into_inner()))
        }
    });
    grpc().unary(answer, request).await.map(Body::new)
}

/// `Chat/Follow`: a greeting, so that a client can tell a quiet stream from a dead one, then every
/// message of every room.
async fn follow(State(service): State<Service>, request: Request) -> Response {
    let answer = tower::service_fn(|_: tonic::Request<Line>| {
        let service = service.clone();
        async move {
            let held = service.admit_stream().ok_or_else(busy)?;
            let (_, live) = service.0.hub.follow(None);
            let hello = Line { id: String::new(), text: "hello".to_owned() };
            let lines = stream::once(async { Ok(hello) }).chain(following(live));
            Ok::<_, Status>(tonic::Response::new(until_the_end(lines, held, &service)))
        }
    });
    grpc().server_streaming(answer, request).await.map(Body::new)
}

/// Reflection: an answer to every question until the client has no more.
async fn reflect(State(service): State<Service>, request: Request) -> Response {
    let answer = tower::service_fn(|asked: tonic::Request<Streaming<ReflectionRequest>>| {
        let service = service.clone();
        async move {
            let held = service.admit_stream().ok_or_else(busy)?;
            let answers = asked.into_inner().map(|ask| ask.map(|ask| reflection::answer(&ask)));
            Ok::<_, Status>(tonic::Response::new(until_the_end(answers, held, &service)))
        }
    });
    grpc().streaming(answer, request).await.map(Body::new)
}

/// The stream until the back end ends; `held` is its place among the open ones.
fn until_the_end<S: Stream>(
    stream: S,
    held: OwnedSemaphorePermit,
    service: &Service,
) -> impl Stream<Item = S::Item> + use<S> {
    let shutdown = service.0.shutdown.clone();
    stream.take_until(async move { shutdown.begun().await }).map(move |item| {
        let _held = &held;
        item
    })
}

fn following(live: broadcast::Receiver<Arc<Said>>) -> impl Stream<Item = Result<Line, Status>> {
    stream::unfold(live, |mut live| async {
        match live.recv().await {
            Ok(said) => {
                let line = Line { id: said.id.clone(), text: said.json.clone() };
                Some((Ok(line), live))
            }
            Err(RecvError::Lagged(missed)) => {
                Some((Err(Status::data_loss(format!("{missed} messages were missed"))), live))
            }
            Err(RecvError::Closed) => None,
        }
    })
}

fn busy() -> Status {
    Status::resource_exhausted("too many requests at once")
}

fn grpc<T, U>() -> Grpc<Prost<T, U>>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    Grpc::new(Prost::new()).apply_max_message_size_config(Some(MAX_BODY), None)
}

#[cfg(test)]
mod tests {
    use super::super::start_backend;
    use crate::base::clock::Clock;
    use crate::base::shutdown::Shutdown;
    use crate::config::load_embedded;
    use crate::demo::conditions::{Conditions, Fault};
    use crate::demo::files::aimed_at;
    use crate::model::probe::{FailureReason, Outcome, ProbeRun};
    use crate::probe::{Context, SlotStart, run_once};
    use crate::telemetry::Telemetry;
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::net::TcpListener;

    /// Runs the shipped probe of that name against a back end at `address`.
    async fn run(name: &str, address: SocketAddr) -> ProbeRun {
        let files = aimed_at(&[(crate::demo::DEFAULT_ADDRESS, address)]);
        let files: Vec<(&str, &str)> =
            files.iter().map(|(p, t)| (p.as_str(), t.as_str())).collect();
        let settings = load_embedded(&files, &|_| true).settings.expect("no mistakes");
        let probe = settings.probes.iter().find(|probe| probe.name == name).expect(name);
        let context = Context::new(Clock::system(), Telemetry::new());
        run_once(probe, SlotStart::now(&context.clock), &context).await
    }

    /// Guarantees that the shipped gRPC probes pass on a good day, and that on a bad one calls fail
    /// with a status while the health stays well.
    #[tokio::test]
    async fn the_shipped_probes_pass() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (conditions, shutdown) = (Arc::new(Conditions::calm()), Shutdown::new());
        shutdown.spawn(start_backend(listener, conditions.clone(), shutdown.clone()));
        for name in ["grpc-health", "grpc-echo", "grpc-follow"] {
            let run = run(name, address).await;
            assert_eq!(run.outcome, Outcome::Success, "{run:#?}");
        }
        conditions.begin(Fault::Errors { ratio: 1.0 });
        assert_eq!(run("grpc-health", address).await.outcome, Outcome::Success);
        let failure = run("grpc-echo", address).await.failure.expect("a bad day");
        assert_eq!(failure.reason, FailureReason::Status);
        assert!(failure.message.contains("UNAVAILABLE (something went wrong)"));
        assert!(shutdown.drain(Duration::from_secs(30)).await, "the back end ends");
    }
}
