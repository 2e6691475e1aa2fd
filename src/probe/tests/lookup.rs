//! Names that nobody answers for delay no others, and are not charged to the target.

use super::super::lookup::{Lookups, Resolver};
use super::super::spec::Action;
use super::super::{Context, SlotStart, run_once};
use super::servers::{Server, http};
use super::{assert_failure, assert_success, context, get, spec, step};
use crate::model::probe::{FailureReason, ProbeRun};
use axum::Router;
use parking_lot::{Condvar, Mutex};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Answers for names with `good` in them, and keeps the others waiting until it is told to let go.
#[derive(Clone, Debug, Default)]
struct Stubborn(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug, Default)]
struct State {
    asked: Vec<String>,
    let_go: bool,
}

impl Resolver for Stubborn {
    fn addresses(&self, host: &str) -> io::Result<Vec<SocketAddr>> {
        let (state, changed) = &*self.0;
        let mut state = state.lock();
        state.asked.push(host.to_owned());
        let _ = changed.notify_all();
        if host.contains("good") {
            return Ok(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))]);
        }
        while !state.let_go {
            changed.wait(&mut state);
        }
        Err(io::Error::other("no such name"))
    }
}

impl Stubborn {
    fn asked(&self, host: &str) -> usize {
        self.0.0.lock().asked.iter().filter(|asked| *asked == host).count()
    }

    fn let_go(&self) {
        self.0.0.lock().let_go = true;
        let _ = self.0.1.notify_all();
    }
}

/// Lets go at its end: a test that fails must not wait for threads that wait.
struct Released(Stubborn);

impl Drop for Released {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

/// Two places.
fn stubborn() -> (Released, Context) {
    let resolver = Stubborn::default();
    (Released(resolver.clone()), Context { lookups: Lookups::by(resolver, 2), ..context() })
}

async fn ask(host: &str, port: u16, timeout: Duration, context: &Context) -> ProbeRun {
    let mut probe = spec(vec![step("1", Action::Http(get(format!("http://{host}:{port}/"))))]);
    probe.timeout = timeout;
    run_once(&probe, SlotStart::now(&context.clock), context).await
}

async fn answering() -> (Server, u16) {
    let server = http(Router::new().route("/", axum::routing::get(|| async {}))).await;
    let port = server.url("http", "").rsplit(':').next().and_then(|port| port.parse().ok());
    (server, port.expect("a port"))
}

/// Guarantees that runs which give up leave their names' places taken, however many there are one for each
/// name; that a further name is our own failure, at once and in clear words; and that all is well again when
/// the threads are free.
#[tokio::test]
async fn names_that_do_not_answer_hold_one_place_each() {
    let (released, context) = stubborn();
    let resolver = &released.0;
    let (_server, port) = answering().await;
    let (short, long) = (Duration::from_millis(200), Duration::from_secs(20));
    for _ in 0..3 {
        let run = ask("dead.example", port, short, &context).await;
        assert_failure(&run, FailureReason::Timeout, "while resolving dead.example");
    }
    assert_eq!(resolver.asked("dead.example"), 1);
    let run = ask("good.example", port, long, &context).await;
    assert_success(&run);
    let run = ask("mute.example", port, short, &context).await;
    assert_failure(&run, FailureReason::Timeout, "while resolving mute.example");
    let run = ask("good.example", port, long, &context).await;
    assert_failure(&run, FailureReason::Local, "2 other names are being resolved");
    assert!(run.is_local_fault(), "not the target's");
    resolver.let_go();
    // Whoever joins the lookup that is under way hears its end, which is then no more remembered.
    let run = ask("dead.example", port, long, &context).await;
    assert_failure(&run, FailureReason::Resolve, "no such name");
    let free = async { while ask("good.example", port, long, &context).await.failure.is_some() {} };
    tokio::time::timeout(long, free).await.expect("places are free again");
}

/// Guarantees that runs which ask for one name at once share one lookup, each with its own port.
#[tokio::test]
async fn one_lookup_a_name() {
    let (released, context) = stubborn();
    let resolver = &released.0;
    let long = Duration::from_secs(20);
    let (one, other) =
        (ask("dead.example", 1, long, &context), ask("dead.example", 2, long, &context));
    let letting_go = async {
        while resolver.asked("dead.example") == 0 {
            tokio::task::yield_now().await;
        }
        resolver.let_go();
    };
    let (one, other, ()) = tokio::join!(one, other, letting_go);
    assert_failure(&one, FailureReason::Resolve, "no such name");
    assert_failure(&other, FailureReason::Resolve, "no such name");
    assert_eq!(resolver.asked("dead.example"), 1);
}
