//! permessage-deflate (RFC 7692): what is offered and agreed on, and messages in and out.
//!
//! Whoever sends may forget its context at any time. That is how a smaller window is kept to: the
//! compressor begins anew before it could refer back further.

use super::super::failure::quote;
use bytes::Bytes;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// The name of the extension.
const NAME: &str = "permessage-deflate";
/// What every compressed message ends with, and what is left out of it (7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];
/// The greatest window, 32 KiB.
const MAX_WINDOW_BITS: u8 = 15;
/// An inflated message grows by at least so much.
const GROWTH: usize = 4 << 10;

/// What of permessage-deflate is offered to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Deflate {
    /// The server must compress each message by itself.
    pub server_no_context_takeover: bool,
    /// We compress each message by itself.
    pub client_no_context_takeover: bool,
    /// The server must not refer back further than 2 to the power of this.
    pub server_max_window_bits: Option<u8>,
    /// We do not refer back further than 2 to the power of this.
    pub client_max_window_bits: Option<u8>,
    /// Whether a server that declines is a failure.
    pub required: bool,
}

/// What both ends agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Agreed {
    server_keeps_context: bool,
    client_keeps_context: bool,
    client_window_bits: u8,
}

/// Compresses messages.
#[derive(Debug)]
pub(super) struct Deflater {
    compress: Compress,
    keeps_context: bool,
    /// Further back than this nothing refers; the greatest is the compressor's own.
    window: usize,
    /// What the compressor could refer back to.
    behind: usize,
}

/// Inflates messages.
#[derive(Debug)]
pub(super) struct Inflater {
    decompress: Decompress,
    keeps_context: bool,
}

/// Why a message was not inflated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotInflated {
    /// It is longer than it may be.
    TooLong,
    /// It is none.
    Broken,
}

// === impl Deflate ===

impl Deflate {
    /// The value of `sec-websocket-extensions`. That we can keep to a smaller window is always
    /// offered, since only then may a server ask for one.
    pub(super) fn offer(&self) -> String {
        let mut offer = match self.client_max_window_bits {
            Some(bits) => format!("{NAME}; client_max_window_bits={bits}"),
            None => format!("{NAME}; client_max_window_bits"),
        };
        if let Some(bits) = self.server_max_window_bits {
            offer.push_str(&format!("; server_max_window_bits={bits}"));
        }
        if self.server_no_context_takeover {
            offer.push_str("; server_no_context_takeover");
        }
        if self.client_no_context_takeover {
            offer.push_str("; client_no_context_takeover");
        }
        offer
    }
}

/// Reads the server's answer to what was offered: none when it declined.
///
/// # Errors
/// What is wrong with it, in words: a client must not go on then (RFC 6455, 4.1; RFC 7692, 5.1).
pub(super) fn agree(offered: Option<&Deflate>, answer: &str) -> Result<Option<Agreed>, String> {
    let mut extensions = answer.split(',').map(str::trim).filter(|text| !text.is_empty());
    let Some(extension) = extensions.next() else { return Ok(None) };
    let mut parameters = extension.split(';').map(str::trim);
    let name = parameters.next().unwrap_or_default();
    let Some(offered) = offered.filter(|_| name.eq_ignore_ascii_case(NAME)) else {
        return Err(format!("the extension `{}`, which was not offered", quote(name)));
    };
    if let Some(second) = extensions.next() {
        return Err(format!("a second extension, `{}`", quote(second)));
    }
    accept(offered, parameters)
        .map(Some)
        .map_err(|what| format!("{what} in `{}`", quote(extension)))
}

/// Judges the parameters of the server's answer.
fn accept<'a>(
    offered: &Deflate,
    parameters: impl Iterator<Item = &'a str>,
) -> Result<Agreed, String> {
    let (mut server_alone, mut client_alone) = (None, None);
    let (mut server_bits, mut client_bits) = (None, None);
    for parameter in parameters {
        let (name, value) = match parameter.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
            None => (parameter, None),
        };
        let before = match name {
            "server_no_context_takeover" => server_alone.replace(flag(value)?),
            "client_no_context_takeover" => client_alone.replace(flag(value)?),
            "server_max_window_bits" => server_bits.replace(window_bits(value)?).map(drop),
            "client_max_window_bits" => client_bits.replace(window_bits(value)?).map(drop),
            other => return Err(format!("the unknown parameter `{}`", quote(other))),
        };
        if before.is_some() {
            return Err(format!("a second `{name}`"));
        }
    }
    if offered.server_no_context_takeover && server_alone.is_none() {
        return Err("no `server_no_context_takeover`, which was asked for,".to_owned());
    }
    if let Some(most) = offered.server_max_window_bits
        && server_bits.is_none_or(|bits| bits > most)
    {
        return Err(format!("no `server_max_window_bits` of {most} or less"));
    }
    let own = offered.client_max_window_bits.unwrap_or(MAX_WINDOW_BITS);
    if client_bits.is_some_and(|bits| bits > own) {
        return Err(format!("a `client_max_window_bits` above the {own} that was offered"));
    }
    Ok(Agreed {
        server_keeps_context: server_alone.is_none(),
        client_keeps_context: client_alone.is_none() && !offered.client_no_context_takeover,
        client_window_bits: client_bits.unwrap_or(own),
    })
}

