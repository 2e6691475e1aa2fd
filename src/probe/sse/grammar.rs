//! The grammar of event streams, as the HTML standard has it (9.2.6): bytes in, events out, however
//! the bytes are cut.
//!
//! What is not UTF-8 is replaced; an unknown field has no effect; a block without data is no event; one
//! that the end of the stream cuts off never was. No more than one event of the longest size is kept.

use std::time::Duration;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// What a stream says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// An event.
    Event {
        /// Its type; `message` when it names none.
        kind: String,
        /// Its lines of data.
        data: String,
    },
    /// A line that is a comment.
    Comment,
    /// What a client should heed when it comes back.
    Resume {
        /// The id to show; an empty one stands for none.
        id: Option<String>,
        /// How long to stay away.
        retry: Option<Duration>,
    },
}

/// An event is longer than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// Reads a stream from its beginning.
#[derive(Debug)]
pub(super) struct Parser {
    /// The line in the making, without its end. Of a comment only the colon is kept.
    line: Vec<u8>,
    /// The line before ended with a carriage return, so that a line feed now belongs to it.
    after_return: bool,
    /// Whether a byte order mark may still come.
    is_first_line: bool,
    kind: String,
    data: String,
    has_data: bool,
    id: Option<String>,
    limit: usize,
}

