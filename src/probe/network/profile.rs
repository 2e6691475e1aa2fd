//! Networks by name, as data: what they deliver, and from where we know that.
//!
//! Sources give round trips or one way, means or medians, and often inherit each other's figures.
//! Here every figure is of the round trip, and where sources differ the choice is ours. Whoever has
//! measured better figures writes them under `networks:` of the configuration.

use std::borrow::Cow;
use std::time::Duration;

/// What a network delivers at rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// By which it is asked for: letters, digits, `.`, `_`, `-`.
    pub name: Cow<'static, str>,
    /// There and back, of a small packet, in calm moments.
    pub round_trip: Duration,
    /// How much later than that a packet comes one way, at most, in rough moments: an eighth of the
    /// time.
    pub jitter: Duration,
    /// Payload towards the probe, bits per second, above 0.
    pub down_bits: u64,
    /// Payload away from the probe, bits per second, above 0.
    pub up_bits: u64,
    /// Packets lost, each way, of a million.
    pub loss_ppm: u32,
    /// Where the figures come from, in words.
    pub source: Cow<'static, str>,
}

/// What makes any network worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// By which it is asked for.
    pub name: &'static str,
    /// What it does.
    pub effect: Effect,
    /// What it does, in words.
    pub words: &'static str,
    /// Where the figures come from, in words.
    pub source: &'static str,
}

/// What an overlay does to a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing passes in either direction, again and again.
    Outage {
        /// So long.
        length: Duration,
        /// From one beginning to the next; the first is anywhere within.
        every: Duration,
        /// Whether packets wait for the end and then pass, or are lost.
        packets_wait: bool,
    },
    /// Packets are lost in bursts (Gilbert and Elliott's two states).
    Bursts(Bursts),
    /// Other traffic keeps a queue at the uplink between half this and the whole.
    Queue(Duration),
}

/// A network's good and bad states, packet by packet. Outside bursts the profile's own loss holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bursts {
    /// A burst begins with a packet, of a million.
    pub begin_ppm: u32,
    /// It ends with a packet, of a million.
    pub end_ppm: u32,
    /// Within it so many packets of a million are lost.
    pub loss_ppm: u32,
}

/// The networks that are built in, best first.
pub static PROFILES: [Profile; 7] = [
    built_in("wifi", (4, 2), (30_000, 15_000), 0, "Firefox DevTools: WiFi, 2 ms one way"),
    built_in(
        "5g",
        (20, 5),
        (100_000, 20_000),
        1_000,
        "arXiv 2507.18834: most users above 20 ms and near 50 Mbit/s, so this is a good place; \
         uplink and jitter ours",
    ),
    built_in(
        "lte",
        (70, 15),
        (12_000, 12_000),
        2_000,
        "sitespeed.io throttle: lte, 35 ms one way; loss and jitter Loadero: 4G",
    ),
    built_in(
        "4g-slow",
        (150, 30),
        (1_600, 750),
        5_000,
        "Lighthouse: slow 4G; loss Loadero: 3.5G; jitter ours",
    ),
    built_in("3g", (300, 50), (1_600, 768), 5_000, "WebPageTest: 3G; loss and jitter Loadero: 3G"),
    built_in(
        "edge",
        (840, 100),
        (240, 200),
        10_000,
        "WebPageTest: Edge; loss and jitter Loadero: Edge",
    ),
    built_in(
        "2g-rural",
        (1_300, 150),
        (20, 18),
        20_000,
        "Augmented Traffic Control: 2G developing rural, 650 ms one way; jitter ours",
    ),
];

/// What can be laid over each of them.
pub static OVERLAYS: [Overlay; 4] = [
    Overlay {
        name: "handover",
        effect: Effect::Outage {
            length: Duration::from_millis(80),
            every: Duration::from_secs(10),
            packets_wait: true,
        },
        words: "every 10 s nothing passes for 80 ms; packets wait",
        source: "drive tests: LTE 30 to 80 ms, NR 50 to 150 ms; how often is ours",
    },
    Overlay {
        name: "tunnel",
        effect: Effect::Outage {
            length: Duration::from_secs(10),
            every: Duration::from_secs(60),
            packets_wait: false,
        },
        words: "every minute nothing passes for 10 s; packets are lost",
        source: "ours",
    },
    Overlay {
        name: "bursty",
        effect: Effect::Bursts(Bursts { begin_ppm: 5_000, end_ppm: 200_000, loss_ppm: 500_000 }),
        words: "one packet in 200 begins a burst of 5 on average that loses half",
        source: "model of Gilbert and Elliott as in Linux netem; nobody publishes figures by radio, \
                 so they are ours",
    },
    Overlay {
        name: "bufferbloat",
        effect: Effect::Queue(Duration::from_secs(1)),
        words: "something else uploads: half a second to a second of queue at the uplink",
        source: "saw teeth of TCP that fills a buffer of 1 s; the depth is ours",
    },
];

/// Round trip and jitter in milliseconds, down and up in kbit/s, loss in parts per million.
const fn built_in(
    name: &'static str,
    (round_trip_ms, jitter_ms): (u64, u64),
    (down_kbit, up_kbit): (u64, u64),
    loss_ppm: u32,
    source: &'static str,
) -> Profile {
    Profile {
        name: Cow::Borrowed(name),
        round_trip: Duration::from_millis(round_trip_ms),
        jitter: Duration::from_millis(jitter_ms),
        down_bits: down_kbit * 1_000,
        up_bits: up_kbit * 1_000,
        loss_ppm,
        source: Cow::Borrowed(source),
    }
}
