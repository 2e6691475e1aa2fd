//! The low form of a file: an untyped tree that mirrors the text, every node with its place.
//!
//! Scalars keep the text as written (`1.10` stays `1.10`); what it means is decided by whoever
//! asks for it. Made by `parse`, walked by `fields`.

use std::rc::Rc;

/// Where something stands in the text. Orders as the text does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    /// The number of the file in `Files`.
    pub(super) file: u32,
    /// Line from 1; 0 for the file as a whole.
    pub(super) line: u32,
    /// Column from 1, in characters.
    pub(super) column: u32,
}

/// A value and where it stands. Aliases share nodes, so the place is where it was written.
#[derive(Debug)]
pub(super) struct Node {
    /// Where it begins.
    pub(super) at: Place,
    /// What it is.
    pub(super) value: Value,
    /// Nodes in this subtree, aliases expanded; what a walk over it costs.
    pub(super) weight: usize,
    /// Levels in this subtree, aliases expanded; how deep a walk over it recurses.
    pub(super) depth: usize,
}

/// What a node is.
#[derive(Debug)]
pub(super) enum Value {
    /// A text. Only a plain one can be a number, a truth value or nothing.
    Scalar {
        /// After escapes and folding.
        text: String,
        /// Written without quotes or block indicators.
        plain: bool,
    },
    /// A list.
    List(Vec<Rc<Node>>),
    /// A mapping; each key once, in the order of the text.
    Map(Vec<Entry>),
}

/// A pair of a mapping.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The key's text.
    pub(super) key: String,
    /// Where the key stands.
    pub(super) at: Place,
    /// The value.
    pub(super) value: Rc<Node>,
}

// === impl Place ===

impl Place {
    /// The file as a whole.
    pub(super) fn of_file(file: u32) -> Self {
        Self { file, line: 0, column: 0 }
    }
}

// === impl Node ===

impl Node {
    /// A node over its children.
    pub(super) fn new(at: Place, value: Value) -> Self {
        let (weight, depth) = {
            let children: Box<dyn Iterator<Item = &Rc<Self>>> = match &value {
                Value::Scalar { .. } => Box::new(std::iter::empty()),
                Value::List(items) => Box::new(items.iter()),
                Value::Map(entries) => Box::new(entries.iter().map(|entry| &entry.value)),
            };
            children.fold((1_usize, 1_usize), |(weight, depth), child| {
                (weight.saturating_add(child.weight), depth.max(child.depth.saturating_add(1)))
            })
        };
        Self { at, value, weight, depth }
    }

    /// Nothing: an empty plain scalar.
    pub(super) fn nothing(at: Place) -> Self {
        Self::new(at, Value::Scalar { text: String::new(), plain: true })
    }

    /// Whether nothing was written here.
    pub(super) fn is_nothing(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// `a text`, `a list`, `a mapping` or `nothing`, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Scalar { text, .. } if self.is_nothing() || text.trim().is_empty() => "nothing",
            Value::Scalar { .. } => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}
