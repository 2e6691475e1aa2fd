//! Runs of probes that were announced and have no record yet: what a kill may have left uncleaned.

use crate::model::probe::RunId;
use crate::wire::record::IntentRecord;
use std::collections::BTreeMap;

/// No more are kept; beyond it the oldest goes.
const MAX_OPEN: usize = 10_000;

/// The runs that were announced and have not ended.
#[derive(Clone, Debug, Default)]
pub struct Intents(BTreeMap<RunId, IntentRecord>);

// === impl Intents ===

impl Intents {
    /// Applies a record: a run is announced, or settled without a record of its own. Returns how many
    /// were dropped to have room; none when the id is no run's.
    pub(super) fn apply(&mut self, record: IntentRecord) -> Option<u64> {
        let run = run(&record)?;
        if record.settled {
            self.settle(run);
            return Some(0);
        }
        let full = self.0.len() >= MAX_OPEN && !self.0.contains_key(&run);
        let oldest = full.then(|| self.0.iter().min_by_key(|(_, open)| open.at_unix_nano));
        if let Some(oldest) = oldest.flatten().map(|(run, _)| *run) {
            self.settle(oldest);
        }
        let _ = self.0.insert(run, record);
        Some(u64::from(full))
    }

    /// A run has ended, or left nothing.
    pub(super) fn settle(&mut self, run: RunId) {
        drop(self.0.remove(&run));
    }

    /// The runs that have not ended, with their ids.
    pub fn open(&self) -> impl Iterator<Item = (RunId, &IntentRecord)> {
        self.0.iter().map(|(run, open)| (*run, open))
    }

    /// For a checkpoint.
    pub(super) fn save(&self) -> Vec<IntentRecord> {
        self.0.values().cloned().collect()
    }

    /// Back from a checkpoint.
    pub(super) fn load(saved: &[IntentRecord]) -> Self {
        Self(saved.iter().filter_map(|open| Some((run(open)?, open.clone()))).collect())
    }
}

fn run(record: &IntentRecord) -> Option<RunId> {
    <[u8; 16]>::try_from(&*record.run).ok().map(RunId)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(number: u64) -> IntentRecord {
        IntentRecord {
            probe: "chat".to_owned(),
            run: u128::from(number).to_be_bytes().to_vec(),
            planned_start_unix_nano: 0,
            at_unix_nano: number,
            settled: false,
            target: String::new(),
        }
    }

    fn id(number: u64) -> RunId {
        RunId(u128::from(number).to_be_bytes())
    }

    /// Guarantees that what is announced stays open until it is settled, over a checkpoint too, and that
    /// memory is bounded: the oldest goes, and is counted.
    #[test]
    fn intents_are_open_until_settled_and_bounded() {
        let mut intents = Intents::default();
        let max = MAX_OPEN as u64;
        for number in 1..=max {
            assert_eq!(intents.apply(announced(number)), Some(0));
        }
        assert_eq!(intents.apply(announced(max)), Some(0), "announced again, it is one still");
        assert_eq!(intents.apply(announced(max + 1)), Some(1));
        let mut intents = Intents::load(&intents.save());
        assert_eq!(intents.open().count(), MAX_OPEN);
        assert_eq!(intents.open().map(|(run, _)| run).next(), Some(id(2)), "1 was the oldest");
        assert_eq!(intents.apply(IntentRecord { settled: true, ..announced(2) }), Some(0));
        intents.settle(id(3));
        assert_eq!(intents.open().map(|(run, _)| run).next(), Some(id(4)));
        assert_eq!(intents.apply(IntentRecord { run: vec![1], ..announced(1) }), None);
    }
}
