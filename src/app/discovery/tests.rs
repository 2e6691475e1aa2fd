//! Services that list targets, as they are and as they break; addresses of a name.

use super::*;
use crate::base::clock::{Clock, UnixNanos};
use crate::base::secret::Secret;
use crate::config;
use crate::probe::spec::Listed;
use crate::telemetry::Telemetry;
use axum::Router;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::collections::BTreeSet;

/// What a service answers: status, type and body.
type Answer = (u16, &'static str, String);

/// A service whose answer can be changed, and which wants a secret.
#[derive(Clone)]
struct Service {
    answer: Arc<Mutex<Answer>>,
    url: String,
}

const JSON: &str = "application/json; charset=utf-8";
const REFRESH: Duration = Duration::from_secs(60);

async fn targets(Shared(answer): Shared<Arc<Mutex<Answer>>>, headers: HeaderMap) -> Response {
    if headers.get("x-token").is_none_or(|token| token != "hunter2") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let (status, kind, body) = answer.lock().clone();
    let status = StatusCode::from_u16(status).expect("a status");
    if status.is_redirection() {
        return (status, [(header::LOCATION, body)]).into_response();
    }
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}

impl Service {
    async fn start() -> Self {
        let answer = Arc::new(Mutex::new((200, JSON, "[]".to_owned())));
        let router = Router::new().route("/targets", get(targets)).with_state(Arc::clone(&answer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/targets?key=hidden", listener.local_addr().expect("bound"));
        drop(tokio::spawn(async move { axum::serve(listener, router).await }));
        Self { answer, url }
    }

    fn says(&self, status: u16, kind: &'static str, body: impl Into<String>) {
        *self.answer.lock() = (status, kind, body.into());
    }

    /// A definition with one target of its own, for what the service lists beside it.
    fn probe(&self, token: &str) -> Arc<ProbeSpec> {
        let text = "probes: [ { name: edge, every: 9s, targets: { static: own }, http: { get: 'http://${target}/' } } ]";
        let loaded = config::load_embedded(&[("p.yaml", text)], &|_| true);
        let spec = loaded.settings.expect("fine").probes.first().cloned().expect("one");
        let headers = vec![("x-token".to_owned(), Secret::new(token))];
        let services = vec![TargetService { url: self.url.clone(), headers, refresh: REFRESH }];
        let known = vec![Found::plain("own")];
        let targets = Targets::Listed(Arc::new(Listed { known, services }));
        Arc::new(ProbeSpec { targets, ..ProbeSpec::clone(&spec) })
    }
}

fn context() -> Context {
    Context::new(Clock::manual(UnixNanos::from_seconds(1_000)), Telemetry::new())
}

fn labels(instances: &[Arc<ProbeSpec>]) -> Vec<String> {
    instances.iter().map(|one| one.labels.to_string()).collect()
}

fn failure(discovery: &Discovery) -> Option<String> {
    discovery.state.lock().sources.first().and_then(|source| source.failure.clone())
}

/// Guarantees that what a service lists is taken over when it is asked again; that one which fails, lists
/// rubbish, or leads elsewhere keeps what it listed before, counted and told without its secrets; and
/// that groups with a mistake alone are left out.
#[tokio::test]
async fn services_are_asked_again_and_again() {
    let service = Service::start().await;
    let context = context();
    let (clock, telemetry) = (context.clock.clone(), context.telemetry.clone());
    let discovery = Discovery::new(&context);
    let own = r#"{target="own"}"#;
    assert_eq!(labels(&discovery.follow(&[service.probe("hunter2")])), [own]);
    let refresh = async || {
        clock.advance(REFRESH);
        let is_new = discovery.refresh().await;
        (is_new, labels(&discovery.instances(&mut discovery.state.lock())))
    };
    let two = r#"[ { "targets": ["a:1"], "labels": { "zone": "blue", "__meta_x": "y" } }, { "targets": ["b:1"] } ]"#;
    service.says(200, JSON, two);
    let listed = [own, r#"{target="a:1", zone="blue"}"#, r#"{target="b:1"}"#].map(str::to_owned);
    assert_eq!(refresh().await, (true, listed.to_vec()));
    assert_eq!(refresh().await, (false, listed.to_vec()), "the same again");
    let failures =
        || telemetry.probe_discovery_failures_total.with_label_values(&["edge", "http"]).get();
    let broken: [(u16, &str, String, &str); 8] = [
        (500, JSON, String::new(), "status 500"),
        (200, "text/html", two.to_owned(), "must be application/json, not text/html"),
        (200, JSON, "- targets: [ a ]".to_owned(), "is no JSON"),
        (200, JSON, "{}".to_owned(), "a list of groups, not a mapping"),
        (200, JSON, "[".to_owned(), "is no JSON"),
        (200, JSON, format!("[{}]", " ".repeat(1 << 20)), "longer than 1 MiB"),
        (302, JSON, "http://localhost:1/targets".to_owned(), "redirects to another host"),
        (307, JSON, service.url.clone(), "redirects again and again"),
    ];
    for (number, (status, kind, body, expected)) in broken.into_iter().enumerate() {
        service.says(status, kind, body);
        assert_eq!(refresh().await, (false, listed.to_vec()), "{expected}");
        let words = failure(&discovery).expect("a failure");
        assert!(words.contains(expected), "{words}");
        assert!(!words.contains("hunter2") && !words.contains("hidden"), "{words}");
        assert_eq!(failures(), number as u64 + 1);
        let (count, problem) = discovery.standing().remove("edge").expect("there");
        assert_eq!((count, problem.map(|shown| shown.ends_with(&words))), (3, Some(true)));
    }
    service.says(
        200,
        JSON,
        r#"[ { "targets": ["b:1"], "labels": { "slo": "x" } }, { "targets": ["c:1"] } ]"#,
    );
    assert_eq!(refresh().await, (true, [own, r#"{target="c:1"}"#].map(str::to_owned).to_vec()));
    assert_eq!(failure(&discovery), None);
    let complaints = discovery.state.lock().sources[0].complaints.clone();
    assert!(complaints.len() == 1 && complaints[0].contains("the label `slo`"), "{complaints:?}");
    assert_eq!(telemetry.probe_targets.with_label_values(&["edge"]).get(), 2);
    let many: Vec<String> = (0..120).map(|n| format!("\"m{n}:1\"")).collect();
    service.says(200, JSON, format!(r#"[ {{ "targets": [{}] }} ]"#, many.join(",")));
    assert_eq!(refresh().await.1.len(), 100);
    assert_eq!(telemetry.probe_targets_dropped.with_label_values(&["edge"]).get(), 21);
}

/// Guarantees that a reload keeps what is listed, asks a service at once whose secret is another now, and
/// forgets what went; and that the command line is told what it could not find out.
#[tokio::test]
async fn a_reload_keeps_what_is_listed() {
    let service = Service::start().await;
    service.says(200, JSON, r#"[ { "targets": ["a:1"] } ]"#);
    let context = context();
    let discovery = Discovery::new(&context);
    let one = service.probe("hunter2");
    drop(discovery.follow(&[Arc::clone(&one)]));
    assert!(discovery.refresh().await);
    assert_eq!(discovery.follow(&[one]).len(), 2, "nothing is asked anew");
    assert!(discovery.next_due() > Some(context.clock.monotonic()));
    assert_eq!(discovery.follow(&[service.probe("other")]).len(), 2);
    assert!(discovery.next_due() <= Some(context.clock.monotonic()));
    assert!(!discovery.refresh().await);
    assert_eq!(failure(&discovery).as_deref(), Some("it answered with status 401"));
    assert_eq!(discovery.follow(&[]).len(), 0);
    assert_eq!(discovery.next_due(), None);
    let (instances, failures) = find_once(&context, &[service.probe("other")]).await;
    assert_eq!(labels(&instances), [r#"{target="own"}"#]);
    let words = failures.join("\n");
    assert!(
        words.starts_with("edge: http://127.0.0.1:") && words.ends_with("status 401"),
        "{words}"
    );
    assert!(!words.contains("hidden"), "{words}");
}

/// Guarantees an instance for each address of a name; and that a name without one is run as it is, so
/// that its runs tell.
#[tokio::test]
async fn each_address_of_a_name_is_an_instance() {
    let probe = |url: &str| {
        let text = format!(
            "probes: [ {{ name: each, every: 9s, addresses: each, http: {{ get: '{url}' }} }} ]"
        );
        let loaded = config::load_embedded(&[("p.yaml", &text)], &|_| true);
        loaded.settings.expect("fine").probes
    };
    let context = context();
    let (instances, failures) = find_once(&context, &probe("http://localhost:1/")).await;
    let known = tokio::net::lookup_host(("localhost", 1)).await.expect("localhost resolves");
    let known: BTreeSet<String> = known.map(|address| address.ip().to_string()).collect();
    let found: BTreeSet<String> =
        instances.iter().filter_map(|one| one.labels.get("address").map(str::to_owned)).collect();
    assert_eq!((instances.len(), &found, failures.len()), (known.len(), &known, 0));
    let (instances, failures) = find_once(&context, &probe("http://nowhere.invalid/")).await;
    assert_eq!((labels(&instances), failures.len()), (vec!["{}".to_owned()], 1));
    let counted = &context.telemetry.probe_discovery_failures_total;
    assert_eq!(counted.with_label_values(&["each", "dns"]).get(), 1);
    let discovery = Discovery::new(&context);
    assert_eq!(discovery.follow(&probe("http://nowhere.invalid/")).len(), 0, "not asked yet");
}
