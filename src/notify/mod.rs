//! Floor 4: delivers notifications to receivers, and knows nothing of why an alert fired.
//!
//! `alert/` decides and journals; `app/` hands over what the outbox holds; the [`Courier`] delivers
//! at least once, in order per receiver and incident, and reports what became of each. A receiver
//! kind is one file with one arm in [`deliver`]. Secrets stay inside: an error names a receiver by
//! scheme and host alone.

mod alertmanager;
mod courier;
mod desk;
mod http;
mod lane;
pub mod payload;
mod queue;
mod recent;
pub(crate) mod scrub;
mod webhook;

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use {
    lane::Moment,
    queue::{Attempt, Queue},
};

pub use courier::{Courier, CourierConfig, MAX_ATTEMPT_TIME};
pub use http::client;
pub use lane::MAX_RETRY_AFTER;
pub use queue::{DeliveryResult, GIVE_UP_AFTER, MAX_IN_FLIGHT, MAX_PENDING, Outcome, PendingView};

use crate::base::clock::UnixNanos;
use crate::model::notification::{Delivery, Notification};
use crate::model::routing::{Channel, Receiver};

/// One attempt to deliver `notification` to `receiver` at `now`; takes at most the receiver's
/// timeout. Never fails otherwise than by its answer, whose words hold no secret.
pub async fn deliver(
    client: &reqwest::Client,
    receiver: &Receiver,
    notification: &Notification,
    now: UnixNanos,
) -> Delivery {
    let message = match &receiver.channel {
        Channel::Webhook { url, headers, timeout } => {
            webhook::message(url, headers, *timeout, notification)
        }
        Channel::Alertmanager { url, headers, timeout } => {
            alertmanager::message(url, headers, *timeout, notification, now)
        }
    };
    match message {
        Ok(message) => http::post(client, message, now).await,
        Err(error) => Delivery::Refused { error: error.to_string() },
    }
}
