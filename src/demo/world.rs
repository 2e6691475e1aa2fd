//! Puts the demo together: the sample back end and the pager first, then the daemon, then the
//! phones that report to it, then the script; and takes it apart in reverse order.
//!
//! The daemon itself is somebody else's: [`World::run`] is given a hook that starts it with the
//! embedded files and says where its page and its OTLP endpoint are.

use super::backend::{DEFAULT_ADDRESS, DEFAULT_MQTT_ADDRESS, start_backend, start_mqtt};
use super::backend::{NAMES_ADDRESS, SECURE_ADDRESS, TwinSockets, start_names, start_secure};
use super::cohort::Cohort;
use super::conditions::Conditions;
use super::files;
use super::narrator::{Narrator, Tone};
use super::phones::{Fleet, Phones, PhonesError, REGION_ATTRIBUTE};
use super::receiver::receiver;
use super::script::Script;
use crate::base::clock::Clock;
use crate::base::duration;
use crate::base::shutdown::Shutdown;
use crate::model::objective::Slo;
use crate::model::routing::Receiver;
use futures::future::BoxFuture;
use std::error::Error;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// The daemon has so long to start, ...
const START_LIMIT: Duration = Duration::from_secs(30);
/// ... and so long to end.
const END_LIMIT: Duration = Duration::from_secs(20);
/// Back end and pager have so long to end.
const EDGE_LIMIT: Duration = Duration::from_secs(5);

/// How the demo is to be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the sample back end listens; port 0 takes any that is free.
    pub backend: SocketAddr,
    /// Where the sample name server listens; port 0 takes any that is free.
    pub names: SocketAddr,
    /// Where its secure edge listens; port 0 takes any that is free.
    pub secure: SocketAddr,
    /// Where its MQTT server listens; port 0 takes any that is free.
    pub mqtt: SocketAddr,
    /// What goes wrong when.
    pub script: Script,
    /// The demo ends by itself after this; otherwise when it is told to.
    pub lasts: Option<Duration>,
    /// The phones.
    pub cohorts: Vec<Cohort>,
    /// Decides everything that is random about the phones' behaviour.
    pub seed: u64,
}

/// What the hook is asked to start: a daemon on these files, in a data folder of its own choosing
/// that is removed when the daemon ends.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The embedded files, aimed at the sample back end: path in the repository, and text.
    pub files: Vec<(String, String)>,
    /// Where all notifications are to go.
    pub pager: SocketAddr,
    /// The resource attribute with a phone's region.
    pub region_attribute: &'static str,
    /// Path templates for phones that report whole URLs.
    pub routes: &'static [&'static str],
    /// Begins when the daemon is to end.
    pub shutdown: Shutdown,
}

/// A daemon that was started.
pub struct Started {
    /// The address of its page.
    pub page: String,
    /// The base of its OTLP/HTTP endpoint, `http://127.0.0.1:4318`.
    pub otlp_http: String,
    /// Resolves once the daemon has ended and its data folder is gone.
    pub ended: BoxFuture<'static, Result<(), BoxError>>,
}

