//! The world around a stand-in for the daemon: an endpoint that takes whatever is sent to it.

use super::*;
use crate::demo::conditions::Fault;
use crate::demo::loopback;
use crate::demo::narrator::Recorded;
use crate::demo::script::Episode;
use axum::Router;
use axum::routing::post;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Nothing here takes a fraction of it, unless something hangs.
const CEILING: Duration = Duration::from_secs(60);

fn settings() -> Settings {
    let episode = Episode {
        from: Duration::from_millis(10),
        until: Duration::from_millis(50),
        fault: Fault::Errors { ratio: 0.5 },
    };
    Settings {
        backend: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        names: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        secure: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        mqtt: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        script: Script::new(vec![episode], Duration::from_secs(3_600)),
        cohorts: Cohort::all().into_iter().take(2).collect(),
        ..Settings::default()
    }
}

async fn world(settings: Settings) -> (World, Recorded) {
    let (recorded, clock) = (Recorded::default(), Clock::system());
    let narrator = Narrator::new(Box::new(recorded.clone()), clock.clone());
    (World::build(settings, narrator, clock).await.unwrap(), recorded)
}

/// Starts an endpoint that counts reports and ends when told to.
async fn endpoint(launch: &Launch, reports: Arc<AtomicUsize>) -> Started {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let otlp_http = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(post(async move || {
        let _ = reports.fetch_add(1, Ordering::SeqCst);
    }));
    let signal = launch.shutdown.clone();
    let serving =
        axum::serve(listener, app).with_graceful_shutdown(async move { signal.begun().await });
    let ended = Box::pin(async { serving.await.map_err(BoxError::from) });
    Started { page: "http://127.0.0.1:7663/".to_owned(), otlp_http, ended }
}

/// Guarantees the whole course: files aimed at the back end, a page that reaches the terminal, the
/// script told, reports delivered, and an orderly end when stopped.
#[tokio::test]
async fn the_demo_runs_and_ends() {
    let (world, recorded) = world(settings()).await;
    let (backend, stop) = (world.backend(), Shutdown::new());
    let reports = Arc::new(AtomicUsize::new(0));
    let hook = async |launch: Launch| {
        let expected = format!("ws://{backend}/chat");
        assert!(launch.files.iter().any(|(_, text)| text.contains(&expected)));
        let page = r#"{"alerts":[{"status":"firing","labels":{"alertname":"crash-ratio",
            "severity":"page"},"annotations":{"summary":"4.2.0 explains it"}}]}"#;
        let url = format!("http://{}/oncall", launch.pager);
        let _ = loopback::client().unwrap().post(url).body(page).send().await.unwrap();
        Ok(endpoint(&launch, reports.clone()).await)
    };
    let watch = async {
        let told = |text: &str| recorded.text().contains(text);
        while !told("over") || reports.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        stop.begin();
    };
    let both = async { tokio::join!(world.run(hook, &stop), watch) };
    let (outcome, ()) = tokio::time::timeout(CEILING, both).await.expect("ends when told");
    outcome.unwrap();
    let text = recorded.text();
    let place = |part: &str| text.find(part).expect(part);
    assert!(place("PAGE      crash-ratio fires: 4.2.0 explains it") < place("watch the page"));
    assert!(place("watch the page: http://127.0.0.1:7663/") < place("fault     the REST API"));
    assert!(place("over      the REST API answers again") < place("the demo is over"));
    assert!(TcpListener::bind(backend).await.is_ok(), "the back end's port is free again");
}

/// Guarantees that the demo ends by itself when it was given a time.
#[tokio::test]
async fn the_demo_ends_in_time() {
    let lasts = Some(Duration::from_millis(50));
    let (world, recorded) = world(Settings { lasts, ..settings() }).await;
    let hook = async |launch: Launch| Ok(endpoint(&launch, Arc::default()).await);
    let stop = Shutdown::new();
    let running = world.run(hook, &stop);
    tokio::time::timeout(CEILING, running).await.expect("ends by itself").unwrap();
    assert!(recorded.text().contains("it ends in 50ms, or with Ctrl-C"), "{}", recorded.text());
}

/// Guarantees a clear word, with the address and what to do, when the port is taken.
#[tokio::test]
async fn a_taken_port_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let backend = taken.local_addr().unwrap();
    let (clock, writer) = (Clock::system(), Box::new(Recorded::default()));
    let narrator = Narrator::new(writer, clock.clone());
    let built = World::build(Settings { backend, ..settings() }, narrator, clock).await;
    let error = built.err().expect("the port is taken");
    let text = error.to_string();
    assert!(text.contains(&backend.to_string()) && text.contains("another demo"), "{text}");
    assert!(matches!(error, DemoError::Backend { .. }));
}

/// Guarantees that a daemon that fails, at its start or later, ends the demo with its reason.
#[tokio::test]
async fn a_daemon_that_fails_ends_the_demo() {
    let stop = Shutdown::new();
    let (first, _) = world(settings()).await;
    let refuses = async |_: Launch| Err(BoxError::from("no disk"));
    assert!(matches!(first.run(refuses, &stop).await, Err(DemoError::Start(_))));

    let (second, _) = world(settings()).await;
    let dies = async |launch: Launch| {
        let started = endpoint(&launch, Arc::default()).await;
        let ended = Box::pin(async { Err(BoxError::from("disk full")) });
        Ok(Started { ended, ..started })
    };
    let outcome = tokio::time::timeout(CEILING, second.run(dies, &stop)).await.expect("ends");
    assert!(matches!(outcome, Err(DemoError::Daemon(_))), "{outcome:?}");
}
