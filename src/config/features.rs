//! What a build may leave out, and what is said to who asks for it nevertheless.

use super::fields::Context;
use super::tree::Place;

/// A part of the binary that is there by a feature of the package.
#[derive(Clone, Copy, Debug)]
pub(super) struct Feature {
    /// Its name in `Cargo.toml`.
    name: &'static str,
    /// What it makes possible.
    what: &'static str,
    is_built: bool,
}

/// Probes over HTTP/3.
pub(super) const HTTP3: Feature =
    Feature { name: "http3", what: "HTTP/3", is_built: cfg!(feature = "http3") };

/// Probes of WebRTC data channels.
pub(super) const WEBRTC: Feature =
    Feature { name: "webrtc", what: "WebRTC", is_built: cfg!(feature = "webrtc") };

impl Context<'_> {
    /// Reports what this build cannot do.
    pub(super) fn need(&self, feature: Feature, at: Place) {
        if let Some((message, hint)) = feature.absence() {
            self.problems.wrong_hint(at, message, hint);
        }
    }
}

impl Feature {
    /// What to say when it is not there.
    fn absence(self) -> Option<(String, String)> {
        let Self { name, what, is_built } = self;
        let told =
            || (format!("this build has no {what}"), format!("build with --features {name}"));
        (!is_built).then(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that who asks for what was left out is told which build has it.
    #[test]
    fn what_is_not_built_is_told() {
        let absent = Feature { is_built: false, ..HTTP3 };
        let told = absent.absence().expect("not there");
        assert_eq!(told.0, "this build has no HTTP/3");
        assert_eq!(told.1, "build with --features http3");
        assert_eq!(Feature { is_built: true, ..HTTP3 }.absence(), None);
    }
}
