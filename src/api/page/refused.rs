//! What was asked for and is not done.

use super::links;
use super::shell::Shell;
use super::symbol::Level;
use crate::base::clock::UnixNanos;
use maud::html;

/// Renders why a probe that was to run now does not; goes with the status of the reason.
#[must_use]
pub fn render_refused(now: UnixNanos, version: &str, probe: &str, why: &str) -> String {
    let main = html! {
        h1 { "Not run" }
        p { code { (probe) } " was not run now: " (why) "." }
        p .actions { a href=(links::probe(probe)) { "The probe" } a href="/#probes" { "Probes" } }
    };
    Shell::new("Not run", Level::Unknown, now, version).wrap(&main)
}
