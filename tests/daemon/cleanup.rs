//! `kill -9` in the middle of a journey: what it made is cleaned up after the next start.

use super::process::{Daemon, configure};
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, put};
use std::collections::BTreeSet;
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// What is on the server, and what was seen there.
#[derive(Clone, Debug, Default)]
struct Seen {
    objects: BTreeSet<String>,
    made: Vec<String>,
    deleted: Vec<String>,
    /// Runs whose id was not in the journal when they came.
    unannounced: Vec<String>,
    hangs: usize,
}

#[derive(Clone)]
struct World {
    seen: Arc<watch::Sender<Seen>>,
    /// Where the daemon's journal is.
    data: PathBuf,
    hang: Arc<Mutex<bool>>,
}

/// Whether the journal holds these bytes.
fn is_journaled(dir: &FilePath, id: &[u8]) -> bool {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return is_journaled(&path, id);
        }
        std::fs::read(&path).is_ok_and(|bytes| bytes.windows(id.len()).any(|part| part == id))
    })
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digits).collect()
}

async fn make(State(world): State<World>, Path(id): Path<String>, headers: HeaderMap) {
    let traceparent = headers["traceparent"].to_str().unwrap();
    assert!(traceparent.contains(&id), "{traceparent}");
    let announced = is_journaled(&world.data, &bytes_of(&id));
    world.seen.send_modify(|seen| {
        let _ = seen.objects.insert(id.clone());
        seen.made.push(id.clone());
        seen.unannounced.extend((!announced).then_some(id));
    });
}

async fn delete(State(world): State<World>, Path(id): Path<String>) -> StatusCode {
    let mut was_there = false;
    world.seen.send_modify(|seen| {
        was_there = seen.objects.remove(&id);
        seen.deleted.push(id);
    });
    if was_there { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}

async fn wait(State(world): State<World>) {
    if *world.hang.lock().unwrap() {
        world.seen.send_modify(|seen| seen.hangs += 1);
        std::future::pending::<()>().await;
    }
}

async fn serve(data: PathBuf) -> (World, String) {
    let seen = Arc::new(watch::Sender::new(Seen::default()));
    let world = World { seen, data, hang: Arc::new(Mutex::new(true)) };
    let routes = Router::new()
        .route("/objects/{id}", put(make).delete(delete))
        .route("/wait", get(wait))
        .with_state(world.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() }));
    (world, base)
}

fn write_probe(dir: &FilePath, base: &str) {
    let probe = format!(
        r#"probes:
  - name: objects
    every: 24h
    timeout: 30s
    steps:
      - http: {{ put: "{base}/objects/${{run.id}}" }}
      - http: {{ get: "{base}/wait" }}
    cleanup:
      - http: {{ delete: "{base}/objects/${{run.start}}" }}
      - http: {{ delete: "{base}/objects/${{run.id}}", status: [ 204, 404 ] }}
"#
    );
    std::fs::create_dir_all(dir.join("probes")).unwrap();
    std::fs::write(dir.join("probes/objects.yaml"), probe).unwrap();
}

async fn until(world: &World, what: &str, holds: impl FnMut(&Seen) -> bool) -> Seen {
    let mut seen = world.seen.subscribe();
    let waiting = tokio::time::timeout(std::time::Duration::from_secs(60), seen.wait_for(holds));
    let found = waiting.await.unwrap_or_else(|_| panic!("never came: {what}"));
    found.unwrap().clone()
}

async fn run_now(daemon: &Daemon) {
    let asked = reqwest::Client::new().post(format!("{}/probes/objects/run", daemon.page));
    let ask = move || asked.try_clone().unwrap().send();
    // The run may be killed with the daemon before there is an answer.
    drop(tokio::spawn(async move {
        // It serves, and may be starting still what runs probes.
        while ask().await.is_ok_and(|answer| answer.status() == StatusCode::SERVICE_UNAVAILABLE) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }));
}

/// Guarantees that a run's id is in the journal before its first request leaves; that what the run made
/// is deleted after `kill -9` and a restart, once, though a step that needs more than the id is left out;
/// and that neither runs that ended nor those that never began are cleaned up after again.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_journey_that_was_killed() {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), "");
    let (world, base) = serve(dir.path().join("data")).await;
    write_probe(dir.path(), &base);
    let daemon = Daemon::ready(dir.path()).await;
    run_now(&daemon).await;
    let seen = until(&world, "a run in its middle", |seen| seen.hangs == 1).await;
    assert_eq!((seen.objects.len(), seen.unannounced), (1, Vec::<String>::new()));
    daemon.kill();

    let daemon = Daemon::ready(dir.path()).await;
    let run = seen.made[0].clone();
    // The run that was to follow has no record either: whether it had begun cannot be known.
    let seen = until(&world, "the clean-up", |seen| seen.deleted.len() == 2).await;
    assert!(seen.objects.is_empty() && seen.deleted.contains(&run), "{seen:?}");

    *world.hang.lock().unwrap() = false;
    run_now(&daemon).await;
    let seen = until(&world, "a whole run", |seen| seen.deleted.len() >= 4).await;
    let whole = seen.made.last().unwrap().clone();
    assert!(seen.objects.is_empty() && seen.unannounced.is_empty(), "{seen:?}");
    assert_eq!(seen.deleted[3..], [whole], "{seen:?}");
    daemon.signal("TERM");
    assert_eq!(daemon.ended().await, Some(0));

    let daemon = Daemon::ready(dir.path()).await;
    run_now(&daemon).await;
    let seen =
        until(&world, "another run", |seen| seen.made.len() == 3 && seen.objects.is_empty()).await;
    assert_eq!(seen.deleted.len(), 6, "only its own clean-up: {seen:?}");
    assert!(seen.unannounced.is_empty(), "{seen:?}");
}