fn flag(value: Option<&str>) -> Result<(), String> {
    value.map_or(Ok(()), |_| Err("a value where none may be".to_owned()))
}

fn window_bits(value: Option<&str>) -> Result<u8, String> {
    let text = value.unwrap_or_default();
    let bits = text.parse().ok().filter(|bits| (8..=MAX_WINDOW_BITS).contains(bits));
    // `08` and `+8` are no numbers here.
    let is_plain = text.chars().all(|c| c.is_ascii_digit()) && !text.starts_with('0');
    bits.filter(|_| is_plain).ok_or_else(|| "no window of 8 to 15 bits".to_owned())
}

// === impl Deflater ===

impl Deflater {
    /// Compresses as it was agreed on.
    pub(super) fn new(agreed: Agreed) -> Self {
        let window = match agreed.client_window_bits {
            MAX_WINDOW_BITS => usize::MAX,
            bits => 1 << bits,
        };
        let compress = Compress::new(Compression::default(), false);
        Self { compress, keeps_context: agreed.client_keeps_context, window, behind: 0 }
    }

    /// The payload of a compressed message.
    pub(super) fn deflate(&mut self, body: &[u8]) -> Vec<u8> {
        if body.is_empty() {
            // An empty block alone (RFC 7692, 7.2.3.6).
            return vec![0];
        }
        if !self.keeps_context {
            self.forget();
        }
        let mut out = Vec::with_capacity(body.len() / 2 + 64);
        for piece in body.chunks(self.window) {
            if self.behind.saturating_add(piece.len()) > self.window {
                self.forget();
            }
            self.append(piece, &mut out);
            self.behind = self.behind.saturating_add(piece.len());
        }
        if out.ends_with(&TAIL) {
            out.truncate(out.len() - TAIL.len());
        }
        out
    }

    fn forget(&mut self) {
        self.compress.reset();
        self.behind = 0;
    }

    /// Compresses a piece up to a border of bytes.
    fn append(&mut self, mut piece: &[u8], out: &mut Vec<u8>) {
        loop {
            let before = self.compress.total_in();
            // In memory there is nothing to fail but a wrong use.
            let _ = self.compress.compress_vec(piece, out, FlushCompress::Sync);
            let taken = usize::try_from(self.compress.total_in() - before).unwrap_or(usize::MAX);
            piece = piece.get(taken..).unwrap_or_default();
            if piece.is_empty() && out.len() < out.capacity() {
                return;
            }
            out.reserve(out.len().max(GROWTH));
        }
    }
}

// === impl Inflater ===

impl Inflater {
    /// Inflates as it was agreed on.
    pub(super) fn new(agreed: Agreed) -> Self {
        let keeps_context = agreed.server_keeps_context;
        Self { decompress: Decompress::new(false), keeps_context }
    }

    /// The message of a payload, of no more than `most` bytes. Nothing beyond them is inflated.
    pub(super) fn inflate(&mut self, payload: &[u8], most: usize) -> Result<Bytes, NotInflated> {
        if !self.keeps_context {
            self.decompress = Decompress::new(false);
        }
        let mut out = Vec::new();
        self.append(payload, &mut out, most)?;
        self.append(&TAIL, &mut out, most)?;
        Ok(out.into())
    }

    fn append(
        &mut self,
        mut input: &[u8],
        out: &mut Vec<u8>,
        most: usize,
    ) -> Result<(), NotInflated> {
        loop {
            if out.len() == out.capacity() {
                let more = out.len().max(GROWTH).min(most + 1 - out.len());
                out.reserve_exact(more);
            }
            let (read, written) = (self.decompress.total_in(), out.len());
            let status = self.decompress.decompress_vec(input, out, FlushDecompress::Sync);
            let status = status.map_err(|_| NotInflated::Broken)?;
            let taken = self.decompress.total_in() - read;
            let taken = usize::try_from(taken).unwrap_or(usize::MAX);
            input = input.get(taken..).unwrap_or_default();
            if out.len() > most {
                return Err(NotInflated::TooLong);
            }
            if status == Status::StreamEnd {
                // A server may end a block for good (7.2.3.4); what follows begins anew.
                self.decompress.reset(false);
                if input.is_empty() {
                    return Ok(());
                }
            } else if out.len() < out.capacity() {
                if input.is_empty() {
                    return Ok(());
                }
                if taken == 0 && out.len() == written {
                    return Err(NotInflated::Broken);
                }
            }
        }
    }
}
