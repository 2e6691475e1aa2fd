//! Receivers that are down, lose answers, and recognise what they were told before.

use crate::model::notification::{Delivery, Notification};
use rand::Rng;
use rand::rngs::StdRng;
use std::collections::HashSet;

/// All receivers: what they hold, each message once, in the order in which it came first.
#[derive(Debug, Default)]
pub(super) struct Receivers {
    known: HashSet<String>,
    pub(super) told: Vec<Notification>,
    /// How often something came that was known.
    pub(super) repeated: u64,
    pub(super) are_down: bool,
}

impl Receivers {
    /// One attempt: delivered, delivered with its answer lost, or failed.
    pub(super) fn take(&mut self, notification: &Notification, rng: &mut StdRng) -> Delivery {
        let failed = Delivery::Retry { error: "500".to_owned(), after_seconds: None };
        if self.are_down || rng.random_bool(0.2) {
            return failed;
        }
        if self.known.insert(notification.id.clone()) {
            self.told.push(notification.clone());
        } else {
            self.repeated += 1;
        }
        if rng.random_bool(0.2) { failed } else { Delivery::Delivered }
    }
}
