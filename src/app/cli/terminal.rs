//! Words to the terminal. Escapes are stripped where nobody would see colours: no terminal,
//! `NO_COLOR`, `--color never`.

use super::palette::{BAD, DIM, STRONG, paint};
use comfy_table::Table;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

/// No table or waterfall is narrower, whatever the terminal says.
const MIN_WIDTH: u16 = 40;
/// None is wider: eyes lose the line.
const MAX_WIDTH: u16 = 160;

/// Prints what was asked for to standard output.
pub(super) fn print(text: &str) -> ExitCode {
    // A reader that went away is no error of ours.
    drop(anstream::stdout().write_all(text.as_bytes()));
    ExitCode::SUCCESS
}

/// Prints an error to standard error; the exit code is that of `code`.
pub fn complain(words: &str, code: u8) -> ExitCode {
    say(&format!("{}: {words}\n", paint(BAD, "error")));
    ExitCode::from(code)
}

/// Prints what to do about an error to standard error.
pub(super) fn hint(words: &str) {
    say(&format!(" {}: {words}\n", paint(STRONG, "hint")));
}

/// Prints something to know to standard error.
pub(super) fn note(words: &str) {
    say(&format!("{}\n", paint(DIM, words)));
}

/// Prints to standard error as it is.
pub(super) fn say(text: &str) {
    drop(anstream::stderr().write_all(text.as_bytes()));
}

/// Whether a person looks at standard error, rather than a log.
pub(super) fn is_watched() -> bool {
    std::io::stderr().is_terminal()
}

/// Columns of the terminal behind standard output, or of `COLUMNS`; none where neither is there.
pub(super) fn width() -> Option<u16> {
    let environment = || std::env::var("COLUMNS").ok()?.parse().ok();
    let columns = Table::new().width().or_else(environment);
    columns.map(|columns| columns.clamp(MIN_WIDTH, MAX_WIDTH))
}

/// The text without colours, for files.
pub(super) fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

/// The text in lines of at most `width` characters where words allow, and without characters that
/// steer a terminal: it may come from elsewhere.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let visible: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut lines = vec![String::new()];
    for word in visible.split_whitespace() {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// The text cut to `width` characters, with an ellipsis where something is missing.
pub(super) fn cut(text: &str, width: usize) -> String {
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    if text.chars().count() <= width {
        return text.chars().map(visible).collect();
    }
    text.chars().take(width.saturating_sub(1)).map(visible).chain(['…']).collect()
}

/// `1 probe`, `2 probes`.
pub(super) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that lines break between words, that long words stay whole, and that no text from
    /// elsewhere steers the terminal.
    #[test]
    fn texts_wrap_and_steer_nothing() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("a averylongword b", 5), ["a", "averylongword", "b"]);
        assert_eq!(wrap("a\u{1b}[2Jb\n c", 80), ["a [2Jb c"]);
        assert_eq!(wrap("", 80), [""]);
        assert_eq!(cut("äbcdef", 4), "äbc…");
        assert_eq!(cut("äbcd", 4), "äbcd");
    }
}
