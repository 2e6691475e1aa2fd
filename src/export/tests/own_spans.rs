//! The daemon's own operations on their way to a collector.

use super::super::{Operation, Protocol, SelfSpans, shut_down, tracer_provider};
use super::collector::{FakeCollector, Reply};
use super::{CEILING, config};
use crate::base::clock::UnixNanos;
use crate::wire::attributes::find_text;
use crate::wire::otlp::StatusCode;
use std::time::Duration;

/// Guarantees that an operation arrives as a span with its times, state and service, over both
/// transports, when the pipeline is shut down.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_arrive_as_spans() {
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        let collector = FakeCollector::start(|_| Reply::Accept).await;
        let provider = tracer_provider(&config(&collector.url, protocol)).expect("a pipeline");
        let spans = SelfSpans::new(&provider);
        let started = UnixNanos::from_seconds(1_700_000_000);
        let took = Duration::from_millis(7);
        let files = [("radiosonde.config.files", "3".to_owned())];
        spans.record(Operation::Reload, started, took, Some("broken.yaml:3"), &files);
        spans.record(Operation::Checkpoint, started, took, None, &[]);
        shut_down(provider, CEILING).await;

        let seen = collector.requests(1).await;
        let resource = seen[0].request.resource_spans[0].resource.clone().unwrap_or_default();
        assert_eq!(find_text(&resource.attributes, "service.name"), Some("radiosonde"));
        assert_eq!((seen[0].key.as_str(), seen[0].compressed), ("CANARY-KEY", true));
        let arrived = seen[0].spans();
        let [reload, checkpoint] = &*arrived else { unreachable!("{arrived:?}") };
        assert_eq!((reload.name.as_str(), checkpoint.name.as_str()), ("reload", "checkpoint"));
        assert_eq!(reload.start_time_unix_nano, started.0);
        assert_eq!(reload.end_time_unix_nano, started.plus(took).0);
        assert_eq!(find_text(&reload.attributes, "radiosonde.config.files"), Some("3"));
        let status = |span: &crate::wire::otlp::Span| span.status.clone().unwrap_or_default();
        assert_eq!(status(reload).code(), StatusCode::Error);
        assert_eq!(status(reload).message, "broken.yaml:3");
        assert_eq!(status(checkpoint).code(), StatusCode::Ok);
    }
}

/// Guarantees that a recorder without a pipeline takes operations and does nothing.
#[test]
fn a_recorder_may_be_off() {
    let spans = SelfSpans::default();
    spans.record(Operation::Delivery, UnixNanos(0), Duration::ZERO, None, &[]);
}
