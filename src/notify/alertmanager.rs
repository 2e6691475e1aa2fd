//! Alertmanager receivers: POST of one alert to `/api/v2/alerts` under a base address.
//!
//! An Alertmanager forgets what it does not hear again and tells alerts apart by their labels
//! alone; so it is told repeatedly, and needs no key against repetition.

use super::http::{Message, MessageError};
use super::payload::PostableAlert;
use crate::base::clock::UnixNanos;
use crate::base::secret::Secret;
use crate::model::notification::Notification;
use std::time::Duration;

/// The request that delivers `notification` as of `now`.
///
/// # Errors
/// When address or headers cannot be sent.
pub(super) fn message(
    base: &Secret,
    headers: &[(String, Secret)],
    timeout: Duration,
    notification: &Notification,
    now: UnixNanos,
) -> Result<Message, MessageError> {
    Message::json(base, headers, timeout, &[PostableAlert::new(notification, now)])?
        .below(&["api", "v2", "alerts"])
}
