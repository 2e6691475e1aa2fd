//! A run on its time axis: a row for each step, and in it the phases.
//!
//! Phases are of three kinds, told by height as well as by shade: getting there (low), waiting for
//! the other side (full height), moving bytes (middle).

use super::{Canvas, Words, coordinate};
use crate::model::probe::{Phase, PhaseTiming, ProbeRun, StepResult};
use maud::{Markup, html};

/// Pixels of a row; the names beside the drawing keep the same.
pub const ROW_HEIGHT: u32 = 14;
/// Units of width of the time axis.
const WIDTH: u32 = 300;
/// Rows of a small drawing; a run with more steps shows its first ones.
const MAX_ROWS: usize = 8;

/// Draws a run small: its steps under each other.
#[must_use]
pub fn waterfall(run: &ProbeRun, words: Words<'_>) -> Markup {
    let rows = run.steps.len().clamp(1, MAX_ROWS);
    let height = u32::try_from(rows).unwrap_or(1) * ROW_HEIGHT;
    let axis = Axis { total_ns: run.duration_ns };
    html! {
        svg .waterfall height=(height) viewBox={ "0 0 " (WIDTH) " " (height) } preserveAspectRatio="none" role="img" aria-label=(words.title) {
            title { (words.title) }
            desc { (words.detail) }
            @for (row, step) in run.steps.iter().take(MAX_ROWS).enumerate() {
                (axis.step(step, row as u32 * ROW_HEIGHT))
            }
        }
    }
}

/// Draws one phase on the run's time axis.
#[must_use]
pub fn bar(total_ns: u64, timing: PhaseTiming, words: Words<'_>) -> Markup {
    let drawing = Axis { total_ns }.phase(timing, 0);
    Canvas { class: "phase", width: WIDTH, height: ROW_HEIGHT }.draw(words, &drawing)
}

struct Axis {
    total_ns: u64,
}

impl Axis {
    fn x(&self, offset_ns: u64) -> f64 {
        let share = offset_ns as f64 / self.total_ns.max(1) as f64;
        share.clamp(0.0, 1.0) * f64::from(WIDTH)
    }

    /// At least half a unit wide: what happened must be seen.
    fn span(&self, offset_ns: u64, duration_ns: u64) -> (f64, f64) {
        let start = self.x(offset_ns);
        let end = self.x(offset_ns.saturating_add(duration_ns));
        (start.min(f64::from(WIDTH) - 0.5), (end - start).max(0.5))
    }

    fn step(&self, step: &StepResult, top: u32) -> Markup {
        let (x, width) = self.span(step.offset_ns, step.duration_ns);
        html! {
            path class="extent" d={ "M" (coordinate(x)) " " (top + ROW_HEIGHT / 2) "h" (coordinate(width)) } {}
            @for timing in &step.phases { (self.phase(*timing, top)) }
            @if step.failure.is_some() {
                // From the last phase that ended to where the step gave up.
                @let from = step.phases.iter().map(|p| p.offset_ns.saturating_add(p.duration_ns)).max().unwrap_or(step.offset_ns);
                @let end = step.offset_ns.saturating_add(step.duration_ns);
                @let (x, width) = self.span(from.min(end), end.saturating_sub(from));
                rect fill="url(#hatch)" x=(coordinate(x)) y=(top + 1) width=(coordinate(width.max(3.0))) height=(ROW_HEIGHT - 2) {}
            }
        }
    }

    fn phase(&self, timing: PhaseTiming, top: u32) -> Markup {
        let (x, width) = self.span(timing.offset_ns, timing.duration_ns);
        let (class, height) = match timing.phase {
            Phase::Resolve | Phase::Connect | Phase::Tls | Phase::Upgrade => ("setup", 4),
            Phase::Wait | Phase::FirstEvent | Phase::Message => ("wait", 10),
            Phase::Send | Phase::Receive | Phase::Close => ("transfer", 7),
        };
        html! {
            rect class=(class) x=(coordinate(x)) y=(top + (ROW_HEIGHT - height) / 2) width=(coordinate(width)) height=(height) {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::probe::{Failure, FailureReason};

    /// Guarantees that bars lie where the phases were, and that a failed step is hatched to its end.
    #[test]
    fn phases_lie_on_the_axis() {
        let timing = |phase, offset_ns, duration_ns| PhaseTiming { phase, offset_ns, duration_ns };
        let run = ProbeRun {
            duration_ns: 100,
            steps: vec![StepResult {
                duration_ns: 100,
                phases: vec![timing(Phase::Connect, 0, 10), timing(Phase::Wait, 10, 40)],
                failure: Some(Failure { reason: FailureReason::Lost, message: String::new() }),
                ..StepResult::default()
            }],
            ..ProbeRun::default()
        };
        let drawn = waterfall(&run, Words { title: "t", detail: "d" }).into_string();
        assert!(drawn.contains("class=\"setup\" x=\"0\" y=\"5\" width=\"30\""), "{drawn}");
        assert!(drawn.contains("class=\"wait\" x=\"30\" y=\"2\" width=\"120\""), "{drawn}");
        assert!(drawn.contains("url(#hatch)\" x=\"150\" y=\"1\" width=\"150\""), "{drawn}");
    }

    /// Guarantees a bounded drawing for a run without length and with too many steps.
    #[test]
    fn odd_runs_are_drawn_too() {
        let run = ProbeRun { steps: vec![StepResult::default(); 50], ..ProbeRun::default() };
        let drawn = waterfall(&run, Words { title: "t", detail: "d" }).into_string();
        assert_eq!(drawn.matches("class=\"extent\"").count(), MAX_ROWS);
    }
}
