//! What came over the streams that a step opened, message by message.

use super::facts::bytes;
use super::format::{grouped, latency};
use super::parts::{Column, rows};
use super::svg::{self, Words};
use super::symbol::{Level, state};
use crate::model::probe::{MessageStamp, ProbeRun, StepResult};
use maud::{Markup, html};

/// Messages that are listed; those that steps waited for are always drawn.
const LISTED: usize = 100;

/// When messages came: in words, on the run's time axis, and folded as a table.
pub(super) fn messages(run: &ProbeRun, step: &StepResult) -> Markup {
    let stamps = &step.messages.stamps;
    let (Some(first), Some(last)) = (stamps.first(), stamps.last()) else { return html! {} };
    let count = (stamps.len() as u64).saturating_add(step.messages.omitted);
    let size: u64 = stamps.iter().map(|stamp| u64::from(stamp.size_bytes)).sum();
    let title = format!("{count} messages over the run of {}", latency(run.duration_ns));
    let detail = format!(
        "From {} to {}; tall: a step waited for it.",
        latency(first.offset_ns),
        latency(last.offset_ns)
    );
    let words = Words { title: &title, detail: &detail };
    html! {
        p {
            b { (grouped(count)) @if count == 1 { " message" } @else { " messages" } } " came over its "
            @if stamps.iter().any(|stamp| stamp.receiver > 1) { "streams" } @else { "stream" }
            ", " (bytes(size))
            @if let Some(gap) = longest_gap(stamps) { "; at most " (latency(gap)) " apart" }
            @if step.messages.omitted > 0 { "; stamps of the first " (grouped(stamps.len() as u64)) " are kept" }
            "."
        }
        figure .reach {
            (svg::arrivals(run.duration_ns, stamps, words))
            figcaption { span { "0" } span { "tall: a step waited for it" } span { (latency(run.duration_ns)) } }
        }
        details { summary { "Message by message" } (table(step)) }
    }
}

fn table(step: &StepResult) -> Markup {
    const COLUMNS: [Column<'_>; 5] = [
        Column::Number("After"),
        Column::Number("Gap"),
        Column::Number("Size"),
        Column::Number("Receiver"),
        Column::Text("Waited for"),
    ];
    let stamps = &step.messages.stamps;
    let before = std::iter::once(None).chain(stamps.iter().map(|stamp| Some(stamp.offset_ns)));
    let caption = format!("Messages over the streams of {}", super::run_steps::named(step));
    let body = html! {
        @for (stamp, before) in stamps.iter().zip(before).take(LISTED) {
            tr {
                th scope="row" .number { (latency(stamp.offset_ns)) }
                td .number { @if let Some(before) = before { (latency(stamp.offset_ns.saturating_sub(before))) } }
                td .number { (bytes(stamp.size_bytes.into())) }
                td .number { @if stamp.receiver > 0 { (stamp.receiver) } }
                td { @if stamp.matched { (state(Level::Good, "yes")) } }
            }
        }
    };
    html! {
        (rows(&caption, &COLUMNS, &body))
        @if stamps.len() > LISTED { p .meta { (grouped((stamps.len() - LISTED) as u64)) " more are in the JSON of this run." } }
    }
}

fn longest_gap(stamps: &[MessageStamp]) -> Option<u64> {
    let gaps = stamps.iter().zip(stamps.iter().skip(1));
    gaps.map(|(one, next)| next.offset_ns.saturating_sub(one.offset_ns)).max()
}
