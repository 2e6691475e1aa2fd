//! Names and labels that users choose, and the right spelling of what they misspelt.

use super::fields::Context;
use super::scalar::quoted;
use super::tree::{Node, Value};
use crate::model::labels::Labels;

/// Probes, SLOs, receivers, steps and tokens have names at most this long.
const MAX_NAME: usize = 100;
/// Labels of one thing.
const MAX_LABELS: usize = 64;
/// Longest value of a label.
const MAX_LABEL_VALUE: usize = 256;
/// Longest text for which a neighbour is looked for.
const MAX_MISSPELT: usize = 64;

/// Labels that our own series and alerts carry, or Prometheus adds; users' labels would shadow
/// them. `owner` is free: it is only ever set from the configuration.
const RESERVED_LABELS: &[&str] = &[
    "alertname",
    "alertstate",
    "app",
    "instance",
    "job",
    "le",
    "outcome",
    "phase",
    "probe",
    "quantile",
    "severity",
    "signal",
    "slo",
    "target",
    "window",
];

/// The candidate that `word` was probably meant to be.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if word.is_empty() || word.len() > MAX_MISSPELT {
        return None;
    }
    let lower = word.to_lowercase();
    let allowed = 1 + word.len() / 5;
    candidates
        .into_iter()
        .map(|candidate| {
            (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate)
        })
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `did you mean …`, or all there are when none is near.
pub(super) fn suggestion<'a>(word: &str, candidates: &[&'a str], what: &str) -> String {
    match nearest(word, candidates.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if candidates.is_empty() => format!("there is no {what}"),
        None => {
            const MAX_LISTED: usize = 30;
            let listed: Vec<&'a str> = candidates.iter().copied().take(MAX_LISTED).collect();
            let more = if candidates.len() > MAX_LISTED { ", …" } else { "" };
            format!("the {what}s are: {}{more}", listed.join(", "))
        }
    }
}

/// Whether `text` may be a name: letters, digits, `.`, `_`, `-`.
pub(super) fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !text.is_empty() && text.len() <= MAX_NAME && text.chars().all(allowed)
}

/// Whether `text` may be a variable: letters, digits, `_`, not starting with a digit.
pub(super) fn is_variable(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.len() <= MAX_NAME
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(allowed)
}

impl Context<'_> {
    /// A name.
    pub(super) fn name(&self, node: &Node, key: &str) -> Option<String> {
        let text = self.text(node, key)?;
        if is_name(text) {
            return Some(text.to_owned());
        }
        let message = format!("`{}` is not a name", quoted(text));
        let hint = format!("use letters, digits and . _ - only, at most {MAX_NAME}");
        self.problems.wrong_hint(node.at, message, hint);
        None
    }

    /// A mapping of labels; wrong ones are reported and left out.
    pub(super) fn labels(&self, node: &Node, key: &str) -> Labels {
        let Value::Map(entries) = &node.value else {
            self.expected(node, key, "a mapping of names and values");
            return Labels::default();
        };
        if entries.len() > MAX_LABELS {
            self.problems.wrong(node.at, format!("more than {MAX_LABELS} labels"));
        }
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        for entry in entries.iter().take(MAX_LABELS) {
            let value = self.text(&entry.value, &entry.key);
            if let Some((message, hint)) = label_error(&entry.key) {
                self.problems.wrong_hint(entry.at, message, hint);
            } else if let Some(value) = value {
                if value.len() > MAX_LABEL_VALUE {
                    let message = format!("a label's value has at most {MAX_LABEL_VALUE} bytes");
                    self.problems.wrong(entry.value.at, message);
                } else {
                    pairs.push((&entry.key, value));
                }
            }
        }
        Labels::new(pairs)
    }
}

/// What is wrong with a label's name, and what to do.
pub(super) fn label_error(name: &str) -> Option<(String, &'static str)> {
    if !is_variable(name) || name.starts_with("__") {
        let hint = "use letters, digits and _, a letter first";
        return Some((format!("`{}` is not a label name", quoted(name)), hint));
    }
    let is_ours = RESERVED_LABELS.contains(&name);
    is_ours.then(|| (format!("the label `{name}` is one of our own"), "choose another name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that a slip of the finger finds its word and another word finds none.
    #[test]
    fn the_nearest_word_is_near() {
        let check = |word: &str, expected: Option<&str>| {
            assert_eq!(nearest(word, ["timeout", "tz", "every", "websocket"]), expected, "{word}");
        };
        check("timout", Some("timeout"));
        check("TimeOut", Some("timeout"));
        check("evrey", Some("every"));
        check("web_socket", Some("websocket"));
        check("labels", None);
        check("x", None);
        check("", None);
    }
}
