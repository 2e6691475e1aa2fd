//! Which probes are meant: by name, with `*` and `?`, and by label.

use crate::model::matcher::LabelMatcher;
use crate::probe::spec::ProbeSpec;
use regex::Regex;
use std::sync::Arc;

/// A name that is less alike is no suggestion.
const ALIKE: f64 = 0.7;
/// More names than these are not listed.
const MAX_LISTED: usize = 12;

/// Nothing is selected: why, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Nothing {
    pub words: String,
    pub hint: String,
}

/// The probes that one of the names means, of all when there is none, and that all labels hold for;
/// in the order of files.
///
/// # Errors
/// When a name means no probe, or nothing is left.
pub(super) fn select(
    probes: &[Arc<ProbeSpec>],
    names: &[String],
    labels: &[LabelMatcher],
) -> Result<Vec<Arc<ProbeSpec>>, Nothing> {
    if probes.is_empty() {
        return Err(Nothing {
            words: "no probe is configured".to_owned(),
            hint: "put one into probes/; `radiosonde check --example` shows how they look".into(),
        });
    }
    let patterns: Vec<Pattern> = names.iter().map(|name| Pattern::new(name)).collect();
    for (pattern, name) in patterns.iter().zip(names) {
        if !probes.iter().any(|probe| pattern.matches(&probe.name)) {
            return Err(unknown(probes, name));
        }
    }
    let is_meant = |probe: &ProbeSpec| {
        let named = patterns.is_empty() || patterns.iter().any(|p| p.matches(&probe.name));
        let own = probe.labels.with("probe", &probe.name);
        named && labels.iter().all(|matcher| matcher.matches(&own))
    };
    let meant: Vec<_> = probes.iter().filter(|probe| is_meant(probe)).cloned().collect();
    if meant.is_empty() {
        let wanted: Vec<String> = labels.iter().map(ToString::to_string).collect();
        return Err(Nothing {
            words: format!("no probe has the labels {}", wanted.join(", ")),
            hint: labels_there_are(probes),
        });
    }
    Ok(meant)
}

fn unknown(probes: &[Arc<ProbeSpec>], name: &str) -> Nothing {
    let words = format!("no probe is named `{name}`");
    let names = probes.iter().map(|probe| probe.name.as_str());
    let alike = names
        .clone()
        .map(|known| (strsim::jaro_winkler(known, name), known))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|one, other| one.0.total_cmp(&other.0));
    let hint = match alike {
        Some((_, known)) => format!("did you mean `{known}`?"),
        None => format!("there are {}", listed(names.collect())),
    };
    Nothing { words, hint }
}

fn labels_there_are(probes: &[Arc<ProbeSpec>]) -> String {
    let labels = probes.iter().flat_map(|probe| probe.labels.iter());
    let mut labels: Vec<String> = labels.map(|(name, value)| format!("{name}={value}")).collect();
    labels.sort();
    labels.dedup();
    match labels.len() {
        0 => "no probe has labels; give them some with labels: { NAME: VALUE }".to_owned(),
        _ => format!("there are {}", listed(labels.iter().map(String::as_str).collect())),
    }
}

fn listed(names: Vec<&str>) -> String {
    let beyond = names.len().saturating_sub(MAX_LISTED);
    let shown: Vec<&str> = names.into_iter().take(MAX_LISTED).collect();
    let more = if beyond > 0 { format!(" and {beyond} more") } else { String::new() };
    shown.join(", ") + &more
}

/// A name in which `*` and `?` stand for any text and any character.
enum Pattern {
    Name(String),
    Glob(Regex),
}

// === impl Pattern ===

impl Pattern {
    fn new(text: &str) -> Self {
        if !text.contains(['*', '?']) {
            return Self::Name(text.to_owned());
        }
        let escaped = regex::escape(text).replace(r"\*", ".*").replace(r"\?", ".");
        // Only a pattern of absurd length does not compile; no probe has such a name.
        Regex::new(&format!("^(?s:{escaped})$"))
            .map_or_else(|_| Self::Name(text.to_owned()), Self::Glob)
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Name(known) => known == name,
            Self::Glob(regex) => regex.is_match(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn probes() -> Vec<Arc<ProbeSpec>> {
        let text = "probes:
  - { name: chat-echo, every: 9s, labels: { owner: chat, region: eu }, http: { get: http://127.0.0.1/ } }
  - { name: chat-ping, every: 9s, labels: { owner: infra, region: eu }, http: { get: http://127.0.0.1/ } }
  - { name: feed, every: 9s, labels: { owner: chat }, http: { get: http://127.0.0.1/ } }";
        config::load_embedded(&[("p.yaml", text)], &|_| true).settings.expect("fine").probes
    }

    /// Guarantees names, globs and labels alone and together, each probe once and in order; and words
    /// that lead on where nothing is left.
    #[test]
    fn probes_are_found_by_name_and_label() {
        let check = |names: &[&str], labels: &[&str], expected: Result<&[&str], &str>| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let labels: Vec<_> =
                labels.iter().map(|text| LabelMatcher::parse(text).unwrap()).collect();
            match (select(&probes(), &names, &labels), expected) {
                (Ok(found), Ok(expected)) => {
                    let found: Vec<&str> = found.iter().map(|p| p.name.as_str()).collect();
                    assert_eq!(found, expected);
                }
                (Err(nothing), Err(expected)) => {
                    let said = format!("{}; {}", nothing.words, nothing.hint);
                    assert!(said.contains(expected), "{said}");
                }
                (got, _) => panic!("{names:?} {labels:?}: {got:?}"),
            }
        };
        check(&[], &[], Ok(&["chat-echo", "chat-ping", "feed"]));
        check(&["feed", "chat-*", "chat-echo"], &[], Ok(&["chat-echo", "chat-ping", "feed"]));
        check(&["?eed"], &[], Ok(&["feed"]));
        check(&[], &["owner=chat"], Ok(&["chat-echo", "feed"]));
        check(&["chat-*"], &["owner=~ch.*", "region=eu"], Ok(&["chat-echo"]));
        check(&[], &["probe!=feed"], Ok(&["chat-echo", "chat-ping"]));
        check(&["chat-eco"], &[], Err("named `chat-eco`; did you mean `chat-echo`?"));
        check(&["x"], &[], Err("there are chat-echo, chat-ping, feed"));
        check(&["chat.echo*"], &[], Err("no probe is named"));
        check(&[], &["owner=x"], Err("owner=\"x\"; there are owner=chat, owner=infra, region=eu"));
    }
}
