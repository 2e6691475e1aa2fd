//! The queue as a state machine: bounds, order, patience, and one outcome for each notification.

use super::super::lane::{MAX_RETRY_AFTER, Moment};
use super::super::queue::{
    Attempt, DeliveryResult, GIVE_UP_AFTER, MAX_IN_FLIGHT, MAX_PENDING, Queue, Verdict,
};
use super::{sample, webhook};
use crate::base::backoff::Backoff;
use crate::base::clock::{MonoNanos, UnixNanos};
use crate::model::notification::{Delivery, Notification, NotificationKind};
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(60) };

fn queue(names: &[&str]) -> Queue {
    let receiver = |name: &&str| webhook(name, "http://127.0.0.1:9", Duration::from_secs(1));
    Queue::new(names.iter().map(receiver).collect(), BACKOFF)
}

/// This long after the samples were made.
fn after(elapsed: Duration) -> Moment {
    Moment {
        unix: UnixNanos::from_seconds(1_700_000_001).plus(elapsed),
        mono: MonoNanos::default().plus(elapsed),
    }
}

fn failure(after_seconds: Option<u64>) -> Delivery {
    Delivery::Retry { error: "500".to_owned(), after_seconds }
}

/// Guarantees the backoff between attempts, the receiver's wish within its bound, and the end
/// after a day, yet never without an attempt.
#[test]
fn patience_has_its_bounds() {
    let check = |elapsed: Duration, wish: Option<u64>, expected: Option<Duration>| {
        let mut queue = queue(&["a"]);
        let told = sample("a", "one", 1);
        assert!(queue.submit(told.clone(), after(elapsed)));
        assert!(queue.take_due(after(elapsed)).is_some());
        let verdict = queue.finish(&told, failure(wish), after(elapsed), 1.0);
        let next = queue.next_due().map(|due| due.since(after(elapsed).mono));
        assert_eq!(next, expected, "{elapsed:?} {wish:?}");
        let given_up = matches!(verdict, Some(Verdict::Settled(DeliveryResult::GivenUp { .. })));
        assert_eq!(given_up, expected.is_none());
    };
    check(Duration::ZERO, None, Some(Duration::from_secs(1)));
    check(Duration::ZERO, Some(0), Some(Duration::from_secs(1)));
    check(Duration::ZERO, Some(90), Some(Duration::from_secs(90)));
    check(Duration::ZERO, Some(86_400), Some(MAX_RETRY_AFTER));
    check(GIVE_UP_AFTER - Duration::from_secs(1), None, Some(Duration::from_secs(1)));
    check(GIVE_UP_AFTER, None, None);
    check(GIVE_UP_AFTER * 3, Some(90), None);
}

/// Guarantees that a full queue turns away, counts outcomes nobody took, and has room again after.
#[test]
fn a_full_queue_turns_away() {
    let mut queue = queue(&["a"]);
    let now = after(Duration::ZERO);
    for number in 0..MAX_PENDING {
        assert!(queue.submit(sample("a", &format!("incident-{number}"), 1), now));
    }
    let late = sample("a", "late", 1);
    assert!(!queue.submit(late.clone(), now));
    let known = sample("a", "incident-0", 1);
    assert!(queue.submit(known.clone(), now), "what is in hand is not turned away");
    assert!(queue.take_due(now).is_some());
    assert!(queue.finish(&known, Delivery::Delivered, now, 0.0).is_some());
    assert!(!queue.submit(late.clone(), now), "its outcome still takes the place");
    assert!(queue.next_outcome().is_some());
    assert!(queue.submit(late, now));
}

/// Guarantees that news which comes after later news of the same incident is not told any more.
#[test]
fn what_was_overtaken_is_not_told() {
    let mut queue = queue(&["a"]);
    let now = after(Duration::ZERO);
    let resolve = sample("a", "one", 2);
    assert!(queue.submit(resolve.clone(), now));
    assert!(queue.take_due(now).is_some());
    assert!(queue.finish(&resolve, Delivery::Delivered, now, 0.0).is_some());
    assert!(queue.submit(sample("a", "one", 1), now));
    assert!(queue.take_due(now).is_none());
    let results: Vec<_> = std::iter::from_fn(|| queue.next_outcome()).map(|o| o.result).collect();
    assert!(
        matches!(&*results, [DeliveryResult::Delivered, DeliveryResult::GivenUp { .. }]),
        "{results:?}"
    );
}

