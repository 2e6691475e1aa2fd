//! What was delivered already, so that what is delivered twice is seen.
//!
//! At quality of service 1 a server may deliver again, so that is counted and no more. At 0 and 2 it
//! may not, with two exceptions: where several of the connection's own filters match the topic, each may
//! bring a copy; and what was published at 1 may have reached the server twice, which is known only of
//! what the same step publishes. Two messages of one topic with equal payloads are taken for the same one: a probe puts
//! something of its own into each (`${run.id}`).

use super::super::failure::quote;
use super::incoming::Delivery;
use super::step::Qos;
use parking_lot::Mutex;
use std::collections::hash_map::RandomState;
use std::collections::{HashSet, VecDeque};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

/// So many messages are remembered; a repetition of an older one is not seen.
const MAX_REMEMBERED: usize = 4096;

/// Messages that came, by topic and payload.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// What the connection is subscribed to.
    filters: Vec<String>,
    /// How the step publishes, where it does.
    published: Option<Qos>,
    hasher: RandomState,
    seen: HashSet<u64>,
    order: VecDeque<u64>,
    /// Deliveries at quality of service 2 that the server has not released.
    unreleased: HashSet<u16>,
}

/// What a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// A message that did not come before.
    New,
    /// The server was allowed to deliver it again.
    Again,
    /// It was not.
    Illegal,
    /// Nor was it here, and the receiver is to ignore it: the delivery before is not over.
    Resent,
}

/// What a reader counts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Messages that came again and might.
    pub duplicates: AtomicU64,
    /// Messages that came again and must not.
    pub illegal_duplicates: AtomicU64,
    /// Retained messages that were passed over.
    pub retained: AtomicU64,
    /// The first of those that must not have come, in words.
    pub first_illegal: Mutex<Option<String>>,
}

// === impl Ledger ===

impl Ledger {
    /// Of a connection with these subscriptions, whose step publishes so.
    pub(super) fn new(filters: Vec<String>, published: Option<Qos>) -> Self {
        Self { filters, published, ..Self::default() }
    }

    /// Judges a delivery and remembers it.
    pub(super) fn judge(&mut self, delivery: &Delivery) -> Judgement {
        if let (Qos::ExactlyOnce, Some(id)) = (delivery.qos, delivery.id)
            && !self.unreleased.insert(id)
        {
            return Judgement::Resent;
        }
        let key = self.hasher.hash_one((&delivery.topic, &delivery.payload));
        if self.seen.insert(key) {
            self.order.push_back(key);
            if self.order.len() > MAX_REMEMBERED
                && let Some(oldest) = self.order.pop_front()
            {
                self.seen.remove(&oldest);
            }
            return Judgement::New;
        }
        match delivery.qos {
            Qos::AtLeastOnce => Judgement::Again,
            Qos::AtMostOnce if self.published == Some(Qos::AtLeastOnce) => Judgement::Again,
            _ if self.may_come_by_several(&delivery.topic) => Judgement::Again,
            Qos::AtMostOnce | Qos::ExactlyOnce => Judgement::Illegal,
        }
    }

    fn may_come_by_several(&self, topic: &str) -> bool {
        self.filters.iter().filter(|filter| matches(filter, topic)).nth(1).is_some()
    }

    /// The server will not send that delivery again, and may use its number for another.
    pub(super) fn release(&mut self, id: u16) {
        self.unreleased.remove(&id);
    }
}

// === impl Tally ===

impl Tally {
    /// Counts what was judged.
    pub(super) fn count(&self, delivery: &Delivery, judgement: Judgement) {
        match judgement {
            Judgement::New => {}
            Judgement::Again => {
                self.duplicates.fetch_add(1, Ordering::Relaxed);
            }
            Judgement::Illegal | Judgement::Resent => {
                self.illegal_duplicates.fetch_add(1, Ordering::Relaxed);
                let marked = if delivery.dup { "with" } else { "without" };
                let (qos, topic) = (delivery.qos as u8, quote(&delivery.topic));
                self.first_illegal.lock().get_or_insert_with(|| {
                    format!("one on {topic} came twice at QoS {qos}, {marked} the DUP flag")
                });
            }
        }
    }
}

