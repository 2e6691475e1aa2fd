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
    let rows = u32::try_from(run.steps.len().clamp(1, MAX_ROWS)).unwrap_or(1);
    let height = rows * ROW_HEIGHT;
    let axis = Axis { total_ns: run.duration_ns };
    html! {
        svg .waterfall height=(height) viewBox={ "0 0 " (WIDTH) " " (height) } preserveAspectRatio="none" role="img" {
            title { (words.title) }
            desc { (words.detail) }
            @for (row, step) in (0..rows).zip(&run.steps) { (axis.step(step, row * ROW_HEIGHT)) }
        }
    }
}

/// Draws one phase on the run's time axis.
#[must_use]
pub fn bar(total_ns: u64, timing: PhaseTiming, words: Words<'_>) -> Markup {
    let drawing = Axis { total_ns }.phases(&[timing], 0);
    Canvas { class: "phase", width: WIDTH, height: ROW_HEIGHT }.draw(words, &drawing)
}

/// Draws the time that a failed step spent after its last phase; none for one that succeeded.
#[must_use]
pub fn gave_up(total_ns: u64, step: &StepResult, words: Words<'_>) -> Option<Markup> {
    let axis = Axis { total_ns };
    step.failure.as_ref().map(|_| {
        let drawing = html! { path fill="url(#hatch)" d=(axis.block(rest(step), 0, 12)) {} };
        Canvas { class: "phase", width: WIDTH, height: ROW_HEIGHT }.draw(words, &drawing)
    })
}

/// A piece of a phase's bar, for a legend.
#[must_use]
pub fn swatch(phase: Phase) -> Markup {
    let kind = Kind::of(phase);
    let (class, height) = (kind.class(), kind.height());
    html! {
        svg .swatch viewBox="0 0 14 14" aria-hidden="true" { rect class=(class) y=((ROW_HEIGHT - height) / 2) width="14" height=(height) {} }
    }
}

/// A piece of the bar of a step that gave up, for a legend.
#[must_use]
pub fn hatched() -> Markup {
    html! {
        svg .swatch viewBox="0 0 14 14" aria-hidden="true" { rect fill="url(#hatch)" y="1" width="14" height="12" {} }
    }
}

/// What is left of a step after the last phase that ended: offset and length.
pub fn rest(step: &StepResult) -> (u64, u64) {
    let end = step.offset_ns.saturating_add(step.duration_ns);
    let ended =
        step.phases.iter().map(|phase| phase.offset_ns.saturating_add(phase.duration_ns)).max();
    let from = ended.unwrap_or(step.offset_ns).min(end);
    (from, end - from)
}

/// Kinds of phases.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Setup,
    Wait,
    Transfer,
}

struct Axis {
    total_ns: u64,
}

impl Axis {
    fn x(&self, offset_ns: u64) -> f64 {
        let share = offset_ns as f64 / self.total_ns.max(1) as f64;
        share.clamp(0.0, 1.0) * f64::from(WIDTH)
    }

    /// A bar in the middle of a row. At least half a unit wide: what happened must be seen.
    fn block(&self, (offset_ns, duration_ns): (u64, u64), top: u32, height: u32) -> String {
        let start = self.x(offset_ns).min(f64::from(WIDTH) - 0.5);
        let width = (self.x(offset_ns.saturating_add(duration_ns)) - start).max(0.5);
        let (x, y) = (coordinate(start), top + (ROW_HEIGHT - height) / 2);
        format!("M{x} {y}h{}v{height}H{x}z", coordinate(width))
    }

    fn step(&self, step: &StepResult, top: u32) -> Markup {
        html! {
            path class="extent" d=(self.block((step.offset_ns, step.duration_ns), top, 2)) {}
            (self.phases(&step.phases, top))
            @if step.failure.is_some() { path fill="url(#hatch)" d=(self.block(rest(step), top, 12)) {} }
        }
    }

    fn phases(&self, phases: &[PhaseTiming], top: u32) -> Markup {
        let path = |kind: Kind| -> String {
            phases
                .iter()
                .filter(|timing| Kind::of(timing.phase) == kind)
                .map(|timing| {
                    self.block((timing.offset_ns, timing.duration_ns), top, kind.height())
                })
                .collect()
        };
        html! {
            @for kind in [Kind::Setup, Kind::Wait, Kind::Transfer] {
                @let path = path(kind);
                @if !path.is_empty() { path class=(kind.class()) d=(path) {} }
            }
        }
    }
}

impl Kind {
    const fn of(phase: Phase) -> Self {
        match phase {
            Phase::Resolve
            | Phase::Connect
            | Phase::Tls
            | Phase::Quic
            | Phase::Ice
            | Phase::Dtls
            | Phase::Upgrade
            | Phase::Handshake
            | Phase::Subscribe => Self::Setup,
            Phase::Wait
            | Phase::FirstEvent
            | Phase::Message
            | Phase::Detect
            | Phase::Backoff
            | Phase::Fallback
            | Phase::Resume => Self::Wait,
            Phase::Send | Phase::Receive | Phase::Close => Self::Transfer,
        }
    }

    const fn class(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Wait => "wait",
            Self::Transfer => "transfer",
        }
    }

    const fn height(self) -> u32 {
        match self {
            Self::Setup => 4,
            Self::Wait => 10,
            Self::Transfer => 8,
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
        assert!(drawn.contains("class=\"setup\" d=\"M0 5h30v4H0z\""), "{drawn}");
        assert!(drawn.contains("class=\"wait\" d=\"M30 2h120v10H30z\""), "{drawn}");
        assert!(drawn.contains("url(#hatch)\" d=\"M150 1h150v12H150z\""), "{drawn}");
    }

    /// Guarantees a bounded drawing for a run without length and with too many steps.
    #[test]
    fn odd_runs_are_drawn_too() {
        let run = ProbeRun { steps: vec![StepResult::default(); 50], ..ProbeRun::default() };
        let drawn = waterfall(&run, Words { title: "t", detail: "d" }).into_string();
        assert_eq!(drawn.matches("class=\"extent\"").count(), MAX_ROWS);
    }
}
