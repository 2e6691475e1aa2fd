//! *Phones*: per SLO a matrix of app version by network or region.

use super::empty;
use super::format::{ago, attained, count, dimension, grouped, objective};
use super::links;
use super::parts;
use super::svg;
use super::symbol::{Level, sign};
use super::view::{MatrixCell, MatrixView, PageView, PhoneApp, PhoneSlo, PhonesView};
use crate::base::clock::UnixNanos;
use crate::base::duration::format;
use maud::{Markup, html};
use std::time::Duration;

/// Below this many events a cell is shown without a judgement: one bad event would make it.
const FEW: u64 = 50;
/// A cell that spends more than this many times what is allowed is far off.
const FAR: f64 = 6.0;
/// Rows and columns that fit; the busiest come first.
const ROWS: usize = 8;
const COLUMNS: usize = 8;
/// Apps that are named; the rest is counted.
const APPS: usize = 6;

/// The section of the home page.
pub(super) fn section(view: &PageView) -> Markup {
    let body = match &view.phones {
        None => empty::phones(&view.endpoints),
        Some(phones) => known(view.now, phones),
    };
    parts::section("phones", "Phones", &body)
}

fn known(now: UnixNanos, phones: &PhonesView) -> Markup {
    html! {
        ul .apps aria-label="Apps" {
            @for app in phones.apps.iter().take(APPS) { (reporting(now, app)) }
            @if phones.apps.len() > APPS { li .meta { "and " (phones.apps.len() - APPS) " more" } }
        }
        @if phones.slos.is_empty() { (empty::phone_slos()) }
        @for (at, slo) in phones.slos.iter().enumerate() { (broken_down(slo, at == 0)) }
    }
}

fn reporting(now: UnixNanos, app: &PhoneApp) -> Markup {
    html! {
        li {
            b { (app.name) } " "
            a href="/metrics" title={ (grouped(app.received)) " items received" } { (count(app.received)) } " items"
            @if app.dropped > 0 { ", " a .warning href="/metrics" { (count(app.dropped)) " dropped" } }
            @if let Some(newest) = app.newest { span .meta { ", newest " (ago(now, newest)) } }
        }
    }
}

fn broken_down(slo: &PhoneSlo, open: bool) -> Markup {
    html! {
        details .matrices data-key=(slo.name) open[open] {
            summary { h3 { (slo.name) } " " span .meta { "objective " (objective(slo.objective)) ", last " (format(slo.over)) } }
            div .pair {
                @for matrix in &slo.matrices { (table(matrix, &slo.name, slo.objective, slo.over)) }
            }
        }
    }
}

/// A matrix as a table; each cell links to the SLO's evidence.
pub(super) fn table(matrix: &MatrixView, slo: &str, goal: f64, over: Duration) -> Markup {
    let page = links::slo(slo);
    html! {
        div .scroll tabindex="0" role="region" aria-label={ (dimension(&matrix.row_dimension)) " by " (dimension(&matrix.column_dimension)) } {
            table .matrix {
                caption { (dimension(&matrix.row_dimension)) " by " (dimension(&matrix.column_dimension))
                    span .hidden { ": share of good events, last " (format(over)) } }
                thead {
                    tr {
                        th scope="col" { (dimension(&matrix.row_dimension)) }
                        @for column in matrix.columns.iter().take(COLUMNS) { th scope="col" { (shown(column)) } }
                    }
                }
                tbody {
                    @for (name, cells) in matrix.rows.iter().take(ROWS) {
                        tr {
                            th scope="row" { (shown(name)) }
                            @for cell in cells.iter().take(COLUMNS) {
                                @match cell {
                                    Some(cell) => { (filled(*cell, goal, &page)) }
                                    None => { td .meta { span title="no events" { "·" } } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn filled(cell: MatrixCell, goal: f64, page: &str) -> Markup {
    let (level, word) = judged(cell, goal);
    let share = attained(cell.good, cell.total, goal);
    let title = format!("{share} of {} good, {word}", grouped(cell.total));
    html! {
        td .(level.map_or("few", Level::class)) {
            a href={ (page) "#evidence" } {
                @if let Some(level @ (Level::Warning | Level::Bad)) = level { (sign(level)) }
                (share)
                (svg::cell(cell.good, cell.total, goal, &title))
            }
        }
    }
}

/// How a cell stands against the objective; None when too few events say so.
fn judged(cell: MatrixCell, goal: f64) -> (Option<Level>, &'static str) {
    let bad = cell.total.saturating_sub(cell.good) as f64;
    let allowed = (1.0 - goal) * cell.total as f64;
    if cell.total < FEW {
        (None, "too few to judge")
    } else if bad <= allowed {
        (Some(Level::Good), "within budget")
    } else if bad <= allowed * FAR {
        (Some(Level::Warning), "below the objective")
    } else {
        (Some(Level::Bad), "far below the objective")
    }
}

/// A value of a dimension; items without the attribute are told as such.
fn shown(value: &str) -> &str {
    if value.is_empty() { "unset" } else { value }
}
