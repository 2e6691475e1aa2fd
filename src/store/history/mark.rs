//! The small file beside a window's database that tells which epochs were written there, without
//! opening sled.
//!
//! Two uses. After a crash only windows in which an uncommitted epoch was *begun* must be opened and
//! searched, so a clean start opens none for it. And sled, which answers some damage by silently
//! starting from an older state, is held to the epoch that it had made *durable*.
//!
//! Layout: `RSHE`, begun and durable (8 bytes each, highest byte first), CRC-32C of all that. It is
//! overwritten in place: 24 bytes in one sector are written whole or not at all, and a file that
//! does not check is taken for one that may say anything.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

const NAME: &str = "epochs";
const MAGIC: [u8; 4] = *b"RSHE";

/// Epochs of one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// No block in the window has a higher epoch.
    pub(super) begun: u64,
    /// Everything up to this epoch was synced.
    pub(super) durable: u64,
}

impl Mark {
    /// Of a window in which nothing was written.
    pub(super) const NEW: Self = Self { begun: 0, durable: 0 };
    /// Of a window whose mark is lost: it may hold any epoch.
    pub(super) const UNKNOWN: Self = Self { begun: u64::MAX, durable: 0 };

    /// The mark in a window's directory; none when there is no such file.
    pub(super) fn load(window: &Path) -> io::Result<Option<Self>> {
        match fs::read(window.join(NAME)) {
            Ok(bytes) => Ok(Some(Self::parse(&bytes).unwrap_or(Self::UNKNOWN))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes it durably into a window's directory, which exists.
    pub(super) fn store(self, window: &Path) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(false).open(window.join(NAME))?;
        file.write_all(&self.to_bytes())?;
        file.sync_data()
    }

    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.begun.to_be_bytes());
        bytes.extend(self.durable.to_be_bytes());
        bytes.extend(crc32c::crc32c(&bytes).to_be_bytes());
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (checked, crc) = bytes.split_last_chunk::<4>()?;
        let (magic, epochs) = checked.split_first_chunk::<4>()?;
        let (begun, rest) = epochs.split_first_chunk::<8>()?;
        let (durable, rest) = rest.split_first_chunk::<8>()?;
        let whole = *magic == MAGIC
            && rest.is_empty()
            && crc32c::crc32c(checked) == u32::from_be_bytes(*crc);
        whole.then(|| Self {
            begun: u64::from_be_bytes(*begun),
            durable: u64::from_be_bytes(*durable),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that a mark comes back, that a damaged one is never believed, and that a missing
    /// one is told from both.
    #[test]
    fn a_mark_is_whole_or_unknown() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(Mark::load(dir.path()).expect("readable"), None);
        let mark = Mark { begun: 8, durable: 7 };
        Mark { begun: u64::MAX, durable: 1 }.store(dir.path()).expect("written");
        mark.store(dir.path()).expect("overwritten");
        assert_eq!(Mark::load(dir.path()).expect("readable"), Some(mark));
        let good = fs::read(dir.path().join(NAME)).expect("there");
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            fs::write(dir.path().join(NAME), bad).expect("damaged");
            assert_eq!(Mark::load(dir.path()).expect("readable"), Some(Mark::UNKNOWN), "byte {at}");
        }
    }
}
