//! `${…}` and `$$` in texts.
//!
//! `${env.X}` is filled in here, once, and makes a secret of the text around it. In texts that a
//! probe sends or expects everything else (`${run.id}`, captured values, `$$`) is left for each
//! run, after a check that the names exist; elsewhere `$$` becomes a dollar and nothing else is
//! allowed.

use super::fields::Context;
use super::names::{is_variable, nearest};
use super::scalar::quoted;
use super::tree::{Node, Place};
use crate::base::secret::Secret;
use std::collections::BTreeMap;

/// A text with its secrets filled in.
#[derive(Debug)]
pub(super) struct Filled {
    /// The text.
    pub(super) text: String,
    /// Whether a secret is in it.
    pub(super) is_secret: bool,
}

/// What a probe's texts may refer to at a point of its steps.
#[derive(Debug, Default)]
pub(super) struct Scope {
    /// Captured values by name, and the step that captures each.
    pub(super) captured: BTreeMap<String, String>,
    /// Whether it is the request of a poll, which knows its cursor.
    pub(super) is_poll: bool,
    /// Whether the probe has instances for targets.
    pub(super) has_target: bool,
}

/// Whether secrets may stand in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Secrets {
    /// What is sent, and never shown.
    Allowed,
    /// What is shown: URLs, expectations.
    Refused,
}

/// Names that every run has.
const RUN_NAMES: [&str; 6] =
    ["resume.event_id", "resume.last", "run.id", "run.receiver", "run.sequence", "run.start"];
/// The name that requests of a poll have besides.
const CURSOR: &str = "poll.cursor";
/// The name that probes with targets have besides.
const TARGET: &str = "target";

#[derive(Debug, PartialEq, Eq)]
enum Piece<'t> {
    Text(&'t str),
    /// `$$`
    Dollar,
    /// `${…}`
    Name(&'t str),
}

/// Cuts a text into its pieces; `None` when a `${` is not closed. A dollar on its own is a dollar.
fn pieces(text: &str) -> Option<Vec<Piece<'_>>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("$$").into_iter().chain(rest.find("${")).min() {
        let (before, from) = rest.split_at(at);
        if !before.is_empty() {
            pieces.push(Piece::Text(before));
        }
        if let Some(after) = from.strip_prefix("$$") {
            pieces.push(Piece::Dollar);
            rest = after;
        } else {
            let (name, after) = from.strip_prefix("${")?.split_once('}')?;
            pieces.push(Piece::Name(name.trim()));
            rest = after;
        }
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Some(pieces)
}

/// The text with something harmless in the place of every name, to see whether it would parse.
pub(super) fn specimen(text: &str) -> String {
    let piece = |piece| match piece {
        Piece::Text(text) => text,
        Piece::Dollar => "$",
        // Digits may stand in a host, a port and a path.
        Piece::Name(_) => "1",
    };
    pieces(text).unwrap_or_default().into_iter().map(piece).collect()
}

/// Whether a text is what an instance is for, and nothing else.
pub(super) fn is_target(text: &str) -> bool {
    text == "${target}"
}

// === impl Context ===

