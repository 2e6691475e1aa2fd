//! What is wrong in the files, where exactly, and what to do about it.
//!
//! Reading never stops at the first mistake: every module here reports into one [`Problems`] and
//! goes on, and [`Problems::finish`] hands out everything in the order of the text.

use super::files::Files;
use super::tree::Place;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::path::PathBuf;

/// More than these are counted, not kept: nobody reads them, and aliases can repeat one at will.
const MAX_KEPT: usize = 1_000;
/// A line of source longer than this is cut around the column.
const MAX_SNIPPET: usize = 100;

/// A mistake in a file, or something doubtful in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as it was named on the command line or found below a folder.
    pub file: PathBuf,
    /// Line from 1; 0 when the file as a whole is meant.
    pub line: u32,
    /// Column from 1, in characters; 0 when the file as a whole is meant.
    pub column: u32,
    /// What is wrong, lower case, without a full stop.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// The line of the source with a caret below the column.
    pub snippet: Option<String>,
}

/// Collects problems and warnings while files are read. Shared by reference.
#[derive(Debug, Default)]
pub(super) struct Problems {
    errors: List,
    warnings: List,
}

#[derive(Debug, Default)]
struct List {
    kept: RefCell<Vec<Finding>>,
    /// Findings beyond [`MAX_KEPT`].
    beyond: Cell<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    at: Place,
    message: String,
    hint: Option<String>,
}

// === impl Problem ===

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        if let Some(snippet) = &self.snippet {
            write!(f, "\n{snippet}")?;
        }
        Ok(())
    }
}

// === impl Problems ===

impl Problems {
    /// Reports a mistake.
    pub(super) fn wrong(&self, at: Place, message: impl Into<String>) {
        self.errors.add(Finding { at, message: message.into(), hint: None });
    }

    /// Reports a mistake and what to do about it.
    pub(super) fn wrong_hint(
        &self,
        at: Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let finding = Finding { at, message: message.into(), hint: Some(hint.into()) };
        self.errors.add(finding);
    }

    /// Reports something that is allowed but probably not meant.
    pub(super) fn warn(&self, at: Place, message: impl Into<String>, hint: impl Into<String>) {
        let finding = Finding { at, message: message.into(), hint: Some(hint.into()) };
        self.warnings.add(finding);
    }

    /// How many mistakes there are so far.
    pub(super) fn count(&self) -> usize {
        self.errors.kept.borrow().len()
    }

    /// Problems and warnings in the order of the text, each once.
    pub(super) fn finish(self, files: &Files) -> (Vec<Problem>, Vec<Problem>) {
        (self.errors.finish(files), self.warnings.finish(files))
    }
}

// === impl List ===

impl List {
    fn add(&self, finding: Finding) {
        let mut kept = self.kept.borrow_mut();
        if kept.len() < MAX_KEPT {
            kept.push(finding);
        } else {
            self.beyond.set(self.beyond.get().saturating_add(1));
        }
    }

    fn finish(self, files: &Files) -> Vec<Problem> {
        let mut findings = self.kept.into_inner();
        findings.sort();
        // An aliased mapping is read once for each alias and repeats its mistakes.
        findings.dedup();
        let mut problems: Vec<Problem> =
            findings.into_iter().map(|finding| finding.render(files)).collect();
        if let (1.., Some(last)) = (self.beyond.get(), problems.last_mut()) {
            last.message = format!("{} (and {} more)", last.message, self.beyond.get());
        }
        problems
    }
}

// === impl Finding ===

impl Finding {
    fn render(self, files: &Files) -> Problem {
        let Place { file, line, column } = self.at;
        let text = files.text(file).unwrap_or("");
        Problem {
            file: files.path(file),
            line,
            column,
            message: self.message,
            hint: self.hint,
            snippet: snippet(text, line, column),
        }
    }
}

/// The line with its number, and a caret under the column.
fn snippet(text: &str, line: u32, column: u32) -> Option<String> {
    let source = text.lines().nth((line as usize).checked_sub(1)?)?;
    let column = (column as usize).max(1);
    // Characters that move the cursor would put the caret elsewhere.
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    let start = if column > MAX_SNIPPET { column - MAX_SNIPPET / 2 } else { 0 };
    let shown: String = source.chars().skip(start).take(MAX_SNIPPET).map(visible).collect();
    if shown.trim().is_empty() {
        return None;
    }
    let number = line.to_string();
    let margin = " ".repeat(number.len());
    let indent = " ".repeat((column - 1).saturating_sub(start));
    Some(format!("  {number} | {}\n  {margin} | {indent}^", shown.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that the caret stands under the column, also in a line too long to show.
    #[test]
    fn the_caret_points_at_the_column() {
        assert_eq!(snippet("a\nkey: x\n", 2, 6).unwrap(), "  2 | key: x\n    |      ^");
        let long = format!("{}X{}", "a".repeat(300), "b".repeat(300));
        let cut = snippet(&long, 1, 301).unwrap();
        let lines: Vec<&str> = cut.lines().collect();
        let caret = lines[1].find('^').unwrap();
        assert_eq!(lines[0].as_bytes()[caret], b'X', "{cut}");
        assert_eq!(snippet("", 3, 1), None);
    }
}
