//! Evaluation: the time of one tick over a thousand SLOs with full windows.
//!
//! *Subject*: what the daemon does each second: move all windows to now, then read every SLO's
//! status and decide which alerts move. 500 SLOs on probes (an event each ten seconds) and 500 on
//! phones (hundreds of events each ten seconds), each with a 30 d window and the SRE workbook's four
//! pairs, so nine windows; all of them lived through, none burns.
//! *Baseline*, in the same run: the same nine sums of each SLO added up anew from flat arrays of slots,
//! the cheapest thing that keeps no running sums. Measured over 100 SLOs and multiplied by ten,
//! because the arrays of a thousand would take 360 MiB.
//! *Limit*: one processor and its caches.
//! *Reading*: most ticks move nothing, one in ten enters a new ten-second slot, one in 300 a new
//! five-minute slot as well. The floor is asked of the median tick that enters a slot.
//!
//! `cargo bench --bench evaluate -- [--rounds N]`

#[path = "support/report.rs"]
mod report;
#[path = "support/spread.rs"]
mod spread;

use clap::Parser;
use radiosonde::alert::evaluate::{Inputs, evaluate};
use radiosonde::alert::{AlertBook, Policy};
use radiosonde::base::clock::{Clock, UnixNanos};
use radiosonde::model::labels::Labels;
use radiosonde::model::matcher::Where;
use radiosonde::model::objective::{Indicator, Slo, Source, workbook_pairs};
use radiosonde::model::position::Position;
use radiosonde::model::slot::{GoodTotal, Slot, slots_in};
use radiosonde::store::counts::COARSE_WIDTH;
use radiosonde::store::{CountsBook, Store};
use report::{floor, say, table};
use spread::Spread;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SLOS: usize = 1_000;
/// The baseline's share of them.
const FLAT_SLOS: usize = 100;
const DAY: u32 = 8_640;
const WINDOW: Duration = Duration::from_secs(30 * 86_400);
/// Slots that a round enters: an hour and forty minutes.
const SLOTS: u32 = 600;
/// The floor of a tick.
const FLOOR_MS: f64 = 5.0;

#[derive(Debug, Parser)]
struct Options {
    /// Rounds, each of 600 slots.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

/// A daemon's state, as far as evaluation sees it.
struct World {
    store: Store,
    policy: Policy,
    book: AlertBook,
    now: Slot,
}

/// Ten-second and five-minute slots of one SLO in flat arrays that end with `now`.
struct Flat {
    fine: Vec<GoodTotal>,
    coarse: Vec<GoodTotal>,
}

/// Median and 99th percentile of each kind of tick in a round, milliseconds.
struct Ticks {
    still: [f64; 2],
    slot: [f64; 2],
    five_minutes: [f64; 2],
    naive: f64,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let clock = Clock::system();
    say(&format!("filling the windows of {SLOS} SLOs"))?;
    let mut world = World::filled();
    let flats: Vec<Flat> = world.flats();
    let mut rounds = Vec::new();
    for _ in 0..options.rounds {
        rounds.push(world.round(&flats, &clock)?);
    }
    let bytes: usize = world.store.counts.iter().map(|(_, counts)| counts.memory_bytes()).sum();
    say(&format!("counts take {} KiB an SLO", bytes / SLOS / 1024))?;
    let spread = |figure: fn(&Ticks) -> f64| Spread::of(rounds.iter().map(figure));
    let row = |name: &str,
               p50: fn(&Ticks) -> f64,
               p99: fn(&Ticks) -> f64|
     -> anyhow::Result<[String; 4]> {
        let ratio = Spread::of(rounds.iter().map(|round| round.naive / p50(round)))?;
        Ok([
            name.to_owned(),
            format!("{:.2}", spread(p50)?),
            format!("{:.2}", spread(p99)?),
            format!("{ratio:.0}"),
        ])
    };
    let rows = [
        row("nothing moves (9 of 10)", |t| t.still[0], |t| t.still[1])?,
        row("a slot is entered (1 of 10)", |t| t.slot[0], |t| t.slot[1])?,
        row("five minutes begin (1 of 300)", |t| t.five_minutes[0], |t| t.five_minutes[1])?,
        row("baseline: all slots added anew", |t| t.naive, |t| t.naive)?,
    ];
    let header = ["tick over 1,000 SLOs", "p50, ms", "p99, ms", "baseline ÷ p50"];
    table("Evaluation", &header, rows)?;
    let slot = spread(|t| t.slot[0])?;
    floor("a tick of 1,000 SLOs within 5 ms", slot.median <= FLOOR_MS, &format!("{slot:.2} ms"))
}

impl World {
    /// A thousand SLOs that have lived through 65 days.
    fn filled() -> Self {
        let slos: Vec<Arc<Slo>> = (0..SLOS).map(|number| Arc::new(slo(number))).collect();
        let mut store = Store::default();
        let start = Slot(200_000_000);
        let new = store.counts.configure(slos.iter().map(|slo| &**slo), start);
        store.counts.complete(&new, &CountsBook::default());
        let days = 65;
        for day in 0..days {
            for (number, slo) in slos.iter().enumerate() {
                let Some(counts) = store.counts.get_mut(slo.indicator.id()) else { continue };
                // Before the reach of ten-second slots, one event each five minutes tells the same.
                let step = if day + 5 < days { COARSE_WIDTH } else { 1 };
                for at in (0..DAY).step_by(step as usize) {
                    let slot = start.plus(day * DAY + at);
                    counts.add(slot, events(number, slot, step));
                }
            }
            store.counts.advance(start.plus((day + 1) * DAY));
            store.counts.settle();
        }
        let intervals = (0..SLOS / 2).map(|n| (format!("probe-{n}"), Duration::from_secs(10)));
        let policy = Policy { slos, probe_intervals: intervals.collect(), ..Policy::default() };
        Self { store, policy, book: AlertBook::default(), now: start.plus(days * DAY) }
    }