impl Context<'_> {
    /// A text that is final once loaded: `${env.X}` and `$$` only.
    pub(super) fn secret(&self, node: &Node, key: &str) -> Option<Secret> {
        let text = self.raw_text(node, key)?;
        let mut filled = String::with_capacity(text.len());
        let mut is_complete = true;
        for piece in self.pieces(node.at, text)? {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Dollar => filled.push('$'),
                Piece::Name(name) => {
                    let value = self.outside_run(node.at, name);
                    is_complete &= value.is_some();
                    filled.push_str(&value.unwrap_or_default());
                }
            }
        }
        is_complete.then(|| Secret::new(filled))
    }

    /// The value of a name where only secrets are filled in.
    fn outside_run(&self, at: Place, name: &str) -> Option<String> {
        let Some(variable) = name.strip_prefix("env.") else {
            let message = format!("`${{{}}}` is unknown here", quoted(name));
            let hint = "only ${env.NAME} is filled in; a dollar is written $$";
            self.problems.wrong_hint(at, message, hint);
            return None;
        };
        self.variable(at, variable)
    }

    /// A text that each run of a probe completes. Names are checked against `scope`.
    pub(super) fn run_text(
        &self,
        at: Place,
        text: &str,
        scope: &Scope,
        secrets: Secrets,
    ) -> Option<Filled> {
        let mut filled = Filled { text: String::with_capacity(text.len()), is_secret: false };
        let mut is_complete = true;
        for piece in self.pieces(at, text)? {
            match piece {
                Piece::Text(text) => filled.text.push_str(text),
                Piece::Dollar => filled.text.push_str("$$"),
                Piece::Name(name) => match name.strip_prefix("env.") {
                    Some(variable) if secrets == Secrets::Allowed => {
                        let value = self.variable(at, variable);
                        is_complete &= value.is_some();
                        // The run must not take a dollar in a secret for one of ours.
                        filled.text.push_str(&value.unwrap_or_default().replace('$', "$$"));
                        filled.is_secret = true;
                    }
                    Some(_) => {
                        let message =
                            format!("the secret `${{{}}}` may not stand here", quoted(name));
                        let hint = "this text is shown; secrets go into headers and bodies";
                        self.problems.wrong_hint(at, message, hint);
                        is_complete = false;
                    }
                    None => match self.run_name(at, name, scope) {
                        Some(name) => filled.text.push_str(&format!("${{{name}}}")),
                        None => is_complete = false,
                    },
                },
            }
        }
        is_complete.then_some(filled)
    }

    /// The name by which a run knows `name`: captured values lose their step.
    fn run_name<'t>(&self, at: Place, name: &'t str, scope: &Scope) -> Option<&'t str> {
        if RUN_NAMES.contains(&name)
            || (name == CURSOR && scope.is_poll)
            || (name == TARGET && scope.has_target)
            || scope.captured.contains_key(name)
        {
            return Some(name);
        }
        if let Some((step, variable)) = name.split_once('.')
            && scope.captured.get(variable).is_some_and(|by| by == step)
        {
            return Some(variable);
        }
        if name == TARGET {
            let hint = "for example targets: [ static: [ \"chat.example.com:443\" ] ]";
            self.problems.wrong_hint(at, "`${target}` needs `targets` of the probe", hint);
            return None;
        }
        let captured = scope.captured.keys().map(String::as_str);
        let cursor = scope.is_poll.then_some(CURSOR);
        let target = scope.has_target.then_some(TARGET);
        let known = RUN_NAMES.into_iter().chain(cursor).chain(target);
        let known: Vec<&str> = known.chain(captured).collect();
        let hint = match nearest(name, known.iter().copied().chain(["env."])) {
            Some("env.") | None => format!(
                "there are: {}, and ${{env.NAME}} in what is sent; a dollar is written $$",
                known.join(", ")
            ),
            Some(near) => format!("did you mean `${{{near}}}`?"),
        };
        self.problems.wrong_hint(at, format!("`${{{}}}` is unknown here", quoted(name)), hint);
        None
    }

    fn variable(&self, at: Place, name: &str) -> Option<String> {
        if !is_variable(name) {
            let message = format!("`{}` is not the name of an environment variable", quoted(name));
            self.problems.wrong(at, message);
            return None;
        }
        let value = (self.env)(name).filter(|value| !value.is_empty());
        if value.is_none() {
            let message = format!("the environment variable {name} is not set");
            self.problems.wrong_hint(at, message, "set it where radiosonde is started");
        }
        value
    }

    fn pieces<'t>(&self, at: Place, text: &'t str) -> Option<Vec<Piece<'t>>> {
        let pieces = pieces(text);
        if pieces.is_none() {
            let hint = "close it with `}`; a dollar before a brace is written $${";
            self.problems.wrong_hint(at, "`${` without its `}`", hint);
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees what counts as a name, as a dollar, and as neither.
    #[test]
    fn texts_are_cut_at_dollars() {
        assert_eq!(
            pieces("a${run.id}b$$c$d").unwrap(),
            [
                Piece::Text("a"),
                Piece::Name("run.id"),
                Piece::Text("b"),
                Piece::Dollar,
                Piece::Text("c$d"),
            ]
        );
        assert_eq!(pieces("$${x}").unwrap(), [Piece::Dollar, Piece::Text("{x}")]);
        assert_eq!(pieces("$"), Some(vec![Piece::Text("$")]));
        assert_eq!(pieces("${x"), None);
    }
}
