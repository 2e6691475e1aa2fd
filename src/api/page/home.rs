//! The home page: is anything wrong, for whom, since when, why, what is left.

use super::format::{absolute, ago, share, time};
use super::shell::Shell;
use super::symbol::{Level, sign};
use super::verdict::{Headline, headline};
use super::view::{ConfigProblem, PageView, Readiness};
use super::{budgets, changes, firing, phones, probes};
use maud::{Markup, html};

/// At most this many problems of a configuration are shown; the rest is counted.
const PROBLEMS: usize = 5;

/// Renders the home page.
#[must_use]
pub fn render_home(view: &PageView) -> String {
    let verdict = headline(view);
    let title = match verdict.level {
        Level::Good => "All is well".to_owned(),
        _ => verdict.sentence.clone(),
    };
    let main = html! {
        (top(view, &verdict))
        @if let Some(problem) = &view.config_problem { (config_problem(view, problem)) }
        (firing::section(view))
        (budgets::section(view))
        (probes::section(view))
        (phones::section(view))
        (changes::changes(view))
    };
    Shell::new(&title, verdict.level, view.now, &view.version)
        .live()
        .json("/api/status")
        .wrap(&main)
}

/// The verdict and how fresh the data is.
fn top(view: &PageView, verdict: &Headline) -> Markup {
    html! {
        div .verdict .(verdict.level.class()) {
            (sign(verdict.level))
            div {
                h1 { (verdict.sentence) }
                @if let Some(detail) = &verdict.detail { p { (detail) } }
            }
            (freshness(view))
        }
    }
}

fn freshness(view: &PageView) -> Markup {
    let fresh = &view.freshness;
    html! {
        ul .freshness aria-label="Freshness of data" {
            @for source in &fresh.sources {
                li .stale[source.stale] {
                    a href={ "#" (source.name) } { (source.name) } " "
                    @match source.newest {
                        Some(newest) => { (ago(view.now, newest)) }
                        None => { "never" }
                    }
                    @if source.stale { " (stale)" }
                }
            }
            @if let Some(at) = fresh.evaluated_at {
                li { a href="#budgets" { "evaluated" } " " (ago(view.now, at)) }
            }
            @if let Readiness::Replaying { done } = view.readiness {
                li .stale { "replaying, " (share(done.clamp(0.0, 1.0))) }
            }
            @if let Some(trouble) = &fresh.degraded { li .stale { "degraded: " (trouble) } }
        }
    }
}

fn config_problem(view: &PageView, problem: &ConfigProblem) -> Markup {
    html! {
        section .notice .warning aria-labelledby="config" {
            h2 #config { (sign(Level::Warning)) "The configuration on disk is refused; the one before is in force" }
            p { "Since " (time(problem.since, &absolute(problem.since))) ", " (ago(view.now, problem.since)) "." }
            ul {
                @for text in problem.problems.iter().take(PROBLEMS) { li { code { (text) } } }
                @if problem.problems.len() > PROBLEMS {
                    li { "and " (problem.problems.len() - PROBLEMS) " more: run " code { "radiosonde check" } }
                }
            }
        }
    }
}