/// Whatever goes wrong inside the hook.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why the demo does not run, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The port of the sample back end is taken, or not ours to take.
    #[error("cannot serve the demo's back end on {address}; is another demo running there?")]
    Backend {
        /// Where it should listen.
        address: SocketAddr,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// No port for the pager.
    #[error("cannot listen on loopback for the demo's own notifications")]
    Pager(#[source] io::Error),
    /// The hook failed.
    #[error("cannot start the daemon for the demo")]
    Start(#[source] BoxError),
    /// The hook did not return.
    #[error("the daemon did not start within {} s", START_LIMIT.as_secs())]
    StartOverdue,
    /// The phones did not start.
    #[error("cannot start the demo's phones")]
    Phones(#[source] PhonesError),
    /// The daemon ended before the demo, without an error.
    #[error("the daemon ended by itself")]
    Ended,
    /// The daemon failed, while the demo ran or when it was to end.
    #[error("the daemon failed")]
    Daemon(#[source] BoxError),
    /// The daemon did not end.
    #[error("the daemon did not end within {} s; its data folder may be left", END_LIMIT.as_secs())]
    EndOverdue,
}

/// The demo world: a back end that can be broken and a pager, both running, and a script.
pub struct World {
    settings: Settings,
    narrator: Narrator,
    clock: Clock,
    conditions: Arc<Conditions>,
    backend: SocketAddr,
    names: SocketAddr,
    secure: SocketAddr,
    mqtt: SocketAddr,
    pager: SocketAddr,
    /// Of back end and pager.
    edge: Shutdown,
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            backend: DEFAULT_ADDRESS.parse().unwrap_or(loopback(7070)),
            names: NAMES_ADDRESS.parse().unwrap_or(loopback(7073)),
            secure: SECURE_ADDRESS.parse().unwrap_or(loopback(7074)),
            mqtt: DEFAULT_MQTT_ADDRESS.parse().unwrap_or(loopback(7071)),
            script: Script::demo(),
            lasts: None,
            cohorts: Cohort::all(),
            seed: 1,
        }
    }
}

// === impl Launch ===

impl Launch {
    /// Bends what was read from [`Launch::files`] to the demo: short windows, and every receiver is
    /// the terminal.
    pub fn adapt<'a>(
        &self,
        slos: impl IntoIterator<Item = &'a mut Slo>,
        receivers: impl IntoIterator<Item = &'a mut Receiver>,
    ) {
        files::overrides(slos);
        files::redirect(receivers, self.pager);
    }
}

// === impl World ===

impl World {
    /// Starts the back end and the pager.
    ///
    /// # Errors
    /// When a port cannot be had.
    pub async fn build(
        settings: Settings,
        narrator: Narrator,
        clock: Clock,
    ) -> Result<Self, DemoError> {
        let (listener, backend) = listen(settings.backend).await?;
        let (topics, mqtt) = listen(settings.mqtt).await?;
        let name_sockets = twins(settings.names).await?;
        let secure_sockets = twins(settings.secure).await?;
        let (names, secure) = (name_sockets.address(), secure_sockets.address());
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let pages = TcpListener::bind(loopback).await.map_err(DemoError::Pager)?;
        let pager = pages.local_addr().map_err(DemoError::Pager)?;

        let (conditions, edge) = (Arc::new(Conditions::calm()), Shutdown::new());
        edge.spawn(start_backend(listener, conditions.clone(), edge.clone()));
        edge.spawn(start_mqtt(topics, edge.clone()));
        edge.spawn(start_names(name_sockets, edge.clone()));
        edge.spawn(start_secure(secure_sockets, edge.clone()));
        edge.spawn(receiver(pages, narrator.clone(), edge.clone()));
        Ok(Self {
            settings,
            narrator,
            clock,
            conditions,
            backend,
            mqtt,
            names,
            secure,
            pager,
            edge,
        })
    }

    /// Where the back end listens.
    #[must_use]
    pub fn backend(&self) -> SocketAddr {
        self.backend
    }

    /// Starts a daemon with `hook`, lets phones report to it and plays the script, until `stop`
    /// begins or the time is up. Then everything ends, the daemon before the back end it probes.
    ///
    /// # Errors
    /// When daemon or phones do not start, or the daemon fails or does not end.
    pub async fn run<H, F>(self, hook: H, stop: &Shutdown) -> Result<(), DemoError>
    where
        H: FnOnce(Launch) -> F,
        F: Future<Output = Result<Started, BoxError>>,
    {
        let outcome = self.with_daemon(hook, stop).await;
        let _ = self.edge.drain(EDGE_LIMIT).await;
        if outcome.is_ok() {
            self.narrator.say(Tone::Note, "the demo is over");
        }
        outcome
    }

    async fn with_daemon<H, F>(&self, hook: H, stop: &Shutdown) -> Result<(), DemoError>
    where
        H: FnOnce(Launch) -> F,
        F: Future<Output = Result<Started, BoxError>>,
    {
        let shutdown = Shutdown::new();
        let launch = Launch {
            files: files::aimed_at(&[
                (DEFAULT_ADDRESS, self.backend),
                (DEFAULT_MQTT_ADDRESS, self.mqtt),
                (NAMES_ADDRESS, self.names),
                (SECURE_ADDRESS, self.secure),
            ]),
            pager: self.pager,
            region_attribute: REGION_ATTRIBUTE,
            routes: &files::ROUTES,
            shutdown: shutdown.clone(),
        };
        let Ok(started) = tokio::time::timeout(START_LIMIT, hook(launch)).await else {
            shutdown.begin();
            return Err(DemoError::StartOverdue);
        };
        let Started { page, otlp_http, mut ended } = started.map_err(DemoError::Start)?;

        let played = tokio::select! {
            outcome = &mut ended => {
                return Err(outcome.map_or_else(DemoError::Daemon, |()| DemoError::Ended));
            }
            played = self.with_phones(&page, otlp_http, stop) => played,
        };
        shutdown.begin();
        let end = match tokio::time::timeout(END_LIMIT, ended).await {
            Ok(outcome) => outcome.map_err(DemoError::Daemon),
            Err(_) => Err(DemoError::EndOverdue),
        };
        // What failed first is what people need to know.
        played.and(end)
    }

    async fn with_phones(
        &self,
        page: &str,
        otlp: String,
        stop: &Shutdown,
    ) -> Result<(), DemoError> {
        let fleet = Fleet {
            cohorts: self.settings.cohorts.clone(),
            backend: self.backend,
            otlp,
            conditions: self.conditions.clone(),
            clock: self.clock.clone(),
            seed: self.settings.seed,
        };
        let phones = Phones::start(&fleet).map_err(DemoError::Phones)?;
        self.introduce(page, fleet.cohorts.len());
        let script = &self.settings.script;
        tokio::select! {
            () = script.play(&self.conditions, &self.narrator, &self.clock, stop) => {}
            () = elapsed(self.settings.lasts) => {}
        }
        self.conditions.clear();
        self.narrator.say(Tone::Note, "ending: phones, daemon, back end");
        if !phones.stop().await {
            self.narrator.say(Tone::Note, "some phones did not end in time");
        }
        Ok(())
    }

    fn introduce(&self, page: &str, phones: usize) {
        let note = |text: &str| self.narrator.say(Tone::Note, text);
        let (backend, mqtt) = (self.backend, self.mqtt);
        note(&format!("the sample back end serves on http://{backend} and mqtt://{mqtt}"));
        note(&format!("{phones} simulated phones use it and report through OpenTelemetry"));
        let (window, pair) = (duration::format(files::WINDOW), files::BURN.name());
        note(&format!("windows are cut to {window} and burn pairs to {pair} for this demo"));
        note(&format!("watch the page: {page}"));
        note(&match self.settings.lasts {
            Some(lasts) => format!("it ends in {}, or with Ctrl-C", duration::humane(lasts)),
            None => "it goes on until Ctrl-C".to_owned(),
        });
    }
}

/// A listener for a part of the back end, and where it is.
async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), DemoError> {
    let refused = |source| DemoError::Backend { address, source };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let at = listener.local_addr().map_err(refused)?;
    Ok((listener, at))
}

async fn twins(address: SocketAddr) -> Result<TwinSockets, DemoError> {
    TwinSockets::bind(address).await.map_err(|source| DemoError::Backend { address, source })
}

/// Resolves after `lasts`; never without one.
async fn elapsed(lasts: Option<Duration>) {
    match lasts {
        Some(lasts) => tokio::time::sleep(lasts).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