/// Guarantees that of repetitions only the newest is kept, one attempt is made, and none follows
/// later news.
#[test]
fn repetitions_give_way() {
    let mut queue = queue(&["a"]);
    let at = |seconds| after(Duration::from_secs(seconds));
    let repeat = |seconds: u64| Notification {
        kind: NotificationKind::Resend,
        created_at: at(seconds).unix,
        ..sample("a", "one", 1)
    };
    assert!(queue.submit(repeat(60), at(60)));
    assert!(queue.submit(repeat(60), at(61)), "the same again changes nothing");
    assert_eq!(queue.pending(), 1);
    assert!(queue.submit(repeat(120), at(120)));
    assert_eq!(queue.next_outcome().map(|o| o.attempts), Some(0), "the older one gives way");
    let attempt = queue.take_due(at(120)).expect("the newer one");
    assert_eq!(attempt.notification.created_at, at(120).unix);
    assert!(queue.finish(&attempt.notification, failure(None), at(121), 0.0).is_some());
    let outcome = queue.next_outcome().expect("no second attempt");
    assert_eq!(outcome.attempts, 1);

    assert!(queue.submit(repeat(180), at(180)));
    let resolve = sample("a", "one", 2);
    assert!(queue.submit(resolve.clone(), at(181)));
    let first = queue.take_due(at(181)).expect("news goes first");
    assert_eq!(first.notification.id, resolve.id);
    assert!(queue.finish(&resolve, Delivery::Delivered, at(182), 0.0).is_some());
    assert!(queue.take_due(at(183)).is_none(), "no firing after the resolve");
}

/// Guarantees that what waits for a removed receiver is refused, also when an attempt was under
/// way, and that a changed one is tried at once.
#[test]
fn receivers_come_and_go() {
    let mut queue = queue(&["a", "b"]);
    let now = after(Duration::ZERO);
    let (one, two) = (sample("a", "one", 1), sample("a", "one", 2));
    assert!(queue.submit(one.clone(), now) && queue.submit(two, now));
    assert!(queue.submit(sample("nobody", "one", 1), now));
    assert!(queue.take_due(now).is_some());
    let moved = webhook("b", "http://127.0.0.1:10", Duration::from_secs(1));
    let waiting = sample("b", "one", 1);
    assert!(queue.submit(waiting.clone(), now));
    assert!(queue.take_due(now).is_some());
    assert!(queue.finish(&waiting, failure(Some(500)), now, 1.0).is_some());
    assert!(queue.take_due(now).is_none());
    queue.replace_receivers(vec![moved.clone()], now);
    assert_eq!(
        queue.take_due(now).map(|attempt| attempt.receiver.channel.clone()),
        Some(moved.channel)
    );
    assert!(queue.finish(&one, failure(None), now, 1.0).is_some());
    let results: Vec<_> = std::iter::from_fn(|| queue.next_outcome()).map(|o| o.result).collect();
    assert_eq!(results.len(), 3);
    assert!(results.iter().all(|result| matches!(result, DeliveryResult::Refused { .. })));
    assert_eq!(queue.pending(), 1);
}

/// One step of a random history.
#[derive(Clone, Debug)]
enum Step {
    Submit { receiver: usize, incident: usize, transition: u32, repeat: bool },
    Take,
    Finish { which: usize, answer: u8 },
    Wait(u64),
}

/// The queue in the middle of a random history, with what must hold of it.
struct History {
    queue: Queue,
    elapsed: Duration,
    under_way: Vec<Attempt>,
    accepted: HashSet<(String, UnixNanos)>,
    /// By receiver and incident, the newest transition settled.
    told: HashMap<(String, String), u32>,
}

