//! Too much at once: bombs, overload, a failing journal, and the end of the day.

use super::*;
use crate::ingest::inflate::tests::gzip;
use crate::ingest::rpc;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use prost::Message;
use tonic::Code;
use tonic::codec::CompressionEncoding;

const MIB: usize = 1024 * 1024;

async fn post(house: &House, encoding: &str, body: impl Into<reqwest::Body>) -> reqwest::Response {
    let request = reqwest::Client::new().post(house.url("/v1/traces"));
    let request = request.header("content-type", "application/x-protobuf");
    request.header("content-encoding", encoding).body(body).send().await.expect("an answer")
}

async fn export(
    house: &House,
    spans: Vec<Span>,
    encoding: Option<CompressionEncoding>,
) -> Result<(), tonic::Status> {
    let address = format!("http://{}", house.grpc);
    let mut client = TraceServiceClient::connect(address).await.expect("connects");
    if let Some(encoding) = encoding {
        client = client.send_compressed(encoding);
    }
    client.export(request(spans)).await.map(|_| ())
}

/// A body of unannounced length.
fn chunked(bytes: Vec<u8>) -> reqwest::Body {
    let pieces: Vec<_> = bytes
        .chunks(10_000)
        .map(|piece| {
            Ok::<_, std::io::Error>(http_body::Frame::data(bytes::Bytes::copy_from_slice(piece)))
        })
        .collect();
    reqwest::Body::wrap(http_body_util::StreamBody::new(futures::stream::iter(pieces)))
}

fn details(status: &tonic::Status) -> Vec<rpc::Any> {
    rpc::Status::decode(status.details()).expect("a status").details
}

/// Guarantees that with the defaults one byte above 64 MiB is refused as too large, packed to a
/// thousandth of it or not, and that the largest request that fits is not.
#[tokio::test(flavor = "multi_thread")]
async fn the_default_limit_is_64_mib() {
    let house = House::open().await;
    let bomb = vec![0; 64 * MIB + 1];
    assert_eq!(post(&house, "gzip", gzip(&bomb)).await.status(), 413);
    let zstd = zstd::encode_all(bomb.as_slice(), 3).expect("packs");
    assert_eq!(post(&house, "zstd", zstd).await.status(), 413);
    assert_eq!(post(&house, "identity", bomb).await.status(), 413);
    // An unknown field of 64 MiB less its own five bytes of tag and length.
    let mut fitting = vec![0x7a];
    prost::encode_length_delimiter(64 * MIB - 5, &mut fitting).expect("room");
    fitting.resize(64 * MIB, 0);
    assert_eq!(post(&house, "gzip", gzip(&fitting)).await.status(), 200);
}

/// Guarantees that the limit holds for bodies of unannounced length and for gRPC, where the code
/// is one that clients do not retry.
#[tokio::test(flavor = "multi_thread")]
async fn the_limit_holds_everywhere() {
    let house = House::with(|config| config.max_request_bytes = 100_000).await;
    assert_eq!(post(&house, "identity", chunked(vec![0; 100_001])).await.status(), 413);
    assert_eq!(post(&house, "gzip", chunked(gzip(&vec![0; 100_001]))).await.status(), 413);
    let spans = vec![span(); 5_000];
    for encoding in [None, Some(CompressionEncoding::Gzip), Some(CompressionEncoding::Zstd)] {
        let status = export(&house, spans.clone(), encoding).await.expect_err("too large");
        assert_eq!(status.code(), Code::ResourceExhausted, "{encoding:?}");
        assert_eq!(details(&status), [], "{encoding:?}");
    }
    assert_eq!(house.sink.counts(), (0, 0));
}

/// Guarantees that a request that is small but would decode to a hundred times its size is refused
/// before it is decoded.
#[tokio::test(flavor = "multi_thread")]
async fn empty_messages_do_not_fill_the_memory() {
    let house = House::with(|config| config.inflight_inflated_bytes = 8 * MIB).await;
    let bomb = request(vec![Span::default(); 500_000]).encode_to_vec();
    assert!(bomb.len() < 2 * MIB);
    assert_eq!(post(&house, "gzip", gzip(&bomb)).await.status(), 413);
    let few = request(vec![Span::default(); 5_000]).encode_to_vec();
    assert_eq!(post(&house, "gzip", gzip(&few)).await.status(), 200);
    assert_eq!(house.sink.counts(), (0, 5_000));
}

