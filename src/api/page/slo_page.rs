//! `/slos/{name}`: a budget, how fast it burns, what explains it and the events behind it.

use super::firing::{exhaustion, factors, runbook_link, word};
use super::format::{
    NOTHING, absolute, ago, attained, burn, coarse, grouped, latency, objective, share, time,
};
use super::links;
use super::phones;
use super::probe_page;
use super::shell::{Shell, trail};
use super::svg::{Chart, Keep, Trace, Words, chart};
use super::symbol::{Level, state};
use super::view::{BudgetView, BurnView, IncidentRow, LateRow, Readiness, SloPage};
use crate::base::clock::UnixNanos;
use crate::base::duration::format;
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
        (left(budget, level))
        (policy(budget))
        (explanation(view))
        (evidence(view))
        (incidents(view.now, &view.incidents))
        (late(view.now, &view.late))
        (indicator(view))
    };
    let json = format!("/api{}", links::slo(&budget.name));
    let title = format!("{word}: {}", budget.name);
    Shell {
        title: &title,
        level,
        now: view.now,
        version: &view.version,
        live: true,
        json: Some(&json),
    }
    .wrap(&main)
}

fn figures(now: UnixNanos, budget: &BudgetView) -> Markup {
    let bad = budget.total.saturating_sub(budget.good);
    html! {
        dl .figures #events {
            div { dt { "Attained" } dd { (attained(budget.good, budget.total, budget.objective)) } }
            div { dt { "Objective" } dd { (objective(budget.objective)) " in " (format(budget.window)) } }
            div { dt { "Budget left" } dd { (budget.left.map_or_else(|| NOTHING.to_owned(), share)) } }
            div { dt { "Gone in" } dd { (exhaustion(budget.exhaustion)) } }
            div { dt { "Bad of all events" } dd { (grouped(bad)) " of " (grouped(budget.total)) } }
            @if budget.left_out > 0 { div { dt { "Left out as uncertain" } dd { (grouped(budget.left_out)) } } }
            @if let Some(since) = budget.counted_since { div { dt { "Counted since" } dd { (ago(now, since)) } } }
            @if let Some(since) = budget.missing_since { div { dt { "No data since" } dd { (ago(now, since)) } } }
        }
    }
}

fn left(budget: &BudgetView, level: Level) -> Markup {
    let lowest = budget.line.iter().flatten().copied().fold(0.0, f64::min).max(-2.0);
    let window = format(budget.window);
    let title = format!("Budget left over {window}");
    let detail = budget
        .left
        .map_or_else(|| "No data.".to_owned(), |left| format!("{} is left now.", share(left)));
    html! {
        section #budget aria-labelledby="budget-title" {
            h2 #budget-title { "Budget left" }
            @if budget.line.iter().flatten().next().is_none() { p .calm { "Nothing was counted in this window." } }
            @else {
                figure {
                    div .plot {
                        p .scale { span { "100%" } @if lowest < 0.0 { span { (share(lowest)) } } @else { span { "50%" } span { "0%" } } }
                        (chart(
                            &Chart {
                                class: "chart tall",
                                traces: &[Trace { points: &budget.line, class: level.class(), area: lowest >= 0.0, keep: Keep::Lowest }],
                                low: lowest,
                                high: 1.0,
                                threshold: (lowest < 0.0).then_some(0.0),
                                mark: None,
                            },
                            Words { title: &title, detail: &detail },
                        ))
                    }
                    figcaption { span { "−" (window) } @if lowest < 0.0 { span { "dashed: gone" } } span { "now" } }
                }
            }
        }
    }
}

