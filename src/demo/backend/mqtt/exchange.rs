//! Who is connected to the sample MQTT server, what each wants, and how messages get there.

use bytes::Bytes;
use mqtt_protocol_core::mqtt::packet::Qos;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::mpsc;
use tracing::warn;

/// Filters of one client.
const MAX_FILTERS: usize = 16;
/// Messages that wait for one client.
const MAX_WAITING: usize = 64;

/// A message on its way.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// Its topic.
    pub(super) topic: Arc<str>,
    /// What it says.
    pub(super) payload: Bytes,
    /// How surely it is to arrive.
    pub(super) qos: Qos,
}

/// Who is there, and wants what.
#[derive(Debug, Default)]
pub(super) struct Exchange(Mutex<Clients>);

#[derive(Debug, Default)]
struct Clients {
    next: u64,
    by_number: BTreeMap<u64, Subscriber>,
    dropped: u64,
}

#[derive(Debug)]
struct Subscriber {
    filters: Vec<(String, Qos)>,
    outbox: mpsc::Sender<Message>,
}

// === impl Exchange ===

impl Exchange {
    /// A number for a client, and where the messages for it will be.
    pub(super) fn enter(&self) -> (u64, mpsc::Receiver<Message>) {
        let (outbox, waiting) = mpsc::channel(MAX_WAITING);
        let mut clients = self.0.lock();
        clients.next += 1;
        let number = clients.next;
        clients.by_number.insert(number, Subscriber { filters: Vec::new(), outbox });
        (number, waiting)
    }

    /// A client is gone.
    pub(super) fn leave(&self, number: u64) {
        self.0.lock().by_number.remove(&number);
    }

    /// Whether the filter was taken.
    pub(super) fn subscribe(&self, number: u64, filter: &str, qos: Qos) -> bool {
        let mut clients = self.0.lock();
        let Some(client) = clients.by_number.get_mut(&number) else { return false };
        client.filters.retain(|(known, _)| known != filter);
        let fits = client.filters.len() < MAX_FILTERS;
        if fits {
            client.filters.push((filter.to_owned(), qos));
        }
        fits
    }

    /// Forgets a filter.
    pub(super) fn unsubscribe(&self, number: u64, filter: &str) {
        if let Some(client) = self.0.lock().by_number.get_mut(&number) {
            client.filters.retain(|(known, _)| known != filter);
        }
    }

    /// Passes a message on, once to each client that wants it.
    pub(super) fn publish(&self, message: &Message) {
        let mut clients = self.0.lock();
        let mut dropped = 0;
        for client in clients.by_number.values() {
            let wanted =
                client.filters.iter().filter(|(filter, _)| matches(filter, &message.topic));
            let Some(most) = wanted.map(|(_, qos)| *qos).max() else { continue };
            let message = Message { qos: message.qos.min(most), ..message.clone() };
            dropped += u64::from(client.outbox.try_send(message).is_err());
        }
        if dropped > 0 {
            clients.dropped += dropped;
            let in_all = clients.dropped;
            warn!(dropped, in_all, "the sample mqtt server dropped messages");
        }
    }
}

/// Whether a topic is one of a filter's.
fn matches(filter: &str, topic: &str) -> bool {
    let (mut filter, mut topic) = (filter.split('/'), topic.split('/'));
    loop {
        match (filter.next(), topic.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(wanted), Some(found)) if wanted == found => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees what filters catch.
    #[test]
    fn filters_catch_their_topics() {
        let check = |filter: &str, topic: &str, expected: bool| {
            assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
        };
        check("a/b", "a/b", true);
        check("a/b", "a/b/c", false);
        check("a/+", "a/b", true);
        check("a/+", "a/b/c", false);
        check("a/#", "a", true);
        check("a/#", "a/b/c", true);
        check("#", "a", true);
        check("+/b", "a/b", true);
    }

    /// Guarantees the limits of one client, and that its place is free again when it is gone.
    #[test]
    fn a_client_has_limits() {
        let exchange = Exchange::default();
        let (number, mut waiting) = exchange.enter();
        for n in 0..MAX_FILTERS {
            assert!(exchange.subscribe(number, &format!("t/{n}"), Qos::AtMostOnce));
        }
        assert!(!exchange.subscribe(number, "t", Qos::AtMostOnce));
        assert!(exchange.subscribe(number, "t/0", Qos::AtLeastOnce));
        let payload = Bytes::from_static(b"x");
        let message = Message { topic: "t/0".into(), payload, qos: Qos::ExactlyOnce };
        (0..=MAX_WAITING).for_each(|_| exchange.publish(&message));
        assert_eq!(waiting.try_recv().map(|message| message.qos).ok(), Some(Qos::AtLeastOnce));
        assert_eq!(exchange.0.lock().dropped, 1);
        exchange.leave(number);
        assert!(exchange.0.lock().by_number.is_empty());
    }
}
