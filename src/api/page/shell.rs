//! The document around every page: head, landmarks, navigation, footer.
//!
//! Nothing is inline: style and script are files of this server, so a strict content security
//! policy holds. Without a script the page reloads itself; with one it follows the event stream.

use super::format::{absolute, time};
use super::symbol::{self, Level};
use crate::base::clock::UnixNanos;
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// What the document needs to know of its page.
pub(super) struct Shell<'a> {
    /// Title of the window, without the product's name.
    title: &'a str,
    /// Shown as the window's icon.
    level: Level,
    /// As of when the page holds.
    now: UnixNanos,
    /// Version of the daemon.
    version: &'a str,
    /// Whether the page changes with time.
    live: bool,
    /// Where the same facts are as JSON.
    json: Option<&'a str>,
}

/// Where a page hangs below the home page: words and link of its parents.
pub(super) type Trail<'a> = &'a [(&'a str, &'a str)];

impl<'a> Shell<'a> {
    /// Around a page that holds as of `now` and stays as it is.
    pub(super) fn new(title: &'a str, level: Level, now: UnixNanos, version: &'a str) -> Self {
        Self { title, level, now, version, live: false, json: None }
    }

    /// Around a page that changes with time.
    pub(super) fn live(self) -> Self {
        Self { live: true, ..self }
    }

    /// Around a page whose facts are at `path` as JSON.
    pub(super) fn json(self, path: &'a str) -> Self {
        Self { json: Some(path), ..self }
    }

    /// The whole document around `main`.
    pub(super) fn wrap(&self, main: &Markup) -> String {
        html! {
            (DOCTYPE)
            html lang="en" {
                (self.head())
                body {
                    a .skip href="#main" { "Skip to content" }
                    (symbol::definitions())
                    (header())
                    main #main tabindex="-1" { (main) }
                    (self.footer())
                }
            }
        }
        .into_string()
    }

    fn head(&self) -> Markup {
        html! {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { (self.title) " · Radiosonde" }
                link rel="icon" href=(icon(self.level));
                link rel="stylesheet" href="/page/style.css";
                @if self.live {
                    script src="/page/script.js" defer {}
                    noscript { meta http-equiv="refresh" content="30"; }
                }
            }
        }
    }

    fn footer(&self) -> Markup {
        html! {
            footer {
                p { "As of " (time(self.now, &absolute(self.now))) " · Radiosonde " (self.version) }
                nav aria-label="Data" {
                    @if let Some(path) = self.json { a href=(path) { "This page as JSON" } }
                    a href="/metrics" { "Metrics" }
                    a href="/api/openapi.json" { "API" }
                }
            }
        }
    }
}

fn header() -> Markup {
    html! {
        header {
            a .brand href="/" {
                svg viewBox="0 0 16 16" aria-hidden="true" {
                    circle cx="8" cy="5" r="4.2" fill="none" stroke="currentColor" stroke-width="1.5" {}
                    path d="M8 9.2v3M6.2 12.2h3.6v3H6.2z" fill="none" stroke="currentColor" stroke-width="1.5" {}
                }
                "Radiosonde"
            }
            nav aria-label="Sections" {
                @for (path, word) in [("/#firing", "Firing"), ("/#budgets", "Budgets"), ("/#probes", "Probes"), ("/#phones", "Phones"), ("/#changes", "Changes")] {
                    a href=(path) { (word) }
                }
            }
            p #live role="status" aria-live="polite" {}
        }
    }
}

/// The line above a page's heading that leads back.
pub(super) fn trail(parents: Trail<'_>) -> Markup {
    html! {
        nav .trail aria-label="Breadcrumb" {
            a href="/" { "Home" }
            @for (word, path) in parents { " / " a href=(path) { (word) } }
        }
    }
}

/// The window's icon: the level's shape and colour, so that a row of tabs tells it too.
fn icon(level: Level) -> PreEscaped<String> {
    let shape = match level {
        Level::Good => "<circle cx='8' cy='8' r='7' fill='%2317734a'/>",
        Level::Unknown => {
            "<circle cx='8' cy='8' r='5.5' fill='none' stroke='%23868d95' stroke-width='3'/>"
        }
        Level::Warning => "<path d='M8 1l7.5 14H.5z' fill='%23c07d00'/>",
        Level::Bad => "<path d='M5 1h6l4 4v6l-4 4H5l-4-4V5z' fill='%23c9372c'/>",
    };
    let text = format!(
        "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>{shape}</svg>"
    );
    PreEscaped(text.replace('<', "%3C").replace('>', "%3E"))
}