const NAMES: [&str; 2] = ["a", "b"];

fn any_step() -> impl Strategy<Value = Step> {
    let submit = (0..2_usize, 0..10_usize, 1..5_u32, any::<bool>());
    prop_oneof![
        4 => submit.prop_map(|(receiver, incident, transition, repeat)| {
            Step::Submit { receiver, incident, transition, repeat }
        }),
        4 => Just(Step::Take),
        4 => (any::<usize>(), 0..5_u8).prop_map(|(which, answer)| Step::Finish { which, answer }),
        1 => (0..120_u64).prop_map(Step::Wait),
    ]
}

impl History {
    fn new() -> Self {
        Self {
            queue: queue(&NAMES),
            elapsed: Duration::ZERO,
            under_way: Vec::new(),
            accepted: HashSet::new(),
            told: HashMap::new(),
        }
    }

    fn apply(&mut self, step: Step) {
        // No two moments are the same, so that every repetition is one of its own.
        self.elapsed += Duration::from_nanos(1);
        let now = after(self.elapsed);
        match step {
            Step::Submit { receiver, incident, transition, repeat } => {
                let mut notification =
                    sample(NAMES[receiver], &format!("incident-{incident}"), transition);
                if repeat {
                    notification.kind = NotificationKind::Resend;
                    notification.created_at = now.unix;
                }
                let _ = self.accepted.insert((notification.id.clone(), notification.created_at));
                assert!(self.queue.submit(notification, now));
            }
            Step::Take => {
                let Some(attempt) = self.queue.take_due(now) else { return };
                let newest = self.told.get(&lane_of(&attempt.notification)).copied();
                assert!(newest.is_none_or(|newest| attempt.notification.transition >= newest));
                self.under_way.push(attempt);
            }
            Step::Finish { which, answer } if !self.under_way.is_empty() => {
                let attempt = self.under_way.remove(which % self.under_way.len());
                self.finish(&attempt.notification, answer, now);
            }
            Step::Finish { .. } => {}
            Step::Wait(seconds) => self.elapsed += Duration::from_secs(seconds),
        }
    }

    fn finish(&mut self, notification: &Notification, answer: u8, now: Moment) {
        let delivery = match answer {
            0 | 1 => Delivery::Delivered,
            2 => Delivery::Refused { error: "404".to_owned() },
            _ => failure(None),
        };
        let verdict = self.queue.finish(notification, delivery, now, 0.5);
        let settled = matches!(verdict, Some(Verdict::Settled(_)));
        if settled && notification.kind == NotificationKind::Transition {
            let _ = self.told.insert(lane_of(notification), notification.transition);
        }
    }

    fn check_bounds(&self) {
        for name in NAMES {
            let mine = self.under_way.iter().filter(|attempt| attempt.receiver.name == name);
            let incidents: Vec<_> = mine.map(|a| a.notification.incident.clone()).collect();
            assert!(incidents.len() <= MAX_IN_FLIGHT);
            let apart: HashSet<_> = incidents.iter().collect();
            assert_eq!(apart.len(), incidents.len(), "two attempts at one incident");
        }
    }
}

fn lane_of(notification: &Notification) -> (String, String) {
    (notification.receiver.clone(), notification.incident.clone())
}

proptest! {
    /// Guarantees, over any history: within an incident transitions are told in order, one attempt
    /// at a time and few enough per receiver, and each notification ends in exactly one outcome.
    #[test]
    fn any_history_keeps_the_promises(steps in prop::collection::vec(any_step(), 1..200)) {
        let mut history = History::new();
        for step in steps {
            history.apply(step);
            history.check_bounds();
        }
        while history.queue.pending() > 0 {
            history.apply(Step::Take);
            history.apply(Step::Finish { which: 0, answer: 0 });
            history.apply(Step::Wait(1));
        }
        let outcomes = std::iter::from_fn(|| history.queue.next_outcome()).count();
        prop_assert_eq!(outcomes, history.accepted.len());
    }
}
