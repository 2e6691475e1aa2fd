//! *Budgets*: a row for each SLO, those in trouble first.

use super::empty;
use super::firing::exhaustion;
use super::format::{NOTHING, ago, attained, burn, grouped, objective, share};
use super::links;
use super::parts::counted;
use super::svg::{self, Words};
use super::symbol::{Level, sign, state};
use super::view::{BudgetVerdict, BudgetView, BurnView, Exhaustion, PageView};
use crate::base::clock::UnixNanos;
use crate::base::duration::{format, humane};
use crate::model::objective::Severity;
use maud::{Markup, html};

/// The section of the home page.
pub(super) fn section(view: &PageView) -> Markup {
    let mut budgets: Vec<&BudgetView> = view.budgets.iter().collect();
    budgets.sort_by_key(|budget| rank(budget.verdict));
    let body = if budgets.is_empty() {
        empty::slos(view.probes.first().map(|probe| probe.name.as_str()))
    } else {
        table(view.now, &budgets)
    };
    counted("budgets", "Budgets", budgets.len(), &body)
}

/// What is in trouble comes first; otherwise the order stays.
fn rank(verdict: BudgetVerdict) -> u8 {
    match verdict {
        BudgetVerdict::Burning(Severity::Page) => 0,
        BudgetVerdict::Burning(Severity::Ticket) => 1,
        BudgetVerdict::Exhausted => 2,
        BudgetVerdict::NoData => 3,
        BudgetVerdict::Healthy => 4,
    }
}

/// Roles are spelled out because the style sheet turns rows into cards on small screens, and some
/// browsers then forget that they were a table.
fn table(now: UnixNanos, budgets: &[&BudgetView]) -> Markup {
    html! {
        table .budgets role="table" {
            caption .hidden { "Error budgets, those in trouble first" }
            thead role="rowgroup" {
                tr role="row" {
                    @for name in ["Verdict", "SLO", "Attained", "Budget left", "Burn", "Gone in", "Owner"] {
                        th scope="col" role="columnheader" { (name) }
                    }
                }
            }
            tbody role="rowgroup" {
                @for budget in budgets { (row(now, budget)) }
            }
        }
    }
}

fn row(now: UnixNanos, budget: &BudgetView) -> Markup {
    let (level, word) = Level::of_budget(budget.verdict);
    let page = links::slo(&budget.name);
    html! {
        tr role="row" data-key=(budget.name) {
            td .verdict role="cell" { (state(level, word)) }
            th .name scope="row" role="rowheader" {
                a href=(page) { (budget.name) }
                span .meta { (budget.indicator)
                    @if let Some(since) = budget.missing_since { " · no data since " (ago(now, since)) }
                    @if let Some(since) = budget.counted_since { " · counted since " (ago(now, since)) }
                }
            }
            td .attained role="cell" {
                a href={ (page) "#events" } title={ (grouped(budget.good)) " of " (grouped(budget.total)) " good" } {
                    (attained(budget.good, budget.total, budget.objective))
                }
                span .meta { "of " (objective(budget.objective)) " in " (format(budget.window)) }
            }
            td .left role="cell" {
                a href={ (page) "#budget" } {
                    b { (budget.left.map_or_else(|| NOTHING.to_owned(), share)) }
                    (left(budget, level))
                }
            }
            td .burn role="cell" { (rates(budget, &page)) }
            td .gone role="cell" { (gone(budget.exhaustion)) }
            td .owner role="cell" { (budget.owner.as_deref().unwrap_or(NOTHING)) }
        }
    }
}

/// The bar of what is left with its line over the window.
fn left(budget: &BudgetView, level: Level) -> Markup {
    let title = match budget.left {
        Some(left) if left < 0.0 => format!("Overspent by {}", share(-left)),
        Some(left) => format!("{} of the budget left", share(left)),
        None => "No data".to_owned(),
    };
    let lowest = budget.line.iter().flatten().copied().reduce(f64::min);
    let detail = lowest.map_or_else(
        || format!("Nothing counted in {}.", format(budget.window)),
        |lowest| format!("Over {}; lowest {}.", humane(budget.line_span), share(lowest)),
    );
    svg::budget(budget.left, &budget.line, level.class(), Words { title: &title, detail: &detail })
}

fn rates(budget: &BudgetView, page: &str) -> Markup {
    html! {
        @if budget.burn.is_empty() { (NOTHING) }
        @else {
            a href={ (page) "#burn" } {
                @for pair in &budget.burn { (rate(pair)) " " }
            }
        }
    }
}

/// A long window and its rate; what holds is told by a sign, and what comes near by weight.
fn rate(pair: &BurnView) -> Markup {
    let class = match (pair.firing, pair.long_rate) {
        (true, _) => Some(Level::of_severity(pair.severity).class()),
        (false, Some(rate)) if rate >= 1.0 => Some("spending"),
        _ => None,
    };
    html! {
        span class=[class] title={ "fires at " (burn(pair.factor)) } {
            small { (format(pair.long)) }
            @if pair.firing { (sign(Level::of_severity(pair.severity))) }
            (pair.long_rate.map_or_else(|| NOTHING.to_owned(), burn))
        }
    }
}

fn gone(when: Exhaustion) -> Markup {
    let word = exhaustion(when);
    match when {
        // The column says "Gone in"; where rows are cards, the words before do.
        Exhaustion::In(_) => html! { span .narrow { "gone in " } b { (word) } },
        Exhaustion::Gone => html! { b .warning { (word) } },
        _ => html! { span .meta { (word) } },
    }
}