/// Guarantees that a full budget of received bytes is answered with "retry later" on both
/// transports, and that the room is there again once requests are answered.
#[tokio::test(flavor = "multi_thread")]
async fn overload_is_retryable_and_passes() {
    let house = House::with(|config| config.inflight_compressed_bytes = 20_000).await;
    house.sink.gate.forget_permits(usize::MAX);
    let spans = || vec![span(); 150];
    let body = request(spans()).encode_to_vec();
    assert!(body.len() > 10_000 && body.len() < 20_000, "{}", body.len());
    let (answered, ()) = tokio::join!(post(&house, "identity", body.clone()), async {
        house.sink.begun.acquire().await.expect("a commit begins").forget();
        let response = post(&house, "identity", body.clone()).await;
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "1");
        let status = export(&house, spans(), None).await.expect_err("no room");
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(details(&status)[0].type_url, rpc::RETRY_INFO);
        assert!(house.telemetry.ingest_inflight_bytes.get() > 10_000);
        house.sink.gate.add_permits(10);
    });
    assert_eq!(answered.status(), 200);
    assert_eq!(post(&house, "identity", body).await.status(), 200);
    assert_eq!(house.telemetry.ingest_inflight_bytes.get(), 0);
}

/// Guarantees that a sink that fails or is under pressure is answered as retryable with a delay,
/// on both transports, and that every item of every app is told as refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_failing_sink_is_retryable() {
    let house = House::open().await;
    let bad = Span { trace_id: vec![], ..span() };
    let spans = || vec![span(), span(), bad.clone()];
    let pressure = Pressure { retry_after: Duration::from_secs(60) };
    for (why, delay) in [(Refusal::Full, 2), (Refusal::Unavailable, 2), (Refusal::Pressure, 3)] {
        *house.sink.pressure.lock() = (why == Refusal::Pressure).then_some(pressure);
        *house.sink.failure.lock() = match why {
            Refusal::Full => Some(CommitError::Full),
            Refusal::Unavailable => Some(CommitError::Unavailable),
            Refusal::Pressure => None,
        };
        let response = post(&house, "identity", request(spans()).encode_to_vec()).await;
        assert_eq!(response.status(), 503, "{why:?}");
        assert_eq!(response.headers()["retry-after"], delay.to_string(), "{why:?}");
        let status = export(&house, spans(), None).await.expect_err("refused");
        assert_eq!(status.code(), Code::Unavailable, "{why:?}");
        let details = details(&status);
        assert_eq!(details[0].type_url, rpc::RETRY_INFO, "{why:?}");
        let info = rpc::RetryInfo::decode(details[0].value.as_slice()).expect("decodes");
        assert_eq!(info.retry_delay.map(|delay| delay.seconds), Some(delay), "{why:?}");
        let refused = std::mem::take(&mut *house.sink.refused.lock());
        assert_eq!(refused, vec![("shop".to_owned(), Signal::Traces, 3, why); 2]);
    }
    assert_eq!(house.sink.counts(), (0, 0));
    // An empty request needs no room.
    assert_eq!(post(&house, "identity", Vec::new()).await.status(), 200);
}

/// Guarantees that requests in flight are answered after the stop signal, and that the server is
/// gone afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn shutdown_drains() {
    let house = House::open().await;
    house.sink.gate.forget_permits(usize::MAX);
    let body = request(vec![span()]).encode_to_vec();
    let ((http, grpc), ()) = tokio::join!(
        async { tokio::join!(post(&house, "identity", body), export(&house, vec![span()], None)) },
        async {
            house.sink.begun.acquire_many(2).await.expect("two commits begin").forget();
            house.shutdown.begin();
            let gone = async {
                while tokio::net::TcpStream::connect(house.http).await.is_ok() {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(CEILING, gone).await.expect("no new connections");
            house.sink.gate.add_permits(2);
        },
    );
    assert_eq!(http.status(), 200);
    assert!(grpc.is_ok(), "{grpc:?}");
    assert_eq!(house.sink.counts(), (2, 0));
    tokio::time::timeout(CEILING, house.serving).await.expect("returns").expect("no panic");
}

/// Guarantees that every answer, every byte and every removed attribute is counted.
#[tokio::test(flavor = "multi_thread")]
async fn the_door_counts_itself() {
    let house = House::open().await;
    let body = request(vec![span()]).encode_to_vec();
    let bytes = body.len() as u64;
    let _ = post(&house, "identity", body).await;
    let _ = post(&house, "br", Vec::new()).await;
    export(&house, vec![span()], None).await.expect("taken");
    let telemetry = &house.telemetry;
    let requests =
        |labels: &[&str]| telemetry.ingest_requests_total.with_label_values(labels).get();
    assert_eq!(requests(&["http", "traces", "200"]), 1);
    assert_eq!(requests(&["http", "traces", "415"]), 1);
    assert_eq!(requests(&["grpc", "traces", "0"]), 1);
    let received =
        |labels: &[&str]| telemetry.ingest_received_bytes_total.with_label_values(labels).get();
    assert_eq!((received(&["http"]), received(&["grpc"])), (bytes, bytes + 5));
    let acknowledged = telemetry.ingest_ack_duration_seconds.with_label_values(&["http"]);
    assert_eq!(acknowledged.get_sample_count(), 1);
    assert_eq!(telemetry.ingest_redacted_attributes_total.get(), 2);
}
