//! The rules of the tree that no compiler knows: which module may know which, how large things
//! grow, where time, files, threads and the terminal may be touched, and what is written down.
//!
//! Each test is one rule over all sources, and fails with file, line and what to do. That a rule
//! can fail at all is tested beside it, on a text that breaks it.

#[path = "tidy/attributes.rs"]
mod attributes;
#[path = "tidy/bans.rs"]
mod bans;
#[path = "tidy/floors.rs"]
mod floors;
#[path = "tidy/lexemes.rs"]
mod lexemes;
#[path = "tidy/names.rs"]
mod names;
#[path = "tidy/paths.rs"]
mod paths;
#[path = "tidy/repository.rs"]
mod repository;
#[path = "tidy/sizes.rs"]
mod sizes;
#[path = "tidy/source.rs"]
mod source;

use std::fmt;

/// Something that a rule does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Violation {
    file: String,
    line: usize,
    /// What is wrong and what to do.
    what: String,
}

impl Violation {
    fn new(file: &str, line: usize, what: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// Fails with every violation, one a line.
#[track_caller]
fn assert_none(mut violations: Vec<Violation>) {
    violations.sort_by(|a, b| (&a.file, a.line, &a.what).cmp(&(&b.file, b.line, &b.what)));
    violations.dedup();
    let lines: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{} in all\n{}\n", lines.len(), lines.join("\n"));
}

/// Fails unless the rule finds something in the text `bad`, at its last line, and nothing in `good`.
#[track_caller]
fn assert_finds(
    rule: impl Fn(&source::Source) -> Vec<Violation>,
    path: &str,
    bad: &str,
    good: &str,
) {
    let found = rule(&source::Source::parse(path, bad));
    let last = bad.lines().count();
    assert!(found.iter().any(|violation| violation.line == last), "{bad}\n{found:?}");
    assert_eq!(rule(&source::Source::parse(path, good)), [], "{good}");
}
