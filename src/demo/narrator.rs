//! Tells the person at the terminal what happens in the demo world, a line each.
//!
//! Lines carry colours as ANSI escapes; the writer decides whether they are shown
//! (`anstream::stdout` strips them where nobody sees them). No meaning rests on colour alone.

use crate::base::clock::{Clock, MonoNanos};
use anstyle::{AnsiColor, Style};
use parking_lot::Mutex;
use std::io::Write;
use std::sync::Arc;

/// Longer lines are cut; text from a webhook has no bound of its own.
const MAX_CHARS: usize = 400;

/// Writes lines with the time since the demo began. Clones share the writer.
#[derive(Clone)]
pub struct Narrator(Arc<Inner>);

struct Inner {
    clock: Clock,
    began: MonoNanos,
    writer: Mutex<Box<dyn Write + Send>>,
}

/// What kind of line it is: a word, and a colour for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Something to know.
    Note,
    /// Something breaks.
    Fault,
    /// It is whole again.
    Recovery,
    /// Radiosonde pages somebody.
    Page,
    /// Radiosonde writes a ticket.
    Ticket,
    /// Radiosonde takes an alert back.
    Resolved,
}

// === impl Narrator ===

impl Narrator {
    /// A narrator whose time begins now.
    #[must_use]
    pub fn new(writer: Box<dyn Write + Send>, clock: Clock) -> Self {
        let began = clock.monotonic();
        Self(Arc::new(Inner { clock, began, writer: Mutex::new(writer) }))
    }

    /// Writes one line. Control characters become spaces, so that no text from elsewhere can steer
    /// the terminal. A writer that fails is the reader's choice to leave: the demo goes on.
    pub fn say(&self, tone: Tone, text: &str) {
        let seconds = self.0.clock.monotonic().since(self.0.began).as_secs();
        let plain: String =
            text.chars().take(MAX_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect();
        let (style, dim) = (tone.style(), Style::new().dimmed());
        let line = format!(
            "{dim}t+{}:{:02}{dim:#}  {style}{:<9}{style:#} {plain}\n",
            seconds / 60,
            seconds % 60,
            tone.word(),
        );
        let mut writer = self.0.writer.lock();
        let _ = writer.write_all(line.as_bytes()).and_then(|()| writer.flush());
    }
}

// === impl Tone ===

impl Tone {
    /// The word in front of the line.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Note => "",
            Self::Fault => "fault",
            Self::Recovery => "over",
            Self::Page => "PAGE",
            Self::Ticket => "TICKET",
            Self::Resolved => "RESOLVED",
        }
    }

    fn style(self) -> Style {
        match self {
            Self::Note => Style::new(),
            Self::Fault => AnsiColor::Yellow.on_default(),
            Self::Recovery => AnsiColor::Cyan.on_default(),
            Self::Page => AnsiColor::Red.on_default().bold(),
            Self::Ticket => AnsiColor::Magenta.on_default().bold(),
            Self::Resolved => AnsiColor::Green.on_default().bold(),
        }
    }
}

/// A writer whose text tests can read.
#[cfg(test)]
#[derive(Clone, Default)]
pub(crate) struct Recorded(Arc<Mutex<Vec<u8>>>);

#[cfg(test)]
impl Recorded {
    /// What was written so far, without its colours.
    pub(crate) fn text(&self) -> String {
        let plain = anstream::adapter::strip_bytes(&self.0.lock()).into_vec();
        String::from_utf8_lossy(&plain).into_owned()
    }
}

#[cfg(test)]
impl Write for Recorded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::UnixNanos;
    use std::time::Duration;

    /// Guarantees the shape of a line: time since the start, word, text.
    #[test]
    fn a_line_has_time_word_and_text() {
        let clock = Clock::manual(UnixNanos::from_seconds(1));
        let recorded = Recorded::default();
        let narrator = Narrator::new(Box::new(recorded.clone()), clock.clone());
        clock.advance(Duration::from_secs(65));
        narrator.say(Tone::Page, "send-message burns");
        narrator.say(Tone::Note, "page: http://127.0.0.1:7663/");
        assert_eq!(
            recorded.text(),
            "t+1:05  PAGE      send-message burns\n\
             t+1:05            page: http://127.0.0.1:7663/\n"
        );
    }

    /// Guarantees that text from a webhook neither steers the terminal nor fills it.
    #[test]
    fn foreign_text_is_tamed() {
        let recorded = Recorded::default();
        let narrator = Narrator::new(Box::new(recorded.clone()), Clock::system());
        narrator.say(Tone::Note, &format!("a\u{1b}[2Jb\nc{}", "x".repeat(10_000)));
        let raw = recorded.text();
        assert!(raw.contains("a [2Jb c"), "{raw}");
        assert_eq!(raw.lines().count(), 1);
        assert!(raw.len() < MAX_CHARS + 40);
    }
}
