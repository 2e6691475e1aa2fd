//! The `stun:` block of a probe.
//!
//! ```yaml
//! stun: { address: "stun.example.com:3478" }
//! ```

use super::steps::Steps;
use super::tree::Node;
use crate::probe::spec::StunStep;

const EXAMPLE: &str = "stun.example.com:3478";

impl Steps<'_> {
    /// The block.
    pub(super) fn stun(&self, node: &Node) -> Option<StunStep> {
        self.cx.fields(node, "a stun block", |fields| {
            let address = fields.need("address", EXAMPLE);
            let url = address.and_then(|node| self.endpoint(node, "stun", EXAMPLE));
            Some(StunStep { url: url? })
        })?
    }
}