impl Parser {
    /// A parser that keeps no more than `limit` bytes of an event.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            line: Vec::new(),
            after_return: false,
            is_first_line: true,
            kind: String::new(),
            data: String::new(),
            has_data: false,
            id: None,
            limit,
        }
    }

    /// Reads on; hands what it says to `hear`.
    ///
    /// # Errors
    /// When an event is longer than the limit; what was said before it has been heard.
    pub(super) fn feed(
        &mut self,
        mut chunk: &[u8],
        mut hear: impl FnMut(Said),
    ) -> Result<(), TooLong> {
        while let [first, rest @ ..] = chunk {
            if std::mem::take(&mut self.after_return) && *first == b'\n' {
                chunk = rest;
                continue;
            }
            let end = chunk.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let Some(end) = end else { return self.keep(chunk) };
            let (part, rest) = chunk.split_at(end);
            self.keep(part)?;
            let mut line = std::mem::take(&mut self.line);
            self.end_line(&line, &mut hear);
            line.clear();
            // Only its room is used again.
            self.line = line;
            self.after_return = rest.first() == Some(&b'\r');
            chunk = rest.get(1..).unwrap_or_default();
        }
        Ok(())
    }

    /// Adds to the line in the making.
    fn keep(&mut self, part: &[u8]) -> Result<(), TooLong> {
        let is_comment = self.line.first() == Some(&b':');
        let part = match part {
            [] => return Ok(()),
            _ if is_comment => return Ok(()),
            [b':', ..] if self.line.is_empty() => b":",
            _ => part,
        };
        let id = self.id.as_ref().map_or(0, String::len);
        let kept = self.line.len() + self.data.len() + self.kind.len() + id;
        if kept + part.len() > self.limit {
            return Err(TooLong);
        }
        self.line.extend_from_slice(part);
        Ok(())
    }

    fn end_line(&mut self, line: &[u8], hear: &mut impl FnMut(Said)) {
        let line = match std::mem::take(&mut self.is_first_line) {
            true => line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line),
            false => line,
        };
        if line.is_empty() {
            return self.end_block(hear);
        }
        if line.starts_with(b":") {
            return hear(Said::Comment);
        }
        let (name, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => {
                let (name, value) = line.split_at(colon);
                let value = value.get(1..).unwrap_or_default();
                (name, value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &[][..]),
        };
        let text = || String::from_utf8_lossy(value);
        match name {
            b"event" => self.kind = text().into_owned(),
            b"data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push('\n');
                }
                self.data.push_str(&text());
            }
            b"id" if !value.contains(&0) => self.id = Some(text().into_owned()),
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                // A number that does not fit is longer than anybody waits.
                let retry = Duration::from_millis(text().parse().unwrap_or(u64::MAX));
                hear(Said::Resume { id: None, retry: Some(retry) });
            }
            _ => {}
        }
    }

    fn end_block(&mut self, hear: &mut impl FnMut(Said)) {
        if let Some(id) = self.id.take() {
            hear(Said::Resume { id: Some(id), retry: None });
        }
        let kind = std::mem::take(&mut self.kind);
        let data = std::mem::take(&mut self.data);
        if std::mem::take(&mut self.has_data) {
            let kind = if kind.is_empty() { "message".to_owned() } else { kind };
            hear(Said::Event { kind, data });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: usize = 1 << 10;

    fn read(chunks: &[&[u8]]) -> Vec<Said> {
        let (mut parser, mut said) = (Parser::new(LIMIT), Vec::new());
        for chunk in chunks {
            parser.feed(chunk, |what| said.push(what)).expect("short enough");
        }
        said
    }

    fn event(kind: &str, data: &str) -> Said {
        Said::Event { kind: kind.to_owned(), data: data.to_owned() }
    }

    fn id(id: &str) -> Said {
        Said::Resume { id: Some(id.to_owned()), retry: None }
    }

    fn retry(ms: u64) -> Said {
        Said::Resume { id: None, retry: Some(Duration::from_millis(ms)) }
    }

    /// Guarantees the grammar of the standard, rule by rule.
    #[test]
    fn the_grammar_of_the_standard() {
        let check = |bytes: &[u8], expected: &[Said]| {
            assert_eq!(read(&[bytes]), expected, "{}", String::from_utf8_lossy(bytes));
        };
        let message = |data: &str| event("message", data);
        // The standard's own examples.
        check(b"data: YHOO\ndata: +2\ndata: 10\n\n", &[message("YHOO\n+2\n10")]);
        check(
            b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third\n\n",
            &[
                Said::Comment,
                id("1"),
                message("first event"),
                id(""),
                message("second event"),
                message(" third"),
            ],
        );
        check(b"data\n\ndata\ndata\n\ndata:", &[message(""), message("\n")]);
        check(b"data:test\n\ndata: test\n\n", &[message("test"), message("test")]);
        // Line ends.
        check(b"data: a\r\rdata: b\r\n\r\ndata: c\n\n", &["a", "b", "c"].map(message));
        check(b"data: a\r\n\rdata: b\n\r\n", &["a", "b"].map(message));
        check(b"data: a\n\r", &[message("a")]);
        // The byte order mark: one, at the beginning.
        check(b"\xEF\xBB\xBFdata: a\n\n\xEF\xBB\xBFdata: b\n\n", &[message("a")]);
        check(b"\xEF\xBB\xBF\xEF\xBB\xBFdata: a\n\n", &[]);
        check(b"\xEF\xBB\xBF: a\n", &[Said::Comment]);
        // Types.
        check(b"event: tick\ndata: 1\n\ndata: 2\n\n", &[event("tick", "1"), message("2")]);
        check(b"event: a\nevent\ndata: 1\n\n", &[message("1")]);
        check(b"event: a\n\ndata: 1\n\n", &[message("1")]);
        // Ids.
        check(b"id: a\0b\ndata: 1\n\n", &[message("1")]);
        check(b"id: 1\n\n", &[id("1")]);
        check(b"id: 1\nid: 2\n\n", &[id("2")]);
        check(b"id: 1\ndata: cut off", &[]);
        // Times.
        check(b"retry: 2500\n", &[retry(2_500)]);
        check(b"retry: 1e3\nretry: -1\nretry: +1\nretry: 1.5\nretry\nretry:  1\n", &[]);
        check(b"retry: 99999999999999999999\n", &[retry(u64::MAX)]);
        // What has no effect.
        check(b"Data: a\n data: b\ndat: c\ndata : d\nsomething\n\n", &[]);
        check(b"\n\n\r\n\n", &[]);
        check(b":\n:\r:\r\n", &[Said::Comment, Said::Comment, Said::Comment]);
        // What is not UTF-8.
        check(b"data: a\xFFb\xE2\x82\n\n", &[message("a\u{FFFD}b\u{FFFD}")]);
        check(b"event: \xC3\ndata: \xC3\xA9\n\n", &[event("\u{FFFD}", "é")]);
    }

    /// Guarantees that memory is bounded whatever is long, and that comments need none.
    #[test]
    fn an_event_is_bounded() {
        let long = [b'x'; LIMIT];
        let check = |chunks: &[&[u8]], is_bounded: bool| {
            let mut parser = Parser::new(LIMIT);
            let fed = chunks.iter().try_for_each(|chunk| parser.feed(chunk, drop));
            assert_eq!(fed.is_err(), is_bounded, "{chunks:?}");
        };
        check(&[b"data: ", &long], true);
        check(&[b"data: x\n", b"data:", &long[..LIMIT - 5]], true);
        check(&[&long, b"\n"], false);
        check(&[&long, &long], true);
        check(&[b"id:", &long[..LIMIT / 2], b"\nevent:", &long[..LIMIT / 2]], true);
        check(&[b": ", &long, &long, b"\n: ", &long], false);
        let data = ["data: ", &"x".repeat(LIMIT / 2), "\n\n"].concat();
        check(&[data.as_bytes(); 10], false);
    }

    proptest! {
        /// Guarantees that it does not matter how a stream is cut, whatever it says.
        #[test]
        fn chunks_do_not_matter(
            pieces in prop::collection::vec(
                prop::sample::select(vec![
                    &b"data"[..], b":", b" ", b"\n", b"\r", b"\r\n", b"event: a", b"id: 7", b"\0",
                    b"retry: 10", b"\xEF\xBB\xBF", b"\xC3\xA9", b"\xFF", b": note", b"x",
                ]),
                0..40,
            ),
            cuts in prop::collection::vec(1_usize..8, 1..40),
        ) {
            let bytes = pieces.concat();
            let (mut rest, mut chunks) = (&bytes[..], Vec::new());
            for cut in cuts.iter().cycle() {
                let (chunk, after) = rest.split_at(rest.len().min(*cut));
                chunks.push(chunk);
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(read(&chunks), read(&[&bytes]));
        }

        /// Guarantees that any bytes are read without a panic and within the bound.
        #[test]
        fn any_bytes_are_read(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 0..8)) {
            let mut parser = Parser::new(LIMIT);
            for chunk in &chunks {
                let fed = parser.feed(chunk, drop);
                prop_assert!(parser.line.len() + parser.data.len() <= 3 * LIMIT);
                if fed.is_err() {
                    break;
                }
            }
        }
    }
}
