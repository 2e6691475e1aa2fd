//! *What changed*: alerts, reloads, releases seen, late data; and the page with all of it.

use super::format::ago;
use super::links;
use super::shell::{Shell, trail};
use super::symbol::{self, Level};
use super::view::{ChangeView, ChangesPage, PageView};
use crate::base::clock::UnixNanos;
use maud::{Markup, html};

/// Changes on the home page; the rest is a page of its own.
const SHOWN: usize = 12;

/// The section of the home page.
pub(super) fn section(view: &PageView) -> Markup {
    html! {
        section #changes aria-labelledby="changes-title" {
            h2 #changes-title { "What changed" }
            @if view.changes.is_empty() {
                p .calm { "Nothing yet. Alerts, reloads, releases and late data will be listed here." }
            } @else {
                (list(view.now, view.changes.iter().take(SHOWN)))
                p .actions { a href="/changes" { "All changes" } }
            }
        }
    }
}

/// Renders the page of all changes.
#[must_use]
pub fn render_changes(view: &ChangesPage) -> String {
    let main = html! {
        (trail(&[]))
        h1 { "What changed" }
        @if view.changes.is_empty() { p .calm { "Nothing yet." } }
        (list(view.now, view.changes.iter()))
    };
    Shell {
        title: "What changed",
        level: Level::Unknown,
        now: view.now,
        version: &view.version,
        live: true,
        json: Some("/api/changes"),
    }
    .wrap(&main)
}

fn list<'a>(now: UnixNanos, changes: impl Iterator<Item = &'a ChangeView>) -> Markup {
    html! {
        ol .changes {
            @for change in changes {
                li {
                    span .when { (ago(now, change.at)) }
                    (symbol::change(change.kind))
                    span {
                        @match change.link.as_deref().and_then(links::inside) {
                            Some(path) => { a href=(path) { (change.text) } }
                            None => { (change.text) }
                        }
                    }
                }
            }
        }
    }
}
