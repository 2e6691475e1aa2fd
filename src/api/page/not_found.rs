//! What is not there, or no longer.

use super::shell::Shell;
use super::symbol::Level;
use crate::base::clock::UnixNanos;
use maud::html;

/// Renders the answer to a path that leads nowhere; goes with status 404. `what` is in words:
/// "run 4bf9…" or "/nowhere".
#[must_use]
pub fn render_not_found(now: UnixNanos, version: &str, what: &str) -> String {
    let main = html! {
        h1 { "Not found" }
        p { "There is no " code { (what) } " here, or no longer: the last 100 runs and the last 20 failed runs of each probe are kept." }
        p .actions { a href="/" { "Home" } a href="/#probes" { "Probes" } a href="/#budgets" { "Budgets" } }
    };
    Shell::new("Not found", Level::Unknown, now, version).wrap(&main)
}
