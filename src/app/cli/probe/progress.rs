//! How far it is, on one line of standard error that is gone in the end; only where a person looks,
//! and only when it takes long.

use super::super::palette::{DIM, paint};
use super::super::terminal::{is_watched, say};
use crate::base::clock::{Clock, MonoNanos};
use crate::base::duration::humane;
use crate::model::probe::ProbeRun;
use std::time::Duration;

/// What is over sooner needs no progress.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the line is written anew.
const REFRESH: Duration = Duration::from_millis(200);
/// Back to the start of the line, and nothing on it.
const ERASE: &str = "\r\u{1b}[2K";

/// The line and what it says.
pub(super) struct Progress {
    clock: Clock,
    began: MonoNanos,
    watched: bool,
    drawn: bool,
    done: usize,
    failed: usize,
    total: usize,
}

// === impl Progress ===

impl Progress {
    /// Progress of `total` runs that begin now.
    pub(super) fn new(clock: Clock, total: usize) -> Self {
        let began = clock.monotonic();
        Self { clock, began, watched: is_watched(), drawn: false, done: 0, failed: 0, total }
    }

    /// Waits for a run of that probe and shows how far it is meanwhile.
    pub(super) async fn during(
        &mut self,
        probe: &str,
        run: impl Future<Output = ProbeRun>,
    ) -> ProbeRun {
        let mut refresh = tokio::time::interval(REFRESH);
        tokio::pin!(run);
        let run = loop {
            tokio::select! {
                biased;
                run = &mut run => break run,
                _ = refresh.tick() => self.draw(probe),
            }
        };
        self.done += 1;
        self.failed += usize::from(!run.succeeded());
        self.end();
        run
    }

    /// Removes the line.
    pub(super) fn end(&mut self) {
        if std::mem::take(&mut self.drawn) {
            say(ERASE);
        }
    }

    fn draw(&mut self, probe: &str) {
        let elapsed = self.clock.monotonic().since(self.began);
        if self.watched && elapsed >= PATIENCE {
            self.drawn = true;
            say(&format!("{ERASE}{}", paint(DIM, &self.words(probe, elapsed))));
        }
    }

    fn words(&self, probe: &str, elapsed: Duration) -> String {
        let failed =
            if self.failed > 0 { format!(", {} failed", self.failed) } else { String::new() };
        let elapsed = humane(Duration::from_secs(elapsed.as_secs()));
        format!("run {} of {}: {probe}{failed}, {elapsed}", self.done + 1, self.total)
    }
}
