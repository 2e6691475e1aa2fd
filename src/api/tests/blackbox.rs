//! `/probe` as a scrape sees it: who may ask, for what, and what an answer holds.

use super::served::Served;
use crate::api::guard::Guard;
use crate::base::secret::Secret;
use crate::probe::blackbox::{HttpModule, Module, Modules, Prober, TcpModule};
use crate::probe::guard::{AddressGuard, AllowedTarget};
use crate::probe::inspection::Families;
use crate::probe::spec::{HttpStep, HttpVersion, StatusRange, TlsOptions};
use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// A server until it is dropped, and where it is.
async fn server(router: Router) -> (String, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let task = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
    (address, AbortOnDropHandle::new(task))
}

fn http() -> HttpModule {
    HttpModule {
        step: HttpStep {
            flow_checks: crate::probe::spec::FlowChecks::default(),
            method: "GET".to_owned(),
            url: String::new(),
            headers: Vec::new(),
            body: None,
            version: HttpVersion::Auto,
            status: vec![StatusRange { first: 0, last: 999 }],
            header_checks: Vec::new(),
            body_checks: Vec::new(),
            max_redirects: 10,
            tls: TlsOptions::default(),
        },
        valid_statuses: Vec::new(),
        valid_versions: Vec::new(),
        fail_if_ssl: false,
        fail_if_not_ssl: false,
        body_must_not_match: Vec::new(),
        body_must_match: Vec::new(),
        headers_must_not_match: Vec::new(),
        headers_must_match: Vec::new(),
        body_size_limit: None,
        compression: None,
    }
}

fn modules(guard: AddressGuard) -> Modules {
    let tcp = TcpModule { tls: false, options: TlsOptions::default(), dialogue: Vec::new() };
    let probers = [("http_2xx", Prober::Http(Box::new(http()))), ("tcp_connect", Prober::Tcp(tcp))];
    let module = |(name, prober): (&str, Prober)| {
        let families = Families { prefers_v6: false, fallback: true };
        let name = name.to_owned();
        let shown = "prober: any\n".to_owned();
        (name.clone(), Arc::new(Module { name, timeout: None, families, prober, shown }))
    };
    Modules { modules: probers.into_iter().map(module).collect(), guard, writes: [].into() }
}

fn only(entry: &str) -> AddressGuard {
    AddressGuard::Only(vec![AllowedTarget::parse(entry).expect("an entry")])
}

/// Asks with headers; status and text.
async fn ask(served: &Served, query: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let url = format!("{}/probe?{query}", served.address);
    let mut request = reqwest::Client::new().get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("text"))
}

/// Guarantees what a request must name, and that unknown modules are counted.
#[tokio::test]
async fn a_request_names_target_and_module() {
    let served = Served::start_with(modules(AddressGuard::Anywhere), Guard::default()).await;
    for (query, words) in [
        ("", "Target parameter is missing"),
        ("target=&module=http_2xx", "Target parameter is missing"),
        ("target=127.0.0.1:1&module=nope", "Unknown module \"nope\""),
        ("target=127.0.0.1&module=tcp_connect", "is not one of this module's"),
        ("target=http://", "is not one of this module's"),
    ] {
        let (status, text) = ask(&served, query, &[]).await;
        assert_eq!(status, 400, "{query}: {text}");
        assert!(text.contains(words), "{query}: {text}");
    }
    assert_eq!(served.telemetry.blackbox_module_unknown_total.get(), 1);
    let header = [("x-prometheus-scrape-timeout-seconds", "soon")];
    assert_eq!(ask(&served, "target=127.0.0.1:1", &header).await.0, 400);
}

/// Guarantees that a scrape's timeout is kept, half a second ahead, whatever the target does.
#[tokio::test]
async fn the_scrape_decides_the_timeout() {
    let served = Served::start_with(modules(AddressGuard::Anywhere), Guard::default()).await;
    let mute = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let query = format!("target={}", mute.local_addr().expect("bound"));
    let header = [("X-Prometheus-Scrape-Timeout-Seconds", "0.75")];
    let (status, text) = ask(&served, &query, &header).await;
    assert_eq!(status, 200, "a failed probe is an answer");
    assert!(text.contains("\nprobe_timeout_seconds 0.25\n"), "{text}");
    assert!(text.contains("\nprobe_success 0\n"), "{text}");
    assert!(text.contains("probe_http_duration_seconds{phase=\"transfer\"} 0\n"), "{text}");
}