/// Whether a filter stands for a topic (MQTT 5, 4.7).
fn matches(filter: &str, topic: &str) -> bool {
    let shared = filter.strip_prefix("$share/").and_then(|rest| rest.split_once('/'));
    let filter = shared.map_or(filter, |(_, filter)| filter);
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
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

    fn delivery(qos: Qos, id: Option<u16>, payload: &'static str) -> Delivery {
        let payload = payload.as_bytes().into();
        Delivery { topic: "t".to_owned(), payload, qos, id, dup: false, retain: false }
    }

    /// Guarantees which repetitions are legal, and that a released number may be used again.
    #[test]
    fn repetitions_are_judged_by_quality_of_service() {
        let mut ledger = Ledger::default();
        let mut check = |qos, id, payload, expected| {
            assert_eq!(ledger.judge(&delivery(qos, id, payload)), expected, "{qos} {payload}");
            if payload == "b" {
                ledger.release(7);
            }
        };
        check(Qos::AtMostOnce, None, "a", Judgement::New);
        check(Qos::AtMostOnce, None, "a", Judgement::Illegal);
        check(Qos::AtLeastOnce, Some(1), "a", Judgement::Again);
        check(Qos::ExactlyOnce, Some(7), "b", Judgement::New);
        check(Qos::ExactlyOnce, Some(7), "c", Judgement::New);
        check(Qos::ExactlyOnce, Some(7), "c", Judgement::Resent);
        check(Qos::ExactlyOnce, Some(8), "b", Judgement::Illegal);
    }

    /// Guarantees that a copy for each matching filter is legal, and so is a second of what was published
    /// at least once.
    #[test]
    fn copies_that_may_come_are_legal() {
        let check = |filters: &[&str], published, qos, expected| {
            let filters = filters.iter().map(|filter| (*filter).to_owned()).collect();
            let mut ledger = Ledger::new(filters, published);
            let second = |id| Delivery { topic: "rooms/1/a".into(), ..delivery(qos, id, "x") };
            let ids = if qos == Qos::ExactlyOnce { [Some(1), Some(2)] } else { [None; 2] };
            assert_eq!(ledger.judge(&second(ids[0])), Judgement::New);
            assert_eq!(
                ledger.judge(&second(ids[1])),
                expected,
                "{:?} {published:?}",
                ledger.filters
            );
        };
        let (zero, one, two) = (Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce);
        check(&["rooms/#", "rooms/+/a"], None, zero, Judgement::Again);
        check(&["#", "$share/probes/rooms/1/a"], None, two, Judgement::Again);
        check(&["rooms/#", "rooms/+/b"], None, two, Judgement::Illegal);
        check(&["rooms/+", "rooms/+/a"], None, zero, Judgement::Illegal);
        check(&["rooms/#"], Some(one), zero, Judgement::Again);
        check(&["rooms/#"], Some(one), two, Judgement::Illegal);
        check(&["rooms/#"], Some(two), zero, Judgement::Illegal);
        assert!(matches("a/#", "a") && !matches("#", "$SYS/a") && !matches("+/a", "$SYS/a"));
    }

    /// Guarantees that memory is bounded.
    #[test]
    fn old_messages_are_forgotten() {
        let mut ledger = Ledger::default();
        for n in 0..MAX_REMEMBERED + 10 {
            let payload = n.to_string().into();
            let delivery = Delivery { payload, ..delivery(Qos::AtMostOnce, None, "") };
            assert_eq!(ledger.judge(&delivery), Judgement::New);
        }
        assert_eq!((ledger.seen.len(), ledger.order.len()), (MAX_REMEMBERED, MAX_REMEMBERED));
    }
}
