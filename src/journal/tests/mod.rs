//! The journal as its users see it, on a disk in memory that can be made to fail.

mod appending;
mod crash;
mod full_disk;
mod replay;
mod retention;

use super::*;
use crate::base::faulty::FaultyFiles;
use futures::future::join_all;
use std::thread;

/// Enough for every record of a test, so that nobody needs to fold.
const SINK_RECORDS: usize = 10_000;

/// A journal with its surroundings.
struct Rig {
    disk: FaultyFiles,
    clock: Clock,
    telemetry: Telemetry,
    journal: Journal,
    control: mpsc::Receiver<Committed>,
    bulk: mpsc::Receiver<Committed>,
}

fn small_segments() -> Config {
    Config { segment_bytes: 2_048, control_reserve_bytes: 0, ..Config::new("journal") }
}

// === impl Rig ===

impl Rig {
    fn open(disk: &FaultyFiles, config: Config) -> Result<Self, JournalError> {
        let telemetry = Telemetry::new();
        let clock = Clock::manual(UnixNanos::from_seconds(1_700_000_000));
        let (control_sink, control) = mpsc::channel(SINK_RECORDS);
        let (bulk_sink, bulk) = mpsc::channel(SINK_RECORDS);
        let sinks = Sinks { control: control_sink, bulk: bulk_sink };
        let files = Arc::new(disk.clone());
        let journal = open(config, files, clock.clone(), &telemetry, sinks)?;
        Ok(Self { disk: disk.clone(), clock, telemetry, journal, control, bulk })
    }

    fn new(config: Config) -> Self {
        Self::open(&FaultyFiles::new(), config).expect("an empty disk opens")
    }

    /// Ends this process in good order and starts the next one.
    fn restart(self, config: Config) -> Self {
        self.journal.close();
        Self::open(&self.disk, config).expect("it opened before")
    }

    fn append(&self, lane: Lane, bytes: &[u8]) -> Result<Position, AppendError> {
        self.journal.append_blocking(lane, Bytes::copy_from_slice(bytes), None)
    }

    /// Appends records of which all but the first share one commit.
    fn append_together(
        &self,
        lane: Lane,
        records: &[Vec<u8>],
    ) -> Vec<Result<Position, AppendError>> {
        let append = |record: &Vec<u8>| self.journal.append(lane, record.clone().into(), None);
        self.disk.hold_flushes();
        park::block_on(async {
            let mut all = join_all(records.iter().map(append));
            // The first look queues them all, while the writer waits in the flush of the first.
            let first_look = futures::poll!(&mut all);
            self.disk.resume_flushes();
            match first_look {
                std::task::Poll::Ready(outcomes) => outcomes,
                std::task::Poll::Pending => all.await,
            }
        })
    }

    /// Appends records of which all but the first surely share one commit; on a sound disk only.
    fn append_behind_the_first(&self, lane: Lane, records: &[Vec<u8>]) {
        let append = |record: &Vec<u8>| self.journal.append(lane, record.clone().into(), None);
        let (first, others) = records.split_first().expect("some records");
        self.disk.hold_flushes();
        let outcomes = park::block_on(async {
            let mut first = join_all([append(first)]);
            assert!(futures::poll!(&mut first).is_pending());
            // The others wait until the writer has taken the first away, or they might go with it.
            wait_until(|| self.journal.lane(lane).queue.len() == 0);
            let mut others = join_all(others.iter().map(append));
            assert!(futures::poll!(&mut others).is_pending());
            self.disk.resume_flushes();
            (first.await, others.await)
        });
        assert!(outcomes.0.iter().chain(&outcomes.1).all(Result::is_ok));
    }

    /// The payloads of a lane from a position on, up to the end or the first error.
    fn replay(&self, lane: Lane, from: Position) -> (Vec<Vec<u8>>, Option<JournalError>) {
        let mut reader = self.journal.read_from(lane, from).expect("within the journal");
        let mut payloads = Vec::new();
        let error = take_all(&mut reader, &mut payloads);
        (payloads, error)
    }

    /// The payloads of a lane, all of them readable.
    fn everything(&self, lane: Lane) -> Vec<Vec<u8>> {
        let (payloads, error) = self.replay(lane, Position::default());
        assert!(error.is_none(), "{error:?}");
        payloads
    }

    fn metric(&self, name: &str, lane: Lane) -> f64 {
        let families = self.telemetry.gather();
        let family = families.iter().find(|family| family.name() == name).expect("a metric");
        let mut metrics = family.get_metric().iter();
        let metric = metrics.find(|m| m.get_label()[0].value() == lane.as_str()).expect("a lane");
        metric.get_counter().get_value() + metric.get_gauge().get_value()
    }
}

fn take_all(reader: &mut Reader, payloads: &mut Vec<Vec<u8>>) -> Option<JournalError> {
    for item in reader.by_ref() {
        match item {
            Ok((_, _, payload)) => payloads.push(payload.to_vec()),
            Err(error) => return Some(error),
        }
    }
    None
}

/// Yields until the condition holds.
fn wait_until(condition: impl Fn() -> bool) {
    let clock = Clock::system();
    let began = clock.monotonic();
    while !condition() {
        assert!(clock.monotonic().since(began) < Duration::from_secs(60), "waited too long");
        thread::yield_now();
    }
}
