//! OTLP 1.11, rule by rule, in raw requests.

use super::*;
use crate::base::secret::Secret;
use crate::ingest::inflate::tests::gzip;
use crate::ingest::rpc;
use crate::wire::otlp::ExportTraceServiceResponse;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use prost::Message;
use reqwest::{Method, StatusCode};
use tonic::Code;
use tonic::codec::CompressionEncoding;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// One request and what has to come back.
struct Case {
    method: Method,
    path: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    body: Vec<u8>,
    status: u16,
    /// Content type of the answer.
    answer: &'static str,
    /// A header that the answer has to have.
    header: Option<(&'static str, &'static str)>,
}

fn case(content_type: &'static str, body: impl Into<Vec<u8>>, status: u16) -> Case {
    Case {
        method: Method::POST,
        path: "/v1/traces",
        headers: vec![("content-type", content_type)],
        body: body.into(),
        status,
        answer: if content_type.to_ascii_lowercase().contains("json") { JSON } else { PROTOBUF },
        header: None,
    }
}

impl Case {
    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    fn at(mut self, method: Method, path: &'static str) -> Self {
        (self.method, self.path) = (method, path);
        self
    }

    fn answered_with(mut self, name: &'static str, value: &'static str) -> Self {
        self.header = Some((name, value));
        self
    }

    async fn check(self, house: &House, client: &reqwest::Client) {
        let shown = format!("{} {} {:?} -> {}", self.method, self.path, self.headers, self.status);
        let mut request = client.request(self.method, house.url(self.path)).body(self.body);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let response = request.send().await.expect(&shown);
        assert_eq!(response.status().as_u16(), self.status, "{shown}");
        assert_eq!(response.headers()["content-type"], self.answer, "{shown}");
        if let Some((name, value)) = self.header {
            assert_eq!(response.headers()[name], value, "{shown}");
        }
        let body = response.bytes().await.expect(&shown);
        if self.status < 400 {
            return;
        }
        let (code, message) = match self.answer {
            JSON => {
                let status: serde_json::Value = serde_json::from_slice(&body).expect(&shown);
                let code = status["code"].as_i64().expect(&shown) as i32;
                (code, status["message"].as_str().expect(&shown).to_owned())
            }
            _ => {
                let status = rpc::Status::decode(body).expect(&shown);
                (status.code, status.message)
            }
        };
        assert_ne!(code, 0, "{shown}");
        assert!(!message.is_empty(), "{shown}");
    }
}

