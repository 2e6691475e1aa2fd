//! Whether a session survives its connection: what is published while the subscriber is away must
//! reach it when it is back.

use super::super::failure::{Attempt, failure};
use super::super::limits::pace;
use super::super::record::StepRecord;
use super::super::stream::{Confirmation, Outlet};
use super::line::Route;
use super::session::{Caller, Membership, Session};
use super::step::MqttVersion;
use crate::model::probe::{FailureReason, Phase};
use std::time::Duration;

/// So long a server is to keep a session whose definition does not say.
const EXPIRY: Duration = Duration::from_secs(60);

/// What is published while the subscriber is away.
#[derive(Clone, Debug)]
pub(super) struct Absence {
    /// The client identifier of who publishes.
    pub client_id: String,
    /// Where to.
    pub route: Route,
    /// What.
    pub message: String,
}

/// Subscribes, loses the connection, publishes over another one, and comes back. Hands back the
/// connection of the return, over which the message is to come.
pub(super) async fn resume(
    caller: Caller<'_>,
    client_id: &str,
    filters: &[String],
    absence: Absence,
    record: &mut StepRecord,
) -> Attempt<Session> {
    let expiry = Some(caller.step.session_expiry.unwrap_or(EXPIRY));
    let member = Membership { client_id, clean_start: false, expiry };
    // What an earlier run left is not to be continued. Version 5 forgets it and keeps the session
    // that then begins; in 3.1.1 a clean session is not kept.
    let is_v5 = caller.step.version == MqttVersion::V5;
    if !is_v5 {
        let forget = Membership { clean_start: true, ..member };
        let cleaned = caller.join(forget, record).await?;
        let mut cleaned = caller.publisher(&cleaned, None);
        caller.with.deadline.run("forgetting an earlier session", cleaned.hang_up()).await?;
    }
    let first = caller.join(Membership { clean_start: is_v5, ..member }, record).await?;
    caller.subscribe(filters, &first, record).await?;
    first.lose().await;

    publish(caller, absence, record).await?;

    let back = caller.join(member, record).await?;
    record.attribute("mqtt.session_present", back.session_present);
    let name = "the session is resumed".to_owned();
    if !back.session_present {
        record.check(name, Err("the server began a new one".to_owned()));
        let text = format!(
            "resume refused: {} began a new session instead of continuing that of {client_id}",
            caller.target
        );
        return Err(failure(FailureReason::Check, text));
    }
    record.check(name, Ok(()));
    Ok(back)
}

async fn publish(caller: Caller<'_>, absence: Absence, record: &mut StepRecord) -> Attempt<()> {
    let Absence { client_id, route, message } = absence;
    let membership = Membership { client_id: &client_id, clean_start: true, expiry: None };
    let session = caller.join(membership, record).await?;
    let mut publisher = caller.publisher(&session, Some(route));
    let doing = "publishing while the subscriber is away";
    let deadline = caller.with.deadline;
    pace(caller.target, 1, caller.with, record).await?;
    let from = record.now();
    let sent = deadline.run(doing, publisher.send(message)).await?;
    sent.map_err(|error| session.why(error))?;
    let written = record.now();
    record.phase(Phase::Send, from, written);
    let confirmed = deadline.run(doing, publisher.confirmed()).await?;
    let confirmed = confirmed.map_err(|error| session.why(error))?;
    if let Some(Confirmation { at, status, refusal }) = confirmed {
        record.phase(Phase::Wait, written, at);
        if let Some(words) = refusal {
            record.status(status);
            return Err(failure(FailureReason::Status, words));
        }
    }
    deadline.run(doing, publisher.hang_up()).await
}
