//! The delivery loop: takes what is due from the queue, tries it, and reports what became of it.
//!
//! Two tasks: the dispatcher starts attempts, the reporter hands outcomes over. They are apart so
//! that a slow taker of outcomes (a journal that cannot be written, say) never holds up a page.

use super::lane::Moment;
use super::queue::{Attempt, DeliveryResult, Outcome, PendingView, Queue, Verdict};
use crate::base::backoff::Backoff;
use crate::base::clock::Clock;
use crate::base::shutdown::Shutdown;
use crate::model::notification::{Delivery, Notification};
use crate::model::routing::Receiver;
use crate::telemetry::Telemetry;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// Delays between attempts at one notification.
const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(60) };

/// An attempt ends after this, whatever timeout its receiver has.
pub const MAX_ATTEMPT_TIME: Duration = Duration::from_secs(120);

/// What the courier needs to know.
#[derive(Clone, Debug, Default)]
pub struct CourierConfig {
    /// Everybody who may be named in a notification; names are unique.
    pub receivers: Vec<Receiver>,
}

/// Delivers notifications until shutdown. Clones are the same courier.
#[derive(Clone, Debug)]
pub struct Courier {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    telemetry: Telemetry,
    client: reqwest::Client,
    queue: Mutex<Queue>,
    /// Rung when something may have become due.
    due: Notify,
    /// Rung when something was settled or came back.
    settled: Notify,
}

// === impl Courier ===

impl Courier {
    /// Starts the delivery loop on the current runtime. It ends with `shutdown`: no attempt begins
    /// after the signal, and those under way are waited for. `outcomes` gets one message for each
    /// accepted notification that is settled; its receiver belongs to whoever keeps the outbox.
    #[must_use]
    pub fn start(
        config: CourierConfig,
        clock: Clock,
        telemetry: Telemetry,
        shutdown: &Shutdown,
        outcomes: mpsc::Sender<Outcome>,
    ) -> Self {
        let queue = Queue::new(config.receivers, BACKOFF);
        Self::start_with(queue, clock, telemetry, shutdown, outcomes)
    }

    /// The same with a queue that a test has set up.
    pub(super) fn start_with(
        queue: Queue,
        clock: Clock,
        telemetry: Telemetry,
        shutdown: &Shutdown,
        outcomes: mpsc::Sender<Outcome>,
    ) -> Self {
        let shared = Arc::new(Shared {
            clock,
            telemetry,
            client: super::http::client(),
            queue: Mutex::new(queue),
            due: Notify::new(),
            settled: Notify::new(),
        });
        shutdown.spawn(dispatch(Arc::clone(&shared), shutdown.clone()));
        shutdown.spawn(report(Arc::clone(&shared), shutdown.clone(), outcomes));
        Self { shared }
    }

    /// Takes a notification over from the outbox. True when it is in hand, also when it was so
    /// before or was settled a short while ago: handing over twice does no harm. False when there
    /// is no room; the outbox keeps it and hands over again later, always the oldest first, so that
    /// no resolve comes before its firing.
    pub fn submit(&self, notification: Notification) -> bool {
        let accepted = self.shared.queue.lock().submit(notification, self.shared.now());
        self.shared.changed();
        accepted
    }

    /// From now on these are the receivers. Notifications that wait for one that is gone are
    /// refused; those for one that changed are tried at once.
    pub fn replace_receivers(&self, receivers: Vec<Receiver>) {
        self.shared.queue.lock().replace_receivers(receivers, self.shared.now());
        self.shared.changed();
    }

    /// Everything in hand that is not settled, for the page: by receiver and incident, in order.
    #[must_use]
    pub fn pending(&self) -> Vec<PendingView> {
        self.shared.queue.lock().views()
    }
}

// === impl Shared ===

impl Shared {
    fn now(&self) -> Moment {
        Moment { unix: self.clock.now(), mono: self.clock.monotonic() }
    }

    fn changed(&self) {
        self.due.notify_one();
        self.settled.notify_one();
    }

    fn take_due(&self) -> Option<Attempt> {
        let now = self.now();
        self.queue.lock().take_due(now)
    }

    fn next_outcome(&self) -> Option<Outcome> {
        self.queue.lock().next_outcome()
    }

    /// Resolves when the next attempt may be due.
    async fn wait_until_due(&self) {
        let next = self.queue.lock().next_due();
        match next {
            Some(due) => tokio::time::sleep(due.since(self.clock.monotonic())).await,
            None => std::future::pending().await,
        }
    }

    async fn attempt(&self, attempt: Attempt) {
        let Attempt { receiver, notification } = attempt;
        let work = super::deliver(&self.client, &receiver, &notification, self.clock.now());
        let delivery = tokio::time::timeout(MAX_ATTEMPT_TIME, work).await.unwrap_or_else(|_| {
            Delivery::Retry { error: "the attempt took too long".to_owned(), after_seconds: None }
        });
        let now = self.now();
        let verdict = self.queue.lock().finish(&notification, delivery, now, rand::random());
        if let Some(verdict) = verdict {
            self.tell(&notification, now, &verdict);
        }
        self.changed();
    }

    /// Counts and logs what came of an attempt.
    fn tell(&self, notification: &Notification, now: Moment, verdict: &Verdict) {
        let Notification { receiver, id, .. } = notification;
        let outcome = match verdict {
            Verdict::Settled(DeliveryResult::Delivered) => {
                tracing::debug!(receiver, id, "notification delivered");
                let duration = &self.telemetry.notify_delivery_duration_seconds;
                let taken = now.unix.since(notification.created_at).as_secs_f64();
                duration.with_label_values(&[receiver]).observe(taken);
                "delivered"
            }
            // Whoever takes the outcomes says what was not delivered.
            Verdict::Settled(DeliveryResult::Refused { .. }) => "refused",
            Verdict::Settled(DeliveryResult::GivenUp { .. }) => "given_up",
            Verdict::Retried { error, attempts } => {
                // The first failure is news; the same again once a minute for a day is not.
                if *attempts == 1 {
                    tracing::warn!(receiver, id, error, "notification not delivered, will retry");
                } else {
                    tracing::debug!(receiver, id, error, attempts, "notification not delivered");
                }
                "retried"
            }
        };
        self.telemetry.notify_attempts_total.with_label_values(&[receiver, outcome]).inc();
    }
}

// === the tasks ===

async fn dispatch(shared: Arc<Shared>, shutdown: Shutdown) {
    while !shutdown.has_begun() {
        while let Some(attempt) = shared.take_due() {
            let shared = Arc::clone(&shared);
            shutdown.spawn(async move { shared.attempt(attempt).await });
        }
        // Taking may have settled what was overtaken.
        shared.settled.notify_one();
        tokio::select! {
            () = shutdown.begun() => {}
            () = shared.due.notified() => {}
            () = shared.wait_until_due() => {}
        }
    }
}

async fn report(shared: Arc<Shared>, shutdown: Shutdown, outcomes: mpsc::Sender<Outcome>) {
    loop {
        while let Some(outcome) = shared.next_outcome() {
            // Nobody takes outcomes any more: the process ends, and the outbox will hand over
            // again what it has not heard of.
            if outcomes.send(outcome).await.is_err() {
                return;
            }
        }
        if shutdown.has_begun() && shared.queue.lock().at_rest() {
            return;
        }
        tokio::select! {
            () = shared.settled.notified() => {}
            () = shutdown.begun(), if !shutdown.has_begun() => {}
        }
    }
}
