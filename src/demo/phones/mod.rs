//! A fleet of simulated phones. They really talk to the back end, and really report what they
//! measured through the OpenTelemetry SDK: client spans, session and crash events, and a histogram.
//!
//! One phone and one SDK instance a cohort, on a runtime and threads of their own, so that the
//! fleet neither helps nor hinders the daemon that it reports to.

mod phone;
mod request;
mod sdk;
mod uplink;

pub use uplink::UplinkError;

use super::cohort::Cohort;
use super::conditions::Conditions;
use super::loopback::{self, ClientError};
use crate::base::clock::Clock;
use crate::base::shutdown::Shutdown;
use phone::Phone;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sdk::Sdk;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// The name that all phones report as `service.name`.
pub const APP: &str = "chat-app";

/// The resource attribute in which phones report their region.
pub const REGION_ATTRIBUTE: &str = "region";

/// Threads of the fleet's runtime.
const WORKERS: usize = 2;
/// How long phones may finish what they are doing when told to stop.
const DRAIN: Duration = Duration::from_secs(3);
/// How long an SDK may try to deliver its last batches.
const FLUSH: Duration = Duration::from_secs(3);
/// How long the runtime may end.
const RUNTIME_END: Duration = Duration::from_secs(1);

/// What a fleet is made of.
#[derive(Clone)]
pub struct Fleet {
    /// One phone each; at most [`Cohort::LIMIT`] are taken.
    pub cohorts: Vec<Cohort>,
    /// The back end that they talk to.
    pub backend: SocketAddr,
    /// Where they report: the base of an OTLP/HTTP endpoint, `http://127.0.0.1:4318`.
    pub otlp: String,
    /// The weather.
    pub conditions: Arc<Conditions>,
    /// The phones' clock.
    pub clock: Clock,
    /// Decides everything that is random about the phones' behaviour.
    pub seed: u64,
}

/// Why the fleet does not start.
#[derive(Debug, thiserror::Error)]
pub enum PhonesError {
    /// The operating system gave no thread or no runtime.
    #[error("cannot start a runtime for the simulated phones")]
    Runtime(#[source] std::io::Error),
    /// The HTTP client could not be built.
    #[error("cannot build the HTTP client of the simulated phones")]
    Client(#[source] ClientError),
    /// An exporter of the SDK refused its settings.
    #[error("cannot set up the OpenTelemetry SDK to report to {endpoint}")]
    Sdk {
        /// Where reports should have gone.
        endpoint: String,
        /// What the SDK says.
        #[source]
        source: Box<opentelemetry_otlp::ExporterBuildError>,
    },
}

/// A running fleet.
pub struct Phones {
    shutdown: Shutdown,
    ended: oneshot::Receiver<()>,
}

// === impl Phones ===

impl Phones {
    /// Starts the fleet on a thread of its own.
    ///
    /// # Errors
    /// When there is no thread or runtime to be had, or the HTTP client or the SDK cannot be set up.
    pub fn start(fleet: &Fleet) -> Result<Self, PhonesError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .thread_name("demo-phones")
            .enable_all()
            .build()
            .map_err(PhonesError::Runtime)?;
        let shutdown = Shutdown::new();
        let (tell, ended) = oneshot::channel();
        let signal = shutdown.clone();
        match fleet.phones(&runtime) {
            Ok(phones) => {
                // A runtime must not end inside another one, hence the thread.
                let _ = std::thread::Builder::new()
                    .name("demo-fleet".to_owned())
                    .spawn(move || {
                        runtime.block_on(run(phones, signal));
                        runtime.shutdown_timeout(RUNTIME_END);
                        let _ = tell.send(());
                    })
                    .map_err(PhonesError::Runtime)?;
                Ok(Self { shutdown, ended })
            }
            Err(error) => {
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    /// Stops the phones and lets their SDKs deliver what they have; at most seven seconds. False
    /// when the fleet was still busy then.
    pub async fn stop(mut self) -> bool {
        self.shutdown.begin();
        let limit = DRAIN + FLUSH + RUNTIME_END;
        matches!(tokio::time::timeout(limit, &mut self.ended).await, Ok(Ok(())))
    }
}

impl Drop for Phones {
    fn drop(&mut self) {
        self.shutdown.begin();
    }
}

// === impl Fleet ===

impl Fleet {
    fn phones(&self, runtime: &Runtime) -> Result<Vec<Phone>, PhonesError> {
        // Clients bind to the runtime in which they are built.
        let _entered = runtime.enter();
        let http = loopback::client().map_err(PhonesError::Client)?;
        let mut seeds = StdRng::seed_from_u64(self.seed);
        let cohorts = self.cohorts.iter().take(Cohort::LIMIT);
        cohorts.map(|&cohort| self.phone(cohort, &http, runtime, seeds.random())).collect()
    }

    fn phone(
        &self,
        cohort: Cohort,
        http: &reqwest::Client,
        runtime: &Runtime,
        seed: u64,
    ) -> Result<Phone, PhonesError> {
        let mut luck = StdRng::seed_from_u64(seed);
        let uplink = uplink::Uplink::new(
            http.clone(),
            runtime.handle().clone(),
            cohort,
            self.conditions.clone(),
            luck.random(),
        );
        let installation = format!("{:032x}", luck.random::<u128>());
        let sdk = Sdk::start(cohort, &installation, &self.otlp, uplink).map_err(|source| {
            PhonesError::Sdk { endpoint: self.otlp.clone(), source: Box::new(source) }
        })?;
        Ok(Phone {
            cohort,
            sdk,
            http: http.clone(),
            backend: self.backend,
            conditions: self.conditions.clone(),
            clock: self.clock.clone(),
            luck,
            latest: None,
        })
    }
}

/// Runs the phones until `shutdown` begins, then flushes and ends their SDKs, all at once.
async fn run(phones: Vec<Phone>, shutdown: Shutdown) {
    let sdks: Vec<Sdk> = phones.iter().map(|phone| phone.sdk.clone()).collect();
    for phone in phones {
        shutdown.spawn(phone.live(shutdown.clone()));
    }
    shutdown.begun().await;
    if !shutdown.drain(DRAIN).await {
        tracing::warn!("simulated phones did not finish in time");
    }
    let mut endings = JoinSet::new();
    for sdk in sdks {
        // Blocking: the SDK waits for its own threads.
        let _ = endings.spawn_blocking(move || sdk.end(FLUSH));
    }
    let _ = tokio::time::timeout(FLUSH, endings.join_all()).await;
}

#[cfg(test)]
mod tests;
