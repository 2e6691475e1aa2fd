//! The network of one run: its seed, the weather that all its connections live through, and what was
//! delivered to each step.

use super::Network;
use super::dice::derive;
use super::link::{Link, Way};
use super::profile::Effect;
use super::tally::{Delivered, Direction, Tally};
use super::weather::Weather;
use crate::base::clock::{Clock, MonoNanos};
use crate::model::attribute::AttributeValue;
use crate::model::probe::{RunId, StepResult};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A queue may be so long, unless an overlay says otherwise; what buffers of base stations hold.
const QUEUE: Duration = Duration::from_millis(200);
/// A SYN with its headers.
const SYN_BYTES: usize = 60;
/// Without an answer, a SYN is sent again after this, then after twice as long: `TCP_TIMEOUT_INIT`.
const SYN_TIMEOUT: Duration = Duration::from_secs(1);
/// A SYN is sent again so often: `net.ipv4.tcp_syn_retries`.
const SYN_RETRIES: u32 = 6;

/// The network of one run.
#[derive(Debug)]
pub struct RunNetwork {
    network: Arc<Network>,
    seed: u64,
    weather: Arc<Weather>,
    clock: Clock,
    /// How many connections were dialled so far.
    dialled: AtomicU64,
    /// What was delivered to the step that has this span.
    tallies: Mutex<Vec<([u8; 8], Arc<Tally>)>>,
}

/// What a connection goes through, both ways.
#[derive(Debug)]
pub struct Path {
    pub(super) up: Link,
    pub(super) down: Link,
    pub(super) tally: Arc<Tally>,
    pub(super) clock: Clock,
}

/// A handshake that is being waited for.
struct Handshake<'a> {
    path: &'a mut Path,
    /// Both directions before it.
    before: [Link; 2],
    /// When SYNs are sent that are lost.
    lost: Vec<MonoNanos>,
    is_over: bool,
}

// === impl RunNetwork ===

impl RunNetwork {
    /// The network of a run that began at `started`. Unless the definition has a seed, the run's id
    /// decides it: every run differs, and can be repeated with the seed that it tells.
    #[must_use]
    pub fn new(network: &Arc<Network>, id: RunId, clock: &Clock, started: MonoNanos) -> Self {
        let [a, b, c, d, ..] = id.0;
        let seed = network.seed.unwrap_or_else(|| u32::from_be_bytes([a, b, c, d]).into());
        Self {
            network: Arc::clone(network),
            seed,
            weather: Arc::new(Weather::new(&network.overlays, seed, started)),
            clock: clock.clone(),
            dialled: AtomicU64::new(0),
            tallies: Mutex::new(Vec::new()),
        }
    }

    /// What the next connection goes through; it is that of the step that has this span. Connections
    /// have a link each, as if each were another phone in the same place.
    #[must_use]
    pub fn open(&self, span: [u8; 8]) -> Path {
        let seed = derive(self.seed, self.dialled.fetch_add(1, Ordering::Relaxed));
        let link = |direction| {
            let way = way(&self.network, direction);
            Link::new(way, Arc::clone(&self.weather), derive(seed, direction as u64))
        };
        Path {
            up: link(Direction::Up),
            down: link(Direction::Down),
            tally: self.tally(span),
            clock: self.clock.clone(),
        }
    }

    /// Adds to each step that dialled which network that went through and what it delivered.
    pub fn describe(&self, steps: &mut [StepResult]) {
        for (span, tally) in &*self.tallies.lock() {
            let Some(step) = steps.iter_mut().find(|step| step.span_id == *span) else { continue };
            let Delivered { round_trip, lost, queued } = tally.sum();
            let mut add = |name: &str, value: AttributeValue| {
                step.attributes.push((name.to_owned(), value));
            };
            add("network.profile", self.network.to_string().into());
            add("network.seed", self.seed.to_string().into());
            if let Some(round_trip) = round_trip {
                add("network.rtt_ns", round_trip.into());
            }
            add("network.lost", lost.into());
            add("network.queued_ns", queued.into());
        }
    }

    fn tally(&self, span: [u8; 8]) -> Arc<Tally> {
        let mut tallies = self.tallies.lock();
        if let Some((_, tally)) = tallies.iter().find(|(other, _)| *other == span) {
            return Arc::clone(tally);
        }
        let tally = Arc::new(Tally::default());
        tallies.push((span, Arc::clone(&tally)));
        tally
    }
}

// === impl Path ===

impl Path {
    /// Waits as long as SYN and SYN-ACK take: what connecting costs on top of the real path.
    /// Dropped before, it leaves nothing behind but what was lost until then.
    pub async fn shake_hands(&mut self) {
        let now = self.clock.monotonic();
        let before = [self.up.clone(), self.down.clone()];
        let (answered, lost) = self.answered(now);
        let at = self.clock.instant_of(answered);
        let mut handshake = Handshake { path: self, before, lost, is_over: false };
        if let Some(at) = at {
            tokio::time::sleep_until(at.into()).await;
        }
        handshake.is_over = true;
    }

    /// When a handshake that begins now is answered, and when SYNs were sent that are lost. One of
    /// which every SYN is lost ends with the last of them, long after any deadline.
    pub(super) fn answered(&mut self, now: MonoNanos) -> (MonoNanos, Vec<MonoNanos>) {
        let mut lost = Vec::new();
        let (mut sent, mut timer) = (now, SYN_TIMEOUT);
        for _ in 0..=SYN_RETRIES {
            let arrived = self.up.datagram(sent, SYN_BYTES);
            let answered = arrived.and_then(|syn| self.down.datagram(syn.arrives, SYN_BYTES));
            if let Some(answer) = answered {
                return (answer.arrives, lost);
            }
            lost.push(sent);
            sent = sent.plus(timer);
            timer *= 2;
        }
        (sent, lost)
    }
}

// === impl Handshake ===

/// What was foreseen of a handshake does not happen when nobody waits for it.
impl Drop for Handshake<'_> {
    fn drop(&mut self) {
        let now = self.path.clock.monotonic();
        let lost = self.lost.iter().filter(|sent| self.is_over || **sent <= now);
        lost.for_each(|_| self.path.tally.lost());
        if !self.is_over {
            let [up, down] = &self.before;
            self.path.up.rewind(up);
            self.path.down.rewind(down);
        }
    }
}

/// One direction of a network.
fn way(network: &Network, direction: Direction) -> Way {
    let profile = &network.profile;
    let is_up = direction == Direction::Up;
    let effects = || network.overlays.iter().map(|overlay| overlay.effect);
    let deep = effects().find_map(|effect| match effect {
        Effect::Queue(depth) if is_up => Some(depth),
        _ => None,
    });
    Way {
        bits: if is_up { profile.up_bits } else { profile.down_bits },
        delay: profile.round_trip / 2,
        jitter: profile.jitter,
        loss_ppm: profile.loss_ppm,
        bursts: effects().find_map(|effect| match effect {
            Effect::Bursts(bursts) => Some(bursts),
            _ => None,
        }),
        queue: deep.unwrap_or(QUEUE),
        is_shared: deep.is_some(),
        round_trip: profile.round_trip,
    }
}