/// Guarantees that where tokens are configured nobody probes without one.
#[tokio::test]
async fn a_token_is_needed() {
    let token = ("prometheus".to_owned(), Secret::new("0123456789abcdef"));
    let guard = Guard { tokens: vec![token] };
    let served = Served::start_with(modules(AddressGuard::Anywhere), guard).await;
    let (address, _server) = server(Router::new().route("/", get(|| async { "up" }))).await;
    let query = format!("target={address}");
    assert_eq!(ask(&served, &query, &[]).await.0, 401);
    let header = [("authorization", "Bearer 0123456789abcdef")];
    let (status, text) = ask(&served, &query, &header).await;
    assert_eq!((status, text.contains("\nprobe_success 1\n")), (200, true), "{text}");
}

/// Guarantees that no page of another site makes this machine send anything.
#[tokio::test]
async fn other_sites_may_not_ask() {
    let served = Served::start_with(modules(AddressGuard::Anywhere), Guard::default()).await;
    for header in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("host", "evil.example:7663"),
    ] {
        let (status, text) = ask(&served, "target=127.0.0.1:1", &[header]).await;
        assert_eq!(status, 403, "{header:?}: {text}");
    }
    for header in [("sec-fetch-site", "none"), ("host", "localhost:1")] {
        assert_eq!(ask(&served, "target=127.0.0.1:1", &[header]).await.0, 200, "{header:?}");
    }
}

/// Guarantees that the address decides, not the name: one that the list allows and that resolves to
/// this machine is refused, as is what is never probed; and each is counted.
#[tokio::test]
async fn the_resolved_address_is_judged() {
    let served = Served::start_with(modules(only("*")), Guard::default()).await;
    let (address, _server) = server(Router::new().route("/", get(|| async { "up" }))).await;
    let port = address.rsplit(':').next().expect("a port");
    let refused = [
        format!("localhost:{port}"),
        format!("127.0.0.1:{port}"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("http://0x7f.1:{port}/"),
        "169.254.169.254".to_owned(),
        "http://[fe80::1]/".to_owned(),
        "http://0/".to_owned(),
    ];
    for target in &refused {
        for module in ["http_2xx", "tcp_connect"] {
            if module == "tcp_connect" && target.contains('/') {
                continue;
            }
            let target = if module == "tcp_connect" && !target.contains(':') {
                format!("{target}:80")
            } else {
                target.clone()
            };
            let (status, text) =
                ask(&served, &format!("target={target}&module={module}"), &[]).await;
            assert_eq!(status, 403, "{target} {module}: {text}");
            assert!(text.contains("is refused"), "{text}");
        }
    }
    let counter = served.telemetry.blackbox_refused_total.with_label_values(&["address"]);
    assert!(counter.get() >= refused.len() as u64);
}

/// Guarantees that a redirect leads nowhere that the target itself may not be.
#[tokio::test]
async fn redirects_are_judged() {
    let (inner, _inner) = server(Router::new().route("/", get(|| async { "secret" }))).await;
    let to = format!("http://{inner}/");
    let meta = "http://169.254.169.254/latest/meta-data/";
    let router = Router::new()
        .route("/inner", get(move || async move { Redirect::temporary(&to) }))
        .route("/meta", get(move || async move { Redirect::temporary(meta) }));
    let (address, _server) = server(router).await;
    let served = Served::start_with(modules(only(&address)), Guard::default()).await;
    for path in ["inner", "meta"] {
        let (status, text) =
            ask(&served, &format!("target={address}/{path}&debug=true"), &[]).await;
        assert_eq!(status, 200, "the target itself is allowed: {text}");
        assert!(text.contains("\nprobe_success 0\n"), "{text}");
        assert!(text.contains("is refused"), "{text}");
    }
}

/// Guarantees that more runs than there is room for are refused, and counted.
#[tokio::test]
async fn runs_on_demand_are_bounded() {
    let served = Served::start_with(modules(AddressGuard::Anywhere), Guard::default()).await;
    let crowd = served.blackbox.crowd().expect("room");
    assert_eq!(ask(&served, "target=127.0.0.1:1", &[]).await.0, 503);
    let counter = served.telemetry.blackbox_refused_total.with_label_values(&["busy"]);
    assert_eq!(counter.get(), 1);
    drop(crowd);
    let asked = ask(&served, "target=127.0.0.1:1", &[]);
    let answered = tokio::time::timeout(Duration::from_secs(20), asked).await.expect("an answer");
    assert_eq!(answered.0, 200);
}
