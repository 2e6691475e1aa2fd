//! The daemon's own page, rendered on the server.
//!
//! Pure functions from a view model ([`view`]) to HTML: no I/O, no locks, no clock. The wiring fills
//! the views from the stores and serves [`STYLE`] and [`SCRIPT`] beside them. Pages need no script
//! to be complete; with one they follow `/page/events` and change in place. Nothing is inline and
//! nothing comes from another host, so that this policy holds: [`CONTENT_SECURITY_POLICY`].

mod budgets;
mod changes;
mod empty;
mod facts;
mod firing;
mod format;
mod home;
mod incident_page;
mod labels;
mod links;
mod not_found;
mod parts;
mod phones;
mod probe_page;
mod probes;
mod refused;
mod run_messages;
mod run_page;
mod run_steps;
mod run_waterfall;
#[cfg(test)]
mod sample;
mod shell;
mod slo_page;
pub mod svg;
mod symbol;
#[cfg(test)]
mod tests;
mod trust;
mod verdict;
pub mod view;

pub use changes::render_changes;
pub use home::render_home;
pub use incident_page::render_incident;
pub(super) use labels::differing;
pub(super) use links::{probe as probe_path, run as run_path};
pub use not_found::render_not_found;
pub use probe_page::render_probe;
pub use refused::render_refused;
pub use run_page::render_run;
pub use slo_page::render_slo;
pub use symbol::Level;
pub use verdict::{Headline, headline};

/// The style sheet, served at `/page/style.css` as `text/css`.
pub const STYLE: &str = include_str!("style.css");

/// The script, served at `/page/script.js` as `text/javascript`. It opens an event stream on
/// `/page/events`; each event named `refresh` makes it fetch the page that it is on again.
pub const SCRIPT: &str = include_str!("script.js");

/// The policy under which the pages work, for the header of that name.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
