//! What goes wrong when: the plot of the demo, told line by line as it happens.
//!
//! Each fault lasts long enough that its alert fires and says why, and is followed by enough quiet
//! that it resolves. After the last one the plot starts over.

use super::cohort::{Network, Region, Release};
use super::conditions::{Conditions, Fault};
use super::narrator::{Narrator, Tone};
use crate::base::clock::Clock;
use crate::base::shutdown::Shutdown;
use std::time::Duration;

/// A fault and when it is there, counted from the start of a round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Episode {
    /// When it begins.
    pub from: Duration,
    /// When it ends.
    pub until: Duration,
    /// What it is.
    pub fault: Fault,
}

/// Episodes, played over and over.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    episodes: Vec<Episode>,
    round: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Step {
    at: Duration,
    begins: bool,
    fault: Fault,
}

// === impl Script ===

impl Script {
    /// A script of these episodes, each round as long as the last of them and `quiet`.
    #[must_use]
    pub fn new(episodes: Vec<Episode>, quiet: Duration) -> Self {
        let end = episodes.iter().map(|episode| episode.until).max().unwrap_or_default();
        Self { episodes, round: end.saturating_add(quiet).max(Duration::from_millis(1)) }
    }

    /// The demo's own: a far region slows down, a release crashes, a cellular network drops, the
    /// chat gateway stalls. The first alert is over about two minutes after the start.
    #[must_use]
    pub fn demo() -> Self {
        let episode = |from, until, fault| Episode {
            from: Duration::from_secs(from),
            until: Duration::from_secs(until),
            fault,
        };
        let slow = Fault::SlowRegion { region: Region::ApSouth, extra: Duration::from_millis(400) };
        let crashes = Fault::Crashes { release: Release::V4_2_0, ratio: 0.35 };
        let dropped =
            Fault::DroppedNetwork { network: Network::Cell, region: Region::UsEast, ratio: 0.75 };
        let stalls = Fault::SlowChat { extra: Duration::from_millis(250) };
        Self::new(
            vec![
                episode(20, 80, slow),
                episode(115, 170, crashes),
                episode(215, 270, dropped),
                episode(315, 365, stalls),
            ],
            Duration::from_secs(60),
        )
    }

    /// Plays round after round until `stop` begins; leaves the conditions calm.
    pub async fn play(
        &self,
        conditions: &Conditions,
        narrator: &Narrator,
        clock: &Clock,
        stop: &Shutdown,
    ) {
        tokio::select! {
            () = stop.begun() => {}
            () = self.rounds(conditions, narrator, clock) => {}
        }
        conditions.clear();
    }

    async fn rounds(&self, conditions: &Conditions, narrator: &Narrator, clock: &Clock) {
        let began = clock.monotonic();
        let steps = self.steps();
        let mut round_start = Duration::ZERO;
        loop {
            for step in &steps {
                // From the start of everything, so that rounds do not drift.
                let due = round_start + step.at;
                tokio::time::sleep(due.saturating_sub(clock.monotonic().since(began))).await;
                step.take(conditions, narrator);
            }
            round_start += self.round;
            tokio::time::sleep(round_start.saturating_sub(clock.monotonic().since(began))).await;
        }
    }

    /// Begins and ends in order of time; where both fall together the end comes first.
    fn steps(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = self
            .episodes
            .iter()
            .flat_map(|&Episode { from, until, fault }| {
                [Step { at: from, begins: true, fault }, Step { at: until, begins: false, fault }]
            })
            .collect();
        steps.sort_by_key(|step| (step.at, step.begins));
        steps
    }
}

// === impl Step ===

impl Step {
    fn take(&self, conditions: &Conditions, narrator: &Narrator) {
        if self.begins {
            conditions.begin(self.fault);
            narrator.say(Tone::Fault, &self.fault.to_string());
        } else {
            conditions.end(&self.fault);
            narrator.say(Tone::Recovery, &self.fault.relief());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::narrator::Recorded;

    /// Guarantees the pace that the demo promises: every fault is given time to fire and, before
    /// the next, to resolve; the first is over within two minutes.
    #[test]
    fn the_demos_faults_take_turns() {
        let script = Script::demo();
        let pairs = script.episodes.windows(2);
        for (one, next) in pairs.map(|pair| (pair[0], pair[1])) {
            assert!(one.until - one.from >= Duration::from_secs(40), "{one:?} is too short");
            assert!(next.from - one.until >= Duration::from_secs(35), "no time to resolve {one:?}");
        }
        assert!(script.episodes[0].until <= Duration::from_secs(80));
        assert_eq!(script.steps().len(), 8);
    }

    /// Guarantees the order: begin, end, each told as it happens, over and over until stopped, and
    /// that nothing is left broken.
    #[tokio::test]
    async fn plays_in_order_and_leaves_nothing_broken() {
        let milliseconds = Duration::from_millis;
        let errors = Fault::Errors { ratio: 1.0 };
        let stalls = Fault::SlowChat { extra: milliseconds(250) };
        let episode = |from, until, fault| Episode {
            from: milliseconds(from),
            until: milliseconds(until),
            fault,
        };
        let script =
            Script::new(vec![episode(6, 9, stalls), episode(1, 6, errors)], milliseconds(3));
        let (conditions, recorded) = (Conditions::calm(), Recorded::default());
        let (clock, stop) = (Clock::system(), Shutdown::new());
        let narrator = Narrator::new(Box::new(recorded.clone()), clock.clone());
        let watch = async {
            while recorded.text().lines().count() < 9 {
                tokio::time::sleep(milliseconds(1)).await;
            }
            stop.begin();
        };
        let ceiling = Duration::from_secs(20);
        let both =
            async { tokio::join!(script.play(&conditions, &narrator, &clock, &stop), watch) };
        tokio::time::timeout(ceiling, both).await.expect("stops when told");

        let text = recorded.text();
        let words: Vec<&str> =
            text.lines().filter_map(|line| line.split_whitespace().nth(1)).take(9).collect();
        let round = ["fault", "over", "fault", "over"];
        assert_eq!(words, [&round[..], &round[..], &["fault"]].concat());
        assert!(text.contains("the REST API answers 500 to 100 % of its requests"));
        assert_eq!(conditions.error_ratio(), 0.0);
    }
}