/// The burn policy and where each pair stands.
fn policy(budget: &BudgetView) -> Markup {
    html! {
        section #burn aria-labelledby="burn-title" {
            h2 #burn-title { "Burn rate" }
            @if budget.burn.is_empty() { p .calm { "No burn policy: this SLO never alerts." } } @else {
                div .scroll tabindex="0" role="region" aria-label="Burn rate" {
                    table .rows {
                        caption .hidden { "Burn policy: rate in the long and the short window against the rate at which it fires" }
                        thead { tr {
                            th scope="col" { "Windows" } th scope="col" .number { "Long" } th scope="col" .number { "Short" }
                            th scope="col" .number { "Fires at" } th scope="col" .number { "Bad of all" } th scope="col" { "State" }
                        } }
                        tbody { @for pair in &budget.burn { (pair_row(pair)) } }
                    }
                }
                p .meta { "A rate of 1× spends the whole budget in exactly " (format(budget.window)) "." }
            }
        }
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
    html! {
        @if view.explanation.is_some() || !view.factors.is_empty() {
            section #explanation aria-labelledby="explanation-title" {
                h2 #explanation-title { "What explains it" }
                @if let Some(sentence) = &view.explanation { p { (sentence) } }
                (factors(&view.factors))
            }
        }
    }
}

fn evidence(view: &SloPage) -> Markup {
    html! {
        section #evidence aria-labelledby="evidence-title" {
            h2 #evidence-title { "Evidence" }
            @if view.spans.is_empty() && view.runs.is_empty() {
                p .calm { "No bad event is kept." }
            }
            div .pair {
                @for matrix in &view.matrices {
                    (phones::table(matrix, &view.budget.name, view.budget.objective, view.matrices_over))
                }
            }
            @if !view.runs.is_empty() { (probe_page::runs(view.now, &view.runs, "Bad runs, newest first")) }
            @if !view.spans.is_empty() { (spans(view.now, &view.spans)) }
        }
    }
}

fn spans(now: UnixNanos, spans: &[SpanEvidence]) -> Markup {
    html! {
        div .scroll tabindex="0" role="region" aria-label="Worst spans" {
            table .rows {
                caption .hidden { "Worst spans, newest first" }
                thead { tr {
                    th scope="col" { "When" } th scope="col" { "Name" } th scope="col" .number { "Took" }
                    th scope="col" { "Where" } th scope="col" { "Trace" }
                } }
                tbody {
                    @for span in spans {
                        tr {
                            th scope="row" { (ago(now, span.at)) }
                            td { (span.name) @if span.failed { " " (state(Level::Bad, "Failed")) } }
                            td .number { (latency(span.duration_ns)) }
                            td { @for key in DIMENSIONS { @if let Some(value) = span.attributes.get(key) { span title=(key) { (value) } " " } } }
                            td { code { @if span.trace_id.is_empty() { (NOTHING) } @else { (span.trace_id) } } }
                        }
                    }
                }
            }
        }
    }
}

fn incidents(now: UnixNanos, incidents: &[IncidentRow]) -> Markup {
    html! {
        section #incidents aria-labelledby="incidents-title" {
            h2 #incidents-title { "Incidents" }
            @if incidents.is_empty() { p .calm { "None." } }
            ol .changes {
                @for incident in incidents {
                    li {
                        span .when { (ago(now, incident.started_at)) }
                        @match incident.ended_at {
                            None => { (state(Level::of_severity(incident.severity), word(incident.severity))) }
                            Some(end) => { (state(Level::Good, "Resolved")) span .meta { "after " (coarse(end.since(incident.started_at))) } }
                        }
                        a href=(links::incident(&incident.id)) { (incident.summary) }
                    }
                }
            }
        }
    }
}

fn late(now: UnixNanos, rows: &[LateRow]) -> Markup {
    html! {
        @if !rows.is_empty() {
            section #late aria-labelledby="late-title" {
                h2 #late-title { "Late data" }
                ol .changes {
                    @for row in rows {
                        li {
                            span .when { (ago(now, row.at)) }
                            span { (grouped(row.total)) " events came late, " (grouped(row.bad)) " of them bad; the oldest happened "
                                (time(row.oldest, &absolute(row.oldest))) }
                        }
                    }
                }
            }
        }
    }
}

/// What exactly is counted.
fn indicator(view: &SloPage) -> Markup {
    html! {
        section #indicator aria-labelledby="indicator-title" {
            h2 #indicator-title { "Indicator" }
            dl .facts {
                dt { "Counts" } dd { (view.budget.indicator) }
                dt { "Identity" } dd { code { (view.indicator_id) } }
                @if let Some(probe) = &view.probe { dt { "Probe" } dd { a href=(links::probe(probe)) { (probe) } } }
            }
        }
    }
}