    fn flats(&self) -> Vec<Flat> {
        let fine = slots_in(Duration::from_secs(3 * 86_400));
        let coarse = slots_in(WINDOW) / COARSE_WIDTH;
        let numbers = (0..SLOS).step_by(SLOS / FLAT_SLOS);
        numbers
            .map(|number| Flat {
                fine: (0..fine).map(|ago| events(number, self.now.minus(fine - ago), 1)).collect(),
                coarse: (0..coarse)
                    .map(|ago| {
                        let slot = self.now.minus((coarse - ago) * COARSE_WIDTH);
                        events(number, slot, COARSE_WIDTH)
                    })
                    .collect(),
            })
            .collect()
    }

    /// Lives through some slots: first data comes, then two ticks pass.
    fn round(&mut self, flats: &[Flat], clock: &Clock) -> anyhow::Result<Ticks> {
        let (mut still, mut slot, mut five_minutes, mut naive) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for step in 0..SLOTS {
            for (number, slo) in self.policy.slos.iter().enumerate() {
                if let Some(counts) = self.store.counts.get_mut(slo.indicator.id()) {
                    counts.add(self.now, events(number, self.now, 1));
                }
            }
            if step % 6 == 0 {
                // As each checkpoint does, once a minute.
                self.store.counts.settle();
            }
            self.now = self.now.plus(1);
            let took = self.tick(clock, 0);
            if self.now == self.now.align(COARSE_WIDTH) { &mut five_minutes } else { &mut slot }
                .push(took);
            still.push(self.tick(clock, 1));
            if step % 60 == 0 {
                naive.push(sum_anew(flats, clock) * (SLOS / FLAT_SLOS) as f64);
            }
        }
        let percentiles = |mut figures: Vec<f64>| -> anyhow::Result<[f64; 2]> {
            figures.sort_by(f64::total_cmp);
            let high = figures.get(figures.len() * 99 / 100).copied().unwrap_or(f64::NAN);
            Ok([Spread::of(figures)?.median, high])
        };
        Ok(Ticks {
            still: percentiles(still)?,
            slot: percentiles(slot)?,
            five_minutes: percentiles(five_minutes)?,
            naive: Spread::of(naive)?.median,
        })
    }

    /// One tick, `seconds` into the slot; how long it took, milliseconds.
    fn tick(&mut self, clock: &Clock, seconds: u64) -> f64 {
        let now = self.now.start().plus(Duration::from_secs(seconds));
        let began = clock.monotonic();
        self.store.counts.advance(Slot::of(now));
        let due = evaluate(self.inputs(now));
        let took = clock.monotonic().since(began);
        assert!(due.is_empty(), "nothing burns here, and yet {} alerts move", due.len());
        took.as_secs_f64() * 1e3
    }

    fn inputs(&self, now: UnixNanos) -> Inputs<'_> {
        Inputs {
            store: &self.store,
            policy: &self.policy,
            book: &self.book,
            conditions: &[],
            now,
            position: Position::default(),
        }
    }
}

fn slo(number: usize) -> Slo {
    let source = match number < SLOS / 2 {
        true => Source::Probe(format!("probe-{number}")),
        false => Source::Span(format!("span-{number}")),
    };
    let indicator =
        Indicator::Latency { source, filter: Where::default(), under_ns: 100_000_000, phase: None };
    Slo {
        name: format!("slo-{number}"),
        owner: None,
        description: None,
        runbook: None,
        objective: 0.999,
        window: WINDOW,
        indicator,
        burn: workbook_pairs(WINDOW),
        absent_after: Duration::from_secs(300),
        labels: Labels::default(),
    }
}

/// What happened in `slots` slots from `slot` on: one event each for a probe, hundreds for phones; a
/// few bad ones.
fn events(number: usize, slot: Slot, slots: u32) -> GoodTotal {
    let noise =
        (slot.0 ^ (number as u32).wrapping_mul(0x9e37_79b9)).wrapping_mul(2_654_435_761) >> 22;
    let bad = u64::from(noise.is_multiple_of(4_096));
    let each = if number < SLOS / 2 { 1 } else { 200 + u64::from(noise % 128) };
    GoodTotal { bad, total: each * u64::from(slots) }
}

/// Adds up all nine windows of each SLO; milliseconds.
fn sum_anew(flats: &[Flat], clock: &Clock) -> f64 {
    let pairs = workbook_pairs(WINDOW);
    let began = clock.monotonic();
    for flat in flats {
        for window in pairs.iter().flat_map(|pair| [pair.long, pair.short]) {
            black_box(sum_of_last(&flat.fine, slots_in(window) as usize));
        }
        black_box(sum_of_last(&flat.coarse, flat.coarse.len()));
    }
    clock.monotonic().since(began).as_secs_f64() * 1e3
}

fn sum_of_last(slots: &[GoodTotal], count: usize) -> GoodTotal {
    let mut sum = GoodTotal::default();
    slots.iter().rev().take(count).for_each(|slot| sum.add(*slot));
    sum
}
