//! *What changed*: alerts, reloads, releases seen, late data; and the page with all of it.

use super::links;
use super::parts::{calm, event, events, section};
use super::shell::{Shell, trail};
use super::symbol::{self, Level};
use super::view::{ChangeView, ChangesPage, PageView};
use crate::base::clock::UnixNanos;
use maud::{Markup, html};

/// Changes on the home page; the rest is a page of its own.
const SHOWN: usize = 12;

/// The section of the home page.
pub(super) fn changes(view: &PageView) -> Markup {
    let body = if view.changes.is_empty() {
        calm("Nothing yet. Alerts, reloads, releases and late data will be listed here.")
    } else {
        html! {
            (list(view.now, view.changes.iter().take(SHOWN)))
            p .actions { a href="/changes" { "All changes" } }
        }
    };
    section("changes", "What changed", &body)
}

/// Renders the page of all changes.
#[must_use]
pub fn render_changes(view: &ChangesPage) -> String {
    let main = html! {
        (trail(&[]))
        h1 { "What changed" }
        @if view.changes.is_empty() { (calm("Nothing yet.")) }
        (list(view.now, view.changes.iter()))
    };
    Shell::new("What changed", Level::Unknown, view.now, &view.version)
        .live()
        .json("/api/changes")
        .wrap(&main)
}

fn list<'a>(now: UnixNanos, changes: impl Iterator<Item = &'a ChangeView>) -> Markup {
    events(&html! {
        @for change in changes {
            (event(now, change.at, symbol::change(change.kind), links::maybe(change.link.as_deref(), &change.text)))
        }
    })
}
