//! Mistakes in files, as compilers show them: what, where, the line itself, what to do.

use super::exit::INVALID;
use super::palette::{BAD, CONNECTING, STRONG, WARNING, paint};
use super::terminal::{count, say};
use crate::config::{Loaded, Problem};
use anstyle::Style;
use std::collections::BTreeSet;
use std::process::ExitCode;

/// Prints every problem and warning, and how many there are.
pub(super) fn report(loaded: &Loaded) -> ExitCode {
    say(&rendered(loaded));
    ExitCode::from(INVALID)
}

/// Prints warnings.
pub(super) fn warn(loaded: &Loaded) {
    for warning in &loaded.warnings {
        say(&shown(warning, "warning", WARNING));
    }
}

fn rendered(loaded: &Loaded) -> String {
    let warnings = loaded.warnings.iter().map(|problem| shown(problem, "warning", WARNING));
    let problems = loaded.problems.iter().map(|problem| shown(problem, "error", BAD));
    let mut text: String = warnings.chain(problems).collect();
    let files: BTreeSet<_> = loaded.problems.iter().map(|problem| &problem.file).collect();
    let also = match loaded.warnings.len() {
        0 => String::new(),
        number => format!(" and {}", count(number, "warning", "warnings")),
    };
    text.push_str(&format!(
        "{}: {}{also} in {}\n",
        paint(BAD, "error"),
        count(loaded.problems.len(), "problem", "problems"),
        count(files.len(), "file", "files"),
    ));
    text
}

/// One problem, with an empty line after it.
fn shown(problem: &Problem, word: &str, style: Style) -> String {
    let head = format!("{}: {}", paint(style, word), paint(STRONG, &problem.message));
    let arrow = paint(CONNECTING, "-->");
    let mut text = format!("{head}\n  {arrow} {}", problem.file.display());
    if problem.line > 0 {
        text.push_str(&format!(":{}:{}", problem.line, problem.column));
    }
    text.push('\n');
    let margin = problem.line.to_string().len();
    if let Some(snippet) = &problem.snippet {
        let bar = paint(CONNECTING, "|");
        text.push_str(&format!("  {:margin$} {bar}\n", ""));
        for line in snippet.lines() {
            // `  7 | every: 9`, and below it the caret.
            let (number, source) = line.split_once(" |").unwrap_or(("", line));
            let source =
                source.replacen('^', &paint(style, "^"), usize::from(number.trim().is_empty()));
            text.push_str(&format!("{} {bar}{source}\n", paint(CONNECTING, number)));
        }
    }
    if let Some(hint) = &problem.hint {
        let margin = if problem.snippet.is_some() { margin } else { 1 };
        text.push_str(&format!("  {:margin$} = {}: {hint}\n", "", paint(STRONG, "hint")));
    }
    text.push('\n');
    text
}
