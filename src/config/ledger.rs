//! The `ledger:` of a step: books on the numbered messages of a stream.
//!
//! ```yaml
//! - on: bob
//!   ledger:
//!     sequence: /n             # JSON pointer to the number
//!     publisher: /from         # each publisher has books of its own
//!     publishers: 2            # how many there are: then silence of one is missed
//!     messages: 100            # how many each sends, when that is known: then the end is judged too
//!     first: 1                 # their first number
//!     wraps_at: 65536          # after so many, numbers begin anew at 0
//!     for: 5s                  # listens no longer than this
//!     settle: 200ms            # listens on for so long after the last, for what comes twice
//!     max_lost: 0
//!     max_duplicates: 0
//!     max_reordered: 0
//! ```
//!
//! The step ends when all messages of all publishers are there, and `settle` is over. With `publisher`
//! but without `publishers` that cannot be known, so it listens for all of `for`.

use super::fields::Fields;
use super::steps::Steps;
use super::tree::Node;
use crate::probe::ledger::{LedgerStep, MAX_PUBLISHERS};
use std::time::Duration;

/// Whole numbers that JSON readers agree on.
const MAX_NUMBER: u64 = 1 << 53;
/// How long it listens for what comes twice, unless told.
const SETTLE: Duration = Duration::from_millis(200);

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
            let publishers = fields.integer("publishers", 1..=u64::from(MAX_PUBLISHERS));
            if publishers.is_some() && publisher.is_none() {
                let message = "nothing tells one publisher from another";
                let hint = "add publisher: with the JSON pointer to who numbered a message";
                self.cx.problems.wrong_hint(fields.at("publishers"), message, hint);
            }
            let settle = fields.duration("settle", Duration::ZERO..=longest).unwrap_or(SETTLE);
            let wraps_at = fields.integer("wraps_at", 2..=MAX_NUMBER);
            let first = fields.integer("first", 0..=MAX_NUMBER).unwrap_or(1);
            if let Some(wrap) = wraps_at.filter(|wrap| first >= *wrap) {
                let message = format!("the first number is not below wraps_at: {wrap}");
                self.cx.problems.wrong_hint(
                    fields.at("first"),
                    message,
                    "numbers begin at 0 again",
                );
            }
            let step = LedgerStep {
                publisher,
                publishers: publishers.and_then(|publishers| u32::try_from(publishers).ok()),
                messages: fields.integer("messages", 1..=MAX_NUMBER),
                first,
                wraps_at,
                settle,
                max_lost: most("max_lost", fields),
                max_duplicates: most("max_duplicates", fields),
                max_reordered: most("max_reordered", fields),
                sequence: sequence?,
                listen: listen?,
            };
            Some(step)
        })?
    }
}
