//! The allow-list of writes, `writes: { allow: [ chat.example.com ] }`, and writes that it does not
//! cover. What an entry means is decided in [`crate::probe::writes`], which the engine asks as well.

use super::fields::Context;
use super::scalar::quoted;
use super::tree::{Node, Place};
use crate::probe::writes::{WriteTarget, may_publish, may_write};
use url::Url;

impl Context<'_> {
    /// An entry of the allow-list.
    pub(super) fn write_target(&self, node: &Node) -> Option<WriteTarget> {
        let text = self.text(node, "allow")?;
        let target = WriteTarget::parse(text);
        if target.is_none() {
            let message = format!("`{}` is not a target", quoted(text));
            let hint = "write host, host:port or host/path, for example *.example.com/rooms/probe";
            self.problems.wrong_hint(node.at, message, hint);
        }
        target
    }

    /// Reports a write to a target that is neither here nor on the list.
    pub(super) fn check_write(&self, at: Place, url: &Url, allowed: &[WriteTarget]) {
        if !may_write(url, allowed) {
            self.refuse_write(at, url.host_str().unwrap_or_default());
        }
    }

    /// The same for what is published to a topic of a broker.
    pub(super) fn check_publish(&self, at: Place, url: &Url, topic: &str, allowed: &[WriteTarget]) {
        if !may_publish(url, topic, allowed) {
            self.refuse_write(at, &format!("{}/{topic}", url.host_str().unwrap_or_default()));
        }
    }

    fn refuse_write(&self, at: Place, place: &str) {
        self.problems.wrong_hint(
            at,
            format!("this probe writes to {}, which is not allowed", quoted(place)),
            format!("if it may, say so in radiosonde.yaml: writes: {{ allow: [ {place} ] }}"),
        );
    }
}
