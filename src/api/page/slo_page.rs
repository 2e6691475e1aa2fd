//! `/slos/{name}`: a budget, how fast it burns, what explains it and the events behind it.

use super::firing::{exhaustion, factors, runbook_link, word};
use super::format::{
    NOTHING, absolute, ago, attained, burn, coarse, grouped, latency, objective, sentence, share,
    time,
};
use super::links;
use super::parts::{Column, calm, event, events, facts, figure, plot, rows, section};
use super::phones;
use super::probe_page;
use super::shell::{Shell, trail};
use super::svg::{Chart, Keep, Trace, Words, chart};
use super::symbol::{self, Level, state};
use super::view::{BudgetView, BurnView, ChangeKind, IncidentRow, LateRow, Readiness, SloPage};
use crate::base::clock::UnixNanos;
use crate::base::duration::{format, humane};
use crate::model::evidence::{DIMENSIONS, SpanEvidence};
use maud::{Markup, html};

/// Renders the page of an SLO.
#[must_use]
pub fn render_slo(view: &SloPage) -> String {
    let budget = &view.budget;
    let (level, word) = Level::of_budget(budget.verdict);
    let main = html! {
        (trail(&[("Budgets", "/#budgets")]))
        div .title { h1 { (budget.name) } (state(level, word)) }
        p { (budget.indicator) @if let Some(owner) = &budget.owner { " · " (owner) }
            @if let Some(runbook) = &view.runbook { " · " (runbook_link(runbook)) } }
        @if let Some(text) = &budget.description { p .meta { (text) } }
        @if let Readiness::Replaying { done } = view.readiness {
            p .notice .warning { "The journal is being read, " (share(done.clamp(0.0, 1.0))) " done: the numbers are not final." }
        }
        (figures(view.now, budget))
        (section("budget", "Budget left", &left(budget, level)))
        (section("burn", "Burn rate", &policy(budget)))
        (explanation(view))
        (section("evidence", "Evidence", &evidence(view)))
        (section("incidents", "Incidents", &incidents(view.now, &view.incidents)))
        (late(view.now, &view.late))
        (section("indicator", "Indicator", &indicator(view)))
    };
    let json = format!("/api{}", links::slo(&budget.name));
    let title = format!("{word}: {}", budget.name);
    Shell::new(&title, level, view.now, &view.version).live().json(&json).wrap(&main)
}

fn figures(now: UnixNanos, budget: &BudgetView) -> Markup {
    let bad = budget.total.saturating_sub(budget.good);
    html! {
        dl .figures #events {
            (figure("Attained", attained(budget.good, budget.total, budget.objective)))
            (figure("Objective", format!("{} in {}", objective(budget.objective), format(budget.window))))
            (figure("Budget left", budget.left.map_or_else(|| NOTHING.to_owned(), share)))
            (figure("Gone in", exhaustion(budget.exhaustion)))
            (figure("Bad of all events", format!("{} of {}", grouped(bad), grouped(budget.total))))
            @if budget.left_out > 0 { (figure("Left out, 5 min", html! { span title="The threshold lies within what our own stalls may have added: counted neither way" { (grouped(budget.left_out)) } })) }
            @if let Some(since) = budget.counted_since { (figure("Counted since", ago(now, since))) }
            @if let Some(since) = budget.missing_since { (figure("No data since", ago(now, since))) }
        }
    }
}

fn left(budget: &BudgetView, level: Level) -> Markup {
    if budget.line.iter().flatten().next().is_none() {
        return calm("Nothing was counted in this window.");
    }
    let lowest = budget.line.iter().flatten().copied().fold(0.0, f64::min).max(-2.0);
    let overspent = lowest < 0.0;
    let span = humane(budget.line_span);
    let title = format!("Budget left over {span}");
    let detail = budget
        .left
        .map_or_else(|| "No data.".to_owned(), |left| format!("{} is left now.", share(left)));
    let trace =
        Trace { points: &budget.line, class: level.class(), area: !overspent, keep: Keep::Lowest };
    let drawing = chart(
        &Chart {
            class: "chart tall",
            traces: &[trace],
            low: lowest,
            high: 1.0,
            threshold: overspent.then_some(0.0),
            mark: None,
        },
        Words { title: &title, detail: &detail },
    );
    let scale = ["100%".to_owned(), share((1.0 + lowest) / 2.0), share(lowest)];
    plot(&scale, &drawing, &span, if overspent { "dashed: gone" } else { "" })
}

/// The burn policy and where each pair stands.
fn policy(budget: &BudgetView) -> Markup {
    const COLUMNS: [Column<'_>; 6] = [
        Column::Text("Windows"),
        Column::Number("Long"),
        Column::Number("Short"),
        Column::Number("Fires at"),
        Column::Number("Bad of all"),
        Column::Text("State"),
    ];
    if budget.burn.is_empty() {
        return calm("No burn policy: this SLO never alerts.");
    }
    let body = html! { @for pair in &budget.burn { (pair_row(pair)) } };
    html! {
        (rows("Rate in the long and the short window against the rate at which each pair fires", &COLUMNS, &body))
        p .meta { "A rate of 1× spends the whole budget in exactly " (format(budget.window)) "." }
    }
}

