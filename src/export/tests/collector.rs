//! A collector on loopback: OTLP over gRPC and HTTP on one port, answering as scripted.

use super::CEILING;
use crate::wire::otlp::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse, Span,
};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use parking_lot::Mutex;
use prost::Message;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tonic::codec::CompressionEncoding;

/// What the collector does with a request.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    Accept,
    Reject(i64),
    /// A gRPC code and the HTTP status that goes with it; with the seconds to wait, over HTTP.
    Fail(tonic::Code, u16, Option<&'static str>),
    Mute,
}

/// A request as it came in.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) request: ExportTraceServiceRequest,
    pub(super) key: String,
    pub(super) compressed: bool,
}

type Script = dyn Fn(usize) -> Reply + Send + Sync;

/// The collector. Its script gets the number of the request, from 0.
#[derive(Clone)]
pub(super) struct FakeCollector {
    pub(super) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    script: Arc<Script>,
}

impl Seen {
    pub(super) fn spans(&self) -> Vec<Span> {
        let scopes = self.request.resource_spans.iter().flat_map(|r| &r.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }
}

// === impl FakeCollector ===

impl FakeCollector {
    pub(super) async fn start<F>(script: F) -> Self
    where
        F: Fn(usize) -> Reply + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let collector = Self::new(format!("http://{address}"), script);
        let router = collector.router();
        drop(tokio::spawn(async move { axum::serve(listener, router).await }));
        collector
    }

    pub(super) fn new<F>(url: String, script: F) -> Self
    where
        F: Fn(usize) -> Reply + Send + Sync + 'static,
    {
        Self { url, seen: Arc::default(), script: Arc::new(script) }
    }

    /// Both transports.
    pub(super) fn router(&self) -> Router {
        let service = TraceServiceServer::new(self.clone())
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip);
        let grpc = tonic::service::Routes::new(service).prepare().into_axum_router();
        Router::new().route("/v1/traces", post(take)).with_state(self.clone()).merge(grpc)
    }

    /// The requests, as soon as there are `count`.
    pub(super) async fn requests(&self, count: usize) -> Vec<Seen> {
        let waiting = async {
            while self.seen.lock().len() < count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            self.seen.lock().clone()
        };
        tokio::time::timeout(CEILING, waiting).await.expect("the requests in time")
    }

    fn note(&self, seen: Seen) -> Reply {
        let number = {
            let mut all = self.seen.lock();
            all.push(seen);
            all.len() - 1
        };
        (self.script)(number)
    }
}

fn answer(rejected: i64) -> ExportTraceServiceResponse {
    let partial = ExportTracePartialSuccess { rejected_spans: rejected, ..Default::default() };
    ExportTraceServiceResponse { partial_success: (rejected > 0).then_some(partial) }
}

// === gRPC ===

#[tonic::async_trait]
impl TraceService for FakeCollector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let word = |name: &str| {
            let value = request.metadata().get(name);
            value.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        let (key, compressed) = (word("x-api-key"), word("grpc-encoding") == "gzip");
        let reply = self.note(Seen { key, compressed, request: request.into_inner() });
        match reply {
            Reply::Accept => Ok(tonic::Response::new(answer(0))),
            Reply::Reject(spans) => Ok(tonic::Response::new(answer(spans))),
            Reply::Fail(code, _, _) => Err(tonic::Status::new(code, "key CANARY-KEY is no good")),
            Reply::Mute => std::future::pending().await,
        }
    }
}

// === HTTP ===

async fn take(State(collector): State<FakeCollector>, headers: HeaderMap, body: Bytes) -> Response {
    let word = |name: &str| {
        let value = headers.get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let mut plain = Vec::new();
    GzDecoder::new(&body[..]).read_to_end(&mut plain).expect("a gzip body");
    let request = ExportTraceServiceRequest::decode(&plain[..]).expect("an OTLP request");
    let (key, compressed) = (word("x-api-key"), word("content-encoding") == "gzip");
    assert_eq!(word("content-type"), "application/x-protobuf");
    match collector.note(Seen { request, key, compressed }) {
        Reply::Accept => answer(0).encode_to_vec().into_response(),
        Reply::Reject(spans) => answer(spans).encode_to_vec().into_response(),
        Reply::Fail(_, status, after) => {
            let status = StatusCode::from_u16(status).expect("a status");
            let after = after.map(|seconds| [("retry-after", seconds)]);
            match after {
                Some(header) => (status, header, "").into_response(),
                None => (status, "key CANARY-KEY is no good").into_response(),
            }
        }
        Reply::Mute => std::future::pending().await,
    }
}
