//! Views that need history, without the disk under the state's lock: the fold waits for that lock, and
//! everything else for the fold.
//!
//! A view is filled twice. The first time history answers nothing and notes what it is asked; then that
//! is read, with the lock let go; then the view is filled from it. What is asked for the second time
//! only, because the state moved on meanwhile, is missing until the next look.

use super::server::ApiState;
use crate::alert::Core;
use crate::model::series::{HistoryError, Past, SeriesId, SlotValue, Tier};
use crate::model::slot::Slot;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};

type Question = (Tier, SeriesId, Slot, Slot);
type Answer = Result<Vec<(Slot, SlotValue)>, HistoryError>;

/// Fills a view from the state and its past, on a thread that may wait for the disk. `fill` must ask
/// the same both times: let `now` be an argument. None when the daemon is ending.
pub(super) async fn view<V: Send + 'static>(
    state: &ApiState,
    fill: impl Fn(&Core, &dyn Past) -> V + Send + 'static,
) -> Option<V> {
    let state = state.clone();
    let work = move || {
        let asked = Asked::default();
        drop(fill(&state.core.read(), &asked));
        let past = asked.answered(&*state.history);
        fill(&state.core.read(), &past)
    };
    tokio::task::spawn_blocking(work).await.ok()
}

/// Notes what is asked.
#[derive(Default)]
struct Asked(Mutex<BTreeSet<Question>>);

/// Answers what was noted.
struct Answered(Mutex<BTreeMap<Question, Answer>>);

// === impl Asked ===

impl Asked {
    fn answered(self, history: &dyn Past) -> Answered {
        let answer = |question: Question| {
            let (tier, series, from, to) = question;
            (question, history.read(tier, series, from, to))
        };
        Answered(Mutex::new(self.0.into_inner().into_iter().map(answer).collect()))
    }
}

impl Past for Asked {
    fn read(&self, tier: Tier, series: SeriesId, from: Slot, to: Slot) -> Answer {
        let _ = self.0.lock().insert((tier, series, from, to));
        Ok(Vec::new())
    }
}

impl Past for Answered {
    fn read(&self, tier: Tier, series: SeriesId, from: Slot, to: Slot) -> Answer {
        let mut answers = self.0.lock();
        match answers.get_mut(&(tier, series, from, to)) {
            Some(Ok(slots)) => Ok(slots.clone()),
            // An error is told once.
            Some(failed) => std::mem::replace(failed, Ok(Vec::new())),
            None => Ok(Vec::new()),
        }
    }
}
