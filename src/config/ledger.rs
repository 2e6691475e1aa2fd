//! The `ledger:` of a step: books on the numbered messages of a stream.
//!
//! ```yaml
//! - on: bob
//!   ledger:
//!     sequence: /n             # JSON pointer to the number
//!     publisher: /from         # each publisher has books of its own
//!     messages: 100            # how many each sends, when that is known: then the end is judged too
//!     first: 1                 # their first number
//!     wraps_at: 65536          # after so many, numbers begin anew at 0
//!     for: 5s                  # listens no longer than this
//!     max_lost: 0
//!     max_duplicates: 0
//!     max_reordered: 0
//! ```

use super::fields::Fields;
use super::scalar::quoted;
use super::steps::{Steps, is_pointer};
use super::tree::Node;
use crate::probe::ledger::LedgerStep;
use std::time::Duration;

/// Whole numbers that JSON readers agree on.
const MAX_NUMBER: u64 = 1 << 53;

impl Steps<'_> {
    /// The block.
    pub(super) fn ledger(&self, node: &Node) -> Option<LedgerStep> {
        self.cx.fields(node, "a ledger", |fields| {
            let _ = fields.need("sequence", "/n");
            let sequence = self.pointer(fields, "sequence");
            let publisher = self.pointer(fields, "publisher");
            let _ = fields.need("for", "5s");
            let longest = self.timeout.unwrap_or(Duration::from_secs(600));
            let listen = fields.duration("for", Duration::from_millis(1)..=longest);
            let most =
                |key, fields: &mut Fields<'_>| fields.integer(key, 0..=MAX_NUMBER).unwrap_or(0);
            let step = LedgerStep {
                publisher,
                messages: fields.integer("messages", 1..=MAX_NUMBER),
                first: fields.integer("first", 0..=MAX_NUMBER).unwrap_or(1),
                wraps_at: fields.integer("wraps_at", 2..=MAX_NUMBER),
                max_lost: most("max_lost", fields),
                max_duplicates: most("max_duplicates", fields),
                max_reordered: most("max_reordered", fields),
                sequence: sequence?,
                listen: listen?,
            };
            Some(step)
        })?
    }

    pub(super) fn pointer(&self, fields: &mut Fields<'_>, key: &'static str) -> Option<String> {
        let node = fields.get(key)?;
        let text = self.cx.text(node, key)?;
        if is_pointer(text) {
            return Some(text.to_owned());
        }
        let message = format!("`{}` is not a JSON pointer", quoted(text));
        self.cx.problems.wrong_hint(node.at, message, "for example /id or /messages/0/id");
        None
    }
}
