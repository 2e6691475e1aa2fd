//! Names to addresses, by the system's resolver, with bounds.
//!
//! The resolver holds a thread for as long as a name server keeps it waiting, whatever the deadline of the
//! run that asked. So a place goes with the thread and is free when the thread is; without a free place a
//! run fails by our own fault, at once, and nothing queues. Runs that ask for a name which is being looked
//! up wait for that answer: a name that nobody answers for holds one place, not one for each run.

use super::failure::{Attempt, failure};
use crate::model::probe::FailureReason;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt::Debug;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// What knows addresses; the system, but for tests.
pub(super) trait Resolver: Debug + Send + Sync {
    /// The addresses of a host, their port 0. Blocks.
    ///
    /// # Errors
    /// When there are none, or nobody who knows.
    fn addresses(&self, host: &str) -> io::Result<Vec<SocketAddr>>;
}

/// Looks names up. Clones share its places.
#[derive(Clone, Debug)]
pub(super) struct Lookups(Arc<Desk>);

/// What a resolver said.
pub(super) type Answer = Arc<io::Result<Vec<SocketAddr>>>;

#[derive(Debug)]
struct Desk {
    resolver: Box<dyn Resolver>,
    size: usize,
    places: Arc<Semaphore>,
    under_way: Mutex<HashMap<String, watch::Receiver<Option<Answer>>>>,
}

#[derive(Debug)]
struct System;

/// A lookup on its thread, or on its way there. Dropping it makes its place free.
struct Lookup {
    desk: Arc<Desk>,
    host: String,
    answer: watch::Sender<Option<Answer>>,
    place: Option<OwnedSemaphorePermit>,
}

// === impl Lookups ===

impl Lookups {
    /// So many names at once, each by the system.
    pub(super) fn new(size: usize) -> Self {
        Self::by(System, size)
    }

    /// So many names at once, each by that resolver.
    pub(super) fn by(resolver: impl Resolver + 'static, size: usize) -> Self {
        let places = Arc::new(Semaphore::new(size));
        let resolver = Box::new(resolver);
        Self(Arc::new(Desk { resolver, size, places, under_way: Mutex::default() }))
    }

    /// The answer for a host, on the current runtime's threads. Whoever does not wait for it any more leaves the
    /// lookup to the others.
    ///
    /// # Errors
    /// A local failure when all places are taken by other names.
    pub(super) async fn find(&self, host: &str) -> Attempt<Answer> {
        let mut answer = self.ask(host)?;
        let answer = answer.wait_for(Option::is_some).await.ok().and_then(|found| found.clone());
        answer.ok_or_else(|| {
            let message = format!("resolving {host}: the lookup was cut off, by a fault of ours");
            failure(FailureReason::Local, message)
        })
    }

    fn ask(&self, host: &str) -> Attempt<watch::Receiver<Option<Answer>>> {
        let desk = &self.0;
        let mut under_way = desk.under_way.lock();
        if let Some(answer) = under_way.get(host) {
            return Ok(answer.clone());
        }
        let place = Arc::clone(&desk.places).try_acquire_owned().map_err(|_| {
            let message = format!(
                "resolving {host}: {} other names are being resolved and not answered yet; this machine's \
                 name server is slow, or those names have a dead one",
                desk.size
            );
            failure(FailureReason::Local, message)
        })?;
        let (answer, receiver) = watch::channel(None);
        let _ = under_way.insert(host.to_owned(), receiver.clone());
        drop(under_way);
        let host = host.to_owned();
        let lookup = Lookup { desk: Arc::clone(desk), host, answer, place: Some(place) };
        drop(tokio::task::spawn_blocking(move || lookup.run()));
        Ok(receiver)
    }
}

// === impl Lookup ===

impl Lookup {
    fn run(mut self) {
        let found = self.desk.resolver.addresses(&self.host);
        // Before the answer: who has it finds the place free.
        self.leave();
        let _ = self.answer.send_replace(Some(Arc::new(found)));
    }

    fn leave(&mut self) {
        if let Some(place) = self.place.take() {
            drop(self.desk.under_way.lock().remove(&self.host));
            drop(place);
        }
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        self.leave();
    }
}

// === impl System ===

impl Resolver for System {
    fn addresses(&self, host: &str) -> io::Result<Vec<SocketAddr>> {
        Ok((host, 0).to_socket_addrs()?.collect())
    }
}
