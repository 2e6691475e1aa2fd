//! Colours and signs, each with one meaning wherever it appears.
//!
//! Styles are written into texts as ANSI escapes; the stream at the end decides whether they are
//! shown ([`super::terminal`]). Beside every colour stands a sign or a word.

use anstyle::{AnsiColor, Style};
use comfy_table::{Attribute, Cell, Color};

/// As it should be.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// Failed, or users suffer.
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
/// To be looked at.
pub(super) const WARNING: Style = AnsiColor::Yellow.on_default();
/// Less important than what stands around it.
pub(super) const DIM: Style = Style::new().dimmed();
/// More important than what stands around it.
pub(super) const STRONG: Style = Style::new().bold();
/// Time in which a connection is made.
pub(super) const CONNECTING: Style = AnsiColor::Blue.on_default();
/// Time in which the target has the word.
pub(super) const WAITING: Style = AnsiColor::Cyan.on_default();
/// Time in which bytes travel.
pub(super) const MOVING: Style = AnsiColor::Magenta.on_default();

/// How something stands: a sign, and the colour that goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// As it should be.
    Good,
    /// To be looked at.
    Warning,
    /// Failed, or users suffer.
    Bad,
    /// Not known.
    Unknown,
}

// === impl Mark ===

impl Mark {
    /// The sign.
    pub(super) const fn sign(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Warning => "!",
            Self::Bad => "✗",
            Self::Unknown => "–",
        }
    }

    /// The colour.
    pub(super) const fn style(self) -> Style {
        match self {
            Self::Good => GOOD,
            Self::Warning => WARNING,
            Self::Bad => BAD,
            Self::Unknown => DIM,
        }
    }

    /// A cell of a table that begins with the sign and has the colour.
    pub(super) fn cell(self, text: &str) -> Cell {
        let cell = Cell::new(format!("{} {text}", self.sign()));
        match self {
            Self::Good => cell.fg(Color::DarkGreen),
            Self::Warning => cell.fg(Color::DarkYellow),
            Self::Bad => cell.fg(Color::DarkRed).add_attribute(Attribute::Bold),
            Self::Unknown => cell.add_attribute(Attribute::Dim),
        }
    }
}

/// The text in that style.
pub(super) fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}