fn cases() -> Vec<Case> {
    let proto = request(vec![span()]).encode_to_vec();
    let json = serde_json::to_vec(&request(vec![span()])).expect("serializes");
    let zstd = zstd::encode_all(proto.as_slice(), 3).expect("packs");
    let halves = proto.split_at(proto.len() / 2);
    let members = [gzip(halves.0), gzip(halves.1)].concat();
    let marked = [b"\xef\xbb\xbf".as_slice(), &json].concat();
    vec![
        case(PROTOBUF, proto.clone(), 200),
        case("application/x-protobuf; charset=utf-8", proto.clone(), 200),
        case("Application/X-Protobuf", proto.clone(), 200),
        case(JSON, json.clone(), 200),
        case("APPLICATION/JSON;charset=UTF-8", json.clone(), 200),
        case(JSON, marked, 200),
        case(PROTOBUF, gzip(&proto), 200).with("content-encoding", "gzip"),
        case(PROTOBUF, members, 200).with("content-encoding", "GZIP"),
        case(JSON, gzip(&json), 200).with("content-encoding", "gzip"),
        case(PROTOBUF, zstd, 200).with("content-encoding", "zstd"),
        case(PROTOBUF, proto.clone(), 200).with("content-encoding", "identity"),
        // Empty requests succeed.
        case(PROTOBUF, "", 200),
        case(PROTOBUF, "", 200).at(Method::POST, "/v1/metrics"),
        case(PROTOBUF, "", 200).at(Method::POST, "/v1/logs").with("content-encoding", "gzip"),
        case(JSON, "{}", 200),
        // Unknown fields are ignored.
        case(JSON, r#"{"resource_spans":[],"x":{"y":[null]}}"#, 200),
        // Not decodable: 400, which is not retryable.
        case(PROTOBUF, "not protobuf", 400),
        case(JSON, "", 400),
        case(JSON, "[]", 400),
        case(JSON, "{", 400),
        case(JSON, r#"{"resourceSpans":7}"#, 400),
        case(JSON, r#"{} trailing"#, 400),
        case(JSON, proto.clone(), 400),
        case(PROTOBUF, proto.clone(), 400).with("content-encoding", "gzip"),
        case(PROTOBUF, [gzip(&proto), b"tail".to_vec()].concat(), 400)
            .with("content-encoding", "gzip"),
        // Nested beyond reason, in a field that nobody reads: passed over without recursion.
        case(JSON, [b"{\"x\":".repeat(500), b"1".to_vec(), b"}".repeat(500)].concat(), 200),
        case(PROTOBUF, proto.clone(), 404).at(Method::POST, "/v1/profiles"),
        case(JSON, json.clone(), 404).at(Method::POST, "/v1/traces/"),
        case(JSON, json.clone(), 404).at(Method::GET, "/"),
        case(PROTOBUF, "", 405).at(Method::GET, "/v1/traces").answered_with("allow", "POST"),
        case(JSON, "", 405).at(Method::PUT, "/v1/logs").answered_with("allow", "POST"),
        case(JSON, "", 405).at(Method::OPTIONS, "/v1/metrics").answered_with("allow", "POST"),
        case("text/plain", proto.clone(), 415),
        case("", proto.clone(), 415),
        case(PROTOBUF, proto.clone(), 415)
            .with("content-encoding", "br")
            .answered_with("accept-encoding", "identity,gzip,zstd"),
        case(JSON, json.clone(), 415).with("content-encoding", "gzip, gzip"),
    ]
}

/// Guarantees status, content type, headers and status body of every kind of HTTP answer, over
/// HTTP/1.1 and over HTTP/2.
#[tokio::test(flavor = "multi_thread")]
async fn every_answer_over_http() {
    let house = House::open().await;
    let http1 = reqwest::Client::new();
    let http2 = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    for client in [&http1, &http2] {
        for case in cases() {
            case.check(&house, client).await;
        }
    }
    let stored = 2 * cases().iter().filter(|case| case.status == 200).count() - 2 * 6;
    assert_eq!(house.sink.counts(), (stored as u64, 0));
    assert!(house.sink.refused.lock().is_empty());
}

/// Guarantees that tokens are asked for on both transports, and that the sender's name is noted.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_asked_for() {
    let token = Token { name: "ios".to_owned(), secret: Secret::new("s3cret") };
    let house = House::with(|config| config.tokens.push(token)).await;
    let client = reqwest::Client::new();
    let body = request(vec![span()]).encode_to_vec();
    for case in [
        case(PROTOBUF, body.clone(), 401).answered_with("www-authenticate", "Bearer"),
        case(JSON, "{", 401).with("authorization", "Bearer wrong"),
        // A bad token comes before a bad type.
        case("text/plain", body.clone(), 401).with("authorization", "Basic s3cret"),
        case(PROTOBUF, body.clone(), 200).with("authorization", "Bearer s3cret"),
    ] {
        case.check(&house, &client).await;
    }
    let mut grpc = grpc(&house).await;
    let refused = grpc.export(request(vec![span()])).await.expect_err("no token");
    assert_eq!(refused.code(), Code::Unauthenticated);
    let mut call = tonic::Request::new(request(vec![span()]));
    let _ = call.metadata_mut().insert("authorization", "Bearer s3cret".parse().expect("ascii"));
    let _ = grpc.export(call).await.expect("a known token");
    let admitted = house.sink.admitted.lock();
    let senders: Vec<_> =
        admitted.iter().map(|admitted| admitted.envelope.sender.as_str()).collect();
    assert_eq!(senders, ["ios", "ios"]);
}

async fn grpc(house: &House) -> TraceServiceClient<tonic::transport::Channel> {
    TraceServiceClient::connect(format!("http://{}", house.grpc)).await.expect("connects")
}

/// Guarantees that gRPC takes messages plain, in gzip and in zstd, and refuses with the right
/// codes what it does not serve.
#[tokio::test(flavor = "multi_thread")]
async fn every_answer_over_grpc() {
    let house = House::open().await;
    let mut plain = grpc(&house).await;
    let response = plain.export(request(vec![span()])).await.expect("taken").into_inner();
    assert_eq!(response, ExportTraceServiceResponse { partial_success: None });
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let mut packed = grpc(&house).await.send_compressed(encoding).accept_compressed(encoding);
        let _ = packed.export(request(vec![span()])).await.expect("taken");
    }
    let _ = plain.export(ExportTraceServiceRequest::default()).await.expect("empty is fine");
    assert_eq!(house.sink.counts(), (3, 0));

    let client = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    let traces = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    for (path, encoding, body, code) in [
        ("/opentelemetry.proto.collector.trace.v1.TraceService/Import", "gzip", vec![0; 5], "12"),
        ("/v1/traces", "gzip", vec![0; 5], "12"),
        (traces, "br", vec![0; 5], "12"),
        (traces, "gzip", vec![0, 0, 0, 0, 1, 9], "3"),
        (traces, "gzip", vec![1, 0, 0, 0, 1, 9], "3"),
        (traces, "gzip", vec![], "3"),
    ] {
        let call = client
            .post(format!("http://{}{path}", house.grpc))
            .header("content-type", "application/grpc+proto")
            .header("grpc-encoding", encoding)
            .body(body);
        let response = call.send().await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK, "{path} {encoding}");
        assert_eq!(response.headers()["grpc-status"], code, "{path} {encoding}");
        assert_eq!(response.headers()["grpc-accept-encoding"], "identity,gzip,zstd");
    }
    let web = client.post(format!("http://{}{traces}", house.grpc));
    let response = web.header("content-type", "application/grpc-web").send().await;
    assert_eq!(response.expect("an answer").status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

/// Guarantees that bad items are counted and named while the good ones are stored, in protobuf,
/// JSON and gRPC alike, and that a request of bad items alone still reaches the ledger.
#[tokio::test(flavor = "multi_thread")]
async fn partial_success_counts_true() {
    let house = House::open().await;
    let bad = Span { trace_id: vec![], ..span() };
    let late = Span { end_time_unix_nano: 1, ..span() };
    let mixed = request(vec![span(), bad.clone(), late, span(), bad.clone()]);
    let client = reqwest::Client::new();
    let post = |content_type, body| {
        let request = client.post(house.url("/v1/traces")).header("content-type", content_type);
        request.body::<Vec<u8>>(body).send()
    };
    let expected = "3 of 5 spans rejected: trace id is not 16 bytes, or zero (2); \
                    end is before start (1)";

    let response = post(PROTOBUF, mixed.encode_to_vec()).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::OK);
    let response = ExportTraceServiceResponse::decode(response.bytes().await.expect("a body"));
    let partial = response.expect("decodes").partial_success.expect("is partial");
    assert_eq!((partial.rejected_spans, partial.error_message.as_str()), (3, expected));

    let json = serde_json::to_vec(&mixed).expect("serializes");
    let response = post(JSON, json).await.expect("an answer");
    let response: serde_json::Value = response.json().await.expect("JSON");
    let partial = serde_json::json!({ "rejectedSpans": "3", "errorMessage": expected });
    assert_eq!(response, serde_json::json!({ "partialSuccess": partial }));

    let response = grpc(&house).await.export(mixed).await.expect("taken").into_inner();
    assert_eq!(response.partial_success.map(|partial| partial.rejected_spans), Some(3));
    assert_eq!(house.sink.counts(), (6, 9));

    let _ = grpc(&house).await.export(request(vec![bad])).await.expect("taken");
    assert_eq!(house.sink.counts(), (6, 10));
    let admitted = house.sink.admitted.lock();
    let last = admitted.last().expect("stored");
    assert_eq!(last.request.items_by_app(), [("shop".to_owned(), 0)]);
}

/// Guarantees that the record in the journal is the redacted request, decodes to what stands
/// beside it, and says when and whence it came.
#[tokio::test(flavor = "multi_thread")]
async fn the_record_is_the_redacted_request() {
    let house = House::open().await;
    let _ = grpc(&house).await.export(request(vec![span()])).await.expect("taken");
    let admitted = house.sink.admitted.lock();
    let Admitted { envelope, request, items } = admitted.first().expect("stored");
    let payload = ExportTraceServiceRequest::decode(envelope.payload.clone()).expect("decodes");
    assert_eq!(DecodedRequest::Traces(payload), *request);
    assert!(!envelope.payload.windows(11).any(|window| window == b"example.com"));
    assert_eq!(*items, 1);
    assert_eq!(envelope.received_at(), UnixNanos::from_seconds(1_000));
    assert_eq!(envelope.origin(), crate::wire::record::Origin::Otlp);
    assert_eq!(envelope.kind(), crate::wire::record::Kind::Traces);
    assert_eq!(house.telemetry.ingest_redacted_attributes_total.get(), 1);
}
