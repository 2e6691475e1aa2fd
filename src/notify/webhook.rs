//! Webhook receivers: Alertmanager's payload, version 4, by POST to one address.

use super::http::{Message, MessageError};
use super::payload::{WebhookMessage, idempotency_key};
use crate::base::secret::Secret;
use crate::model::notification::Notification;
use std::time::Duration;

/// The request that delivers `notification`.
///
/// # Errors
/// When address or headers cannot be sent.
pub(super) fn message(
    url: &Secret,
    headers: &[(String, Secret)],
    timeout: Duration,
    notification: &Notification,
) -> Result<Message, MessageError> {
    Message::json(url, headers, timeout, &WebhookMessage::new(notification))?
        .with_idempotency_key(&idempotency_key(notification))
}
