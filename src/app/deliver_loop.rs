//! Outbox to couriers and back: what is due is submitted, what became of it is journaled. Also the
//! repetitions for receivers that forget, and the heartbeat.

use super::engine::Engine;
use crate::alert::book::notification;
use crate::base::clock::UnixNanos;
use crate::base::shutdown::Shutdown;
use crate::model::alert::Incident;
use crate::model::labels::Labels;
use crate::model::notification::{Notification, NotificationKind};
use crate::model::routing::Channel;
use crate::notify::{Courier, DeliveryResult, Outcome};
use crate::wire::record::{DeliveryRecord, Envelope, Kind};
use std::time::Duration;
use tokio::sync::mpsc;

/// The outbox is looked through at least this often, for what a full courier did not take.
const SWEEP: Duration = Duration::from_secs(5);
/// Alertmanager forgets: firing alerts are sent to it again this often.
const RESEND: Duration = Duration::from_secs(60);
/// And resolved ones for this long.
const RESEND_RESOLVED: Duration = Duration::from_secs(15 * 60);

/// Submits what is due until shutdown begins.
pub async fn run(engine: Engine, courier: Courier, shutdown: Shutdown) {
    let mut resent = engine.clock.now();
    let mut beaten: Option<UnixNanos> = None;
    while !shutdown.has_begun() {
        let now = engine.clock.now();
        let mut due: Vec<Notification> =
            engine.core.read().book.outbox.pending().cloned().collect();
        // The oldest first, so that no resolve comes before its firing.
        due.sort_by_key(|notification| (notification.created_at, notification.transition));
        if now.since(resent) >= RESEND {
            resent = now;
            due.extend(repetitions(&engine, now));
        }
        if let Some(heartbeat) = heartbeat(&engine, beaten, now) {
            beaten = Some(now);
            due.push(heartbeat);
        }
        for notification in due {
            if !courier.submit(notification) {
                break;
            }
        }
        tokio::select! {
            () = shutdown.begun() => break,
            () = engine.deliver.notified() => {}
            () = tokio::time::sleep(SWEEP) => {}
        }
    }
}

/// Journals what became of notifications until the couriers are gone.
pub async fn settle(engine: Engine, mut outcomes: mpsc::Receiver<Outcome>) {
    while let Some(outcome) = outcomes.recv().await {
        let (name, error) = match &outcome.result {
            DeliveryResult::Delivered => ("delivered", String::new()),
            DeliveryResult::Refused { error } => ("refused", error.clone()),
            DeliveryResult::GivenUp { error } => ("given_up", error.clone()),
        };
        tell(&outcome);
        if outcome.kind != NotificationKind::Transition {
            continue;
        }
        let record = DeliveryRecord {
            notification: outcome.id,
            at_unix_nano: outcome.at.0,
            outcome: name.to_owned(),
            error,
            attempts: outcome.attempts,
        };
        let _ = engine.record(Envelope::of(Kind::Delivery, outcome.at, &record), None).await;
    }
}

/// Logs what was not delivered. A repetition that is given up was told of when it first failed.
fn tell(outcome: &Outcome) {
    let (receiver, id) = (&outcome.receiver, &outcome.id);
    match &outcome.result {
        DeliveryResult::Delivered => {}
        DeliveryResult::GivenUp { error } if outcome.kind != NotificationKind::Transition => {
            tracing::debug!(receiver, id, error, "notification given up");
        }
        DeliveryResult::GivenUp { error } => {
            tracing::error!(receiver, id, error, "notification given up");
        }
        DeliveryResult::Refused { error } => {
            tracing::error!(receiver, id, error, "notification refused");
        }
    }
}

/// Alerts that Alertmanagers are to hear of again.
fn repetitions(engine: &Engine, now: UnixNanos) -> Vec<Notification> {
    let core = engine.core.read();
    let forgets = |name: &str| {
        let receiver = core.policy.receiver(name);
        receiver.is_some_and(|r| matches!(r.channel, Channel::Alertmanager { .. }))
    };
    let recently = |incident: &&Incident| {
        incident.ended_at.is_some_and(|ended| now.since(ended) < RESEND_RESOLVED)
    };
    let incidents = core.book.all_active().chain(core.book.all_ended().filter(recently));
    let told = incidents
        .flat_map(|incident| incident.notified.iter().map(move |(name, _)| (incident, name)));
    told.filter(|(_, name)| forgets(name))
        .map(|(incident, name)| notification(incident, name, now, NotificationKind::Resend))
        .collect()
}

fn heartbeat(engine: &Engine, beaten: Option<UnixNanos>, now: UnixNanos) -> Option<Notification> {
    let core = engine.core.read();
    let heartbeat = core.policy.heartbeat.as_ref()?;
    let due = beaten.is_none_or(|at| now.since(at) >= heartbeat.every);
    due.then(|| Notification {
        id: format!("heartbeat-{}", now.0),
        receiver: heartbeat.receiver.clone(),
        incident: "heartbeat".to_owned(),
        labels: Labels::new([("alertname", "RadiosondeHeartbeat"), ("severity", "none")]),
        annotations: Labels::new([(
            "summary",
            "radiosonde is alive; its silence would be the alarm",
        )]),
        starts_at: now,
        created_at: now,
        generator_url: core.policy.external_url.clone(),
        kind: NotificationKind::Heartbeat,
        ..Notification::default()
    })
}