fn pair_row(pair: &BurnView) -> Markup {
    let rate = |rate: Option<f64>| rate.map_or_else(|| NOTHING.to_owned(), burn);
    let burning = |value: Option<f64>| value.is_some_and(|value| value >= pair.factor);
    html! {
        tr {
            th scope="row" { (format(pair.long)) " / " (format(pair.short)) }
            td .number { (rate(pair.long_rate)) }
            td .number { (rate(pair.short_rate)) }
            td .number { (burn(pair.factor)) span .meta { " (" (share(pair.budget)) ")" } }
            td .number { (grouped(pair.bad)) " of " (grouped(pair.total)) }
            td {
                @if pair.firing { (state(Level::of_severity(pair.severity), word(pair.severity))) }
                @else if burning(pair.long_rate) && !pair.significant { span .meta { "held back: too few bad events to be sure" } }
                @else if burning(pair.long_rate) { span .meta { "held back: the short window is quiet" } }
                @else { span .meta { "quiet (" (word(pair.severity).to_lowercase()) ")" } }
            }
        }
    }
}

fn explanation(view: &SloPage) -> Markup {
    if view.explanation.is_none() && view.factors.is_empty() {
        return html! {};
    }
    let body = html! {
        @if let Some(text) = &view.explanation { p { (sentence(text)) } }
        (factors(&view.factors))
    };
    section("explanation", "What explains it", &body)
}

fn evidence(view: &SloPage) -> Markup {
    let (slo, goal, over) = (&view.budget.name, view.budget.objective, view.matrices_over);
    html! {
        @if view.spans.is_empty() && view.runs.is_empty() { (calm("No bad event is kept.")) }
        @if !view.matrices.is_empty() {
            div .pair { @for matrix in &view.matrices { (phones::table(matrix, slo, goal, over)) } }
        }
        @if !view.runs.is_empty() { (probe_page::table(view.now, &view.runs, "Bad runs, newest first")) }
        @if !view.spans.is_empty() { (spans(view.now, &view.spans)) }
    }
}

fn spans(now: UnixNanos, spans: &[SpanEvidence]) -> Markup {
    const COLUMNS: [Column<'_>; 5] = [
        Column::Text("When"),
        Column::Text("Name"),
        Column::Number("Took"),
        Column::Text("Where"),
        Column::Text("Trace"),
    ];
    let body = html! {
        @for span in spans {
            tr {
                th scope="row" { (ago(now, span.at)) }
                td { (span.name) @if span.failed { " " (state(Level::Bad, "Failed")) } }
                td .number { (latency(span.duration_ns)) }
                td { @for key in DIMENSIONS { @if let Some(value) = span.attributes.get(key) { span title=(key) { (value) } " " } } }
                td { code { @if span.trace_id.is_empty() { (NOTHING) } @else { (span.trace_id) } } }
            }
        }
    };
    rows("Worst spans, newest first", &COLUMNS, &body)
}

fn incidents(now: UnixNanos, incidents: &[IncidentRow]) -> Markup {
    if incidents.is_empty() {
        return calm("None.");
    }
    let kind = |incident: &IncidentRow| match incident.ended_at {
        None => state(Level::of_severity(incident.severity), word(incident.severity)),
        Some(_) => state(Level::Good, "Resolved"),
    };
    let what = |incident: &IncidentRow| {
        html! {
            a href=(links::incident(&incident.id)) { (incident.summary) }
            @if let Some(end) = incident.ended_at {
                " " span .meta { "over after " (coarse(end.since(incident.started_at))) }
            }
        }
    };
    events(&html! {
        @for incident in incidents { (event(now, incident.started_at, kind(incident), what(incident))) }
    })
}

fn late(now: UnixNanos, lines: &[LateRow]) -> Markup {
    if lines.is_empty() {
        return html! {};
    }
    let what = |line: &LateRow| {
        html! {
            (grouped(line.total)) " events, " (grouped(line.bad)) " of them bad; the oldest happened "
            (time(line.oldest, &absolute(line.oldest)))
        }
    };
    let body = events(&html! {
        @for line in lines { (event(now, line.at, symbol::change(ChangeKind::LateData), what(line))) }
    });
    section("late", "Late data", &body)
}

/// What exactly is counted.
fn indicator(view: &SloPage) -> Markup {
    let probe = view
        .probe
        .as_ref()
        .map(|probe| ("Probe", html! { a href=(links::probe(probe)) { (probe) } }));
    let known = [
        ("Counts", html! { (view.budget.indicator) }),
        ("Identity", html! { code { (view.indicator_id) } }),
    ];
    facts(known.into_iter().chain(probe))
}
