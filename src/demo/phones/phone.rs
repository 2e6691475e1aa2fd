//! What a phone does all day: open the app, send and read messages, close it or crash.

use super::request::Call;
use super::sdk::Sdk;
use crate::base::clock::Clock;
use crate::base::shutdown::Shutdown;
use crate::demo::cohort::Cohort;
use crate::demo::conditions::Conditions;
use crate::wire::semconv;
use opentelemetry::logs::{LogRecord, Logger, Severity};
use rand::Rng;
use rand::rngs::StdRng;
use reqwest::Method;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// Requests in a session that does not crash.
const SESSION_REQUESTS: u32 = 8;
/// From the start of one request to the start of the next, milliseconds.
const PACE_MS: std::ops::Range<u64> = 600..1_000;
/// From one session to the next, milliseconds.
const REST_MS: std::ops::Range<u64> = 300..900;
/// Rooms that phones talk in.
const ROOMS: u32 = 8;

/// A phone, with a user who never tires.
pub(super) struct Phone {
    pub(super) cohort: Cohort,
    pub(super) sdk: Sdk,
    pub(super) http: reqwest::Client,
    pub(super) backend: SocketAddr,
    pub(super) conditions: Arc<Conditions>,
    pub(super) clock: Clock,
    pub(super) luck: StdRng,
    /// The last message that it sent.
    pub(super) latest: Option<String>,
}

// === impl Phone ===

impl Phone {
    /// Lives until `stop` begins; a request that is under way then is finished and reported.
    pub(super) async fn live(mut self, stop: Shutdown) {
        // Not everybody opens the app in the same instant.
        let mut rest = Duration::from_millis(self.luck.random_range(0..PACE_MS.end));
        while pause(rest, &stop).await {
            self.session(&stop).await;
            rest = Duration::from_millis(self.luck.random_range(REST_MS));
        }
    }

    async fn session(&mut self, stop: &Shutdown) {
        let session = format!("{:032x}", self.luck.random::<u128>());
        self.event("session.start", &session, &[]);
        let crashes = self.luck.random_bool(self.conditions.crash_ratio(self.cohort.release));
        let requests =
            if crashes { self.luck.random_range(1..SESSION_REQUESTS) } else { SESSION_REQUESTS };
        for _ in 0..requests {
            let began = self.clock.monotonic();
            let call = self.next_call();
            if self.request(&call, &session).await && call.sends.is_some() {
                self.latest = call.sends;
            }
            // Counted from the start: a slow back end does not make people ask less often.
            let pace = Duration::from_millis(self.luck.random_range(PACE_MS));
            let left = pace.saturating_sub(self.clock.monotonic().since(began));
            if !pause(left, stop).await {
                break;
            }
        }
        if crashes {
            let crash = [
                ("exception.type", self.cohort.os.crash_type()),
                ("exception.message", "the conversation list is empty"),
            ];
            self.event("app.crash", &session, &crash);
        } else {
            self.event("session.end", &session, &[]);
        }
    }

    /// Mostly sending, some reading.
    fn next_call(&mut self) -> Call {
        let room = self.luck.random_range(0..ROOMS);
        match (self.luck.random_range(0..100), &self.latest) {
            (60..85, Some(id)) => Call {
                method: Method::GET,
                template: "/messages/{id}",
                path: format!("/messages/{id}"),
                sends: None,
            },
            (85..100, _) => Call {
                method: Method::GET,
                template: "/rooms/{id}/messages",
                path: format!("/rooms/{room}/messages"),
                sends: None,
            },
            _ => {
                let id = format!("{:016x}", self.luck.random::<u64>());
                Call {
                    method: Method::POST,
                    template: "/rooms/{id}/messages",
                    path: format!("/rooms/{room}/messages"),
                    sends: Some(id),
                }
            }
        }
    }

    /// Reports an event of the app's life.
    fn event(
        &self,
        name: &'static str,
        session: &str,
        attributes: &[(&'static str, &'static str)],
    ) {
        let mut record = self.sdk.logger.create_log_record();
        record.set_event_name(name);
        record.set_timestamp(UNIX_EPOCH + Duration::from_nanos(self.clock.now().0));
        record.set_severity_number(Severity::Info);
        record.add_attribute(semconv::SESSION_ID, session.to_owned());
        record.add_attribute(semconv::NETWORK_CONNECTION_TYPE, self.cohort.network.as_str());
        record.add_attributes(attributes.iter().copied());
        self.sdk.logger.emit(record);
    }
}

/// Waits; false when `stop` begins before.
async fn pause(rest: Duration, stop: &Shutdown) -> bool {
    tokio::select! {
        () = tokio::time::sleep(rest) => !stop.has_begun(),
        () = stop.begun() => false,
    }
}
