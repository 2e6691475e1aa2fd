//! Emulated networks: a probe may run as if its packets came over LTE, EDGE, or through a tunnel.
//!
//! A [`Network`] is a [`profile`] with overlays and perhaps a seed. [`RunNetwork`] is that of one run,
//! and hands a [`Path`] to every connection that is dialled. [`Shaped`] and [`ShapedUdp`] put it
//! between a socket and the stamps, so that a probe measures through it; below them a `lane` a
//! direction delays what passes, as `link` and `weather`, which know no I/O, reckon. `tally` counts
//! what was really delivered, for the step's attributes.
//!
//! It works in user space within the process: without privileges, and for this probe alone. It
//! terminates no TCP of its own, so the kernel and the server see a clean path: loss is the delay
//! that sending again would have cost, see `link` for what is left out. Names are resolved outside of
//! it. The runtime's timers are up to a millisecond off, either way (`lane`).

mod dice;
mod lane;
mod link;
pub mod profile;
mod run;
mod shaped;
mod tally;
#[cfg(test)]
mod tests;
mod udp;
mod weather;

pub use run::{Path, RunNetwork};
pub use shaped::Shaped;
pub use tally::Delivered;
pub use udp::ShapedUdp;

use profile::{OVERLAYS, Overlay, PROFILES, Profile};
use std::fmt;

/// The network through which a probe runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// What it delivers at rest.
    pub profile: Profile,
    /// What makes it worse, each at most once.
    pub overlays: Vec<Overlay>,
    /// From which all chance follows. Unless given, each run has another, see
    /// [`RunNetwork::new`].
    pub seed: Option<u64>,
}

/// There is no network of that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// No profile has that name.
    #[error("there is no network `{0}`")]
    Profile(String),
    /// No overlay has that name.
    #[error("nothing called `{0}` can be laid over a network")]
    Overlay(String),
    /// An overlay is named twice.
    #[error("`{0}` is laid over the network twice")]
    Twice(String),
}

// === impl Network ===

impl Network {
    /// A network by its name, `lte` or `lte+handover+bufferbloat`; `own` are profiles besides the
    /// built-in ones.
    ///
    /// # Errors
    /// When a part of the name is unknown, or an overlay is named twice.
    pub fn named<'a>(
        name: &str,
        own: impl IntoIterator<Item = &'a Profile>,
    ) -> Result<Self, NetworkError> {
        let mut parts = name.split('+').map(str::trim);
        let wanted = parts.next().unwrap_or_default();
        let built_in = PROFILES.iter().find(|profile| profile.name == wanted).cloned();
        let profile = built_in.or_else(|| own.into_iter().find(|own| own.name == wanted).cloned());
        let profile = profile.ok_or_else(|| NetworkError::Profile(wanted.to_owned()))?;
        let mut network = Self { profile, overlays: Vec::new(), seed: None };
        parts.try_for_each(|overlay| network.lay_over(overlay))?;
        Ok(network)
    }

    /// Lays an overlay over it.
    ///
    /// # Errors
    /// When its name is unknown, or it is there already.
    pub fn lay_over(&mut self, name: &str) -> Result<(), NetworkError> {
        let found = OVERLAYS.iter().find(|overlay| overlay.name == name);
        let overlay = *found.ok_or_else(|| NetworkError::Overlay(name.to_owned()))?;
        if self.overlays.contains(&overlay) {
            return Err(NetworkError::Twice(name.to_owned()));
        }
        self.overlays.push(overlay);
        Ok(())
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.profile.name)?;
        self.overlays.iter().try_for_each(|overlay| write!(f, "+{}", overlay.name))
    }
}
