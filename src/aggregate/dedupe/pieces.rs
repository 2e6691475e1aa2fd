//! What the recogniser hands to a checkpoint, in pieces that are written once: a generation of exact
//! hashes, or a run of fingerprints of a slice.
//!
//! A piece's bytes: a kind (1 generation, 2 run); of a generation its id (u64), the receipt of its
//! first item (u64 nanoseconds) and 16 bytes a hash; of a run its slice (u32) and the run. Integers
//! are little-endian. Whether they are whole is for the file to say.

use super::exact::{Generation, Hashes};
use super::run::Run;
use crate::base::clock::UnixNanos;
use std::sync::Arc;

const GENERATION: u8 = 1;
const RUN: u8 = 2;

/// A piece to be written; cheap to make, so that the fold does not wait for its encoding.
#[derive(Clone, Debug)]
pub struct Piece(Content);

#[derive(Clone, Debug)]
enum Content {
    Generation { id: u64, opened_at: UnixNanos, hashes: Arc<Hashes> },
    Run { slice: u32, run: Arc<Run> },
}

/// A piece that was read.
pub(super) enum Read<'a> {
    Generation { id: u64, opened_at: UnixNanos, hashes: &'a [[u8; 16]] },
    Run { slice: u32, run: Run },
}

impl Piece {
    pub(super) fn generation(generation: &Generation) -> Self {
        Self(Content::Generation {
            id: generation.id,
            opened_at: generation.opened_at,
            hashes: Arc::clone(&generation.seen),
        })
    }

    pub(super) fn run(slice: u32, run: &Arc<Run>) -> Self {
        Self(Content::Run { slice, run: Arc::clone(run) })
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match &self.0 {
            Content::Generation { id, opened_at, hashes } => {
                bytes.reserve(17 + hashes.len() * 16);
                bytes.push(GENERATION);
                bytes.extend_from_slice(&id.to_le_bytes());
                bytes.extend_from_slice(&opened_at.0.to_le_bytes());
                hashes.iter().for_each(|hash| bytes.extend_from_slice(&hash.to_le_bytes()));
            }
            Content::Run { slice, run } => {
                bytes.push(RUN);
                bytes.extend_from_slice(&slice.to_le_bytes());
                run.encode(&mut bytes);
            }
        }
        bytes
    }
}

/// Reads a piece; none when it is not one.
pub(super) fn read(bytes: &[u8]) -> Option<Read<'_>> {
    let (kind, rest) = bytes.split_first()?;
    match *kind {
        GENERATION => {
            let (id, rest) = rest.split_first_chunk::<8>()?;
            let (opened_at, rest) = rest.split_first_chunk::<8>()?;
            let (hashes, odd) = rest.as_chunks::<16>();
            odd.is_empty().then(|| Read::Generation {
                id: u64::from_le_bytes(*id),
                opened_at: UnixNanos(u64::from_le_bytes(*opened_at)),
                hashes,
            })
        }
        RUN => {
            let (slice, rest) = rest.split_first_chunk::<4>()?;
            Some(Read::Run { slice: u32::from_le_bytes(*slice), run: Run::decode(rest)? })
        }
        _ => None,
    }
}
