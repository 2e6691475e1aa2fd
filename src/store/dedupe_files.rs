//! Hashes of items on disk: what the recogniser of duplicates hands to each checkpoint.
//!
//! ```text
//! data/dedupe/00000000000000000042.full    everything, as of epoch 42
//! data/dedupe/00000000000000000043.delta   what was new in epoch 43
//! ```
//! An epoch's file is written and made durable before the checkpoint that makes it count. A start
//! removes files of epochs that were never committed, then reads the newest full one and the deltas
//! after it. When the deltas have grown to half of the full file, or `MAX_DELTAS` in number, the next
//! epoch is full again, so that all that is ever written is at most three times what is new. Files before
//! a full one go when the next checkpoint stands: until then the checkpoint before still needs them.
//!
//! A file: magic `RSDD`, version (u32), then frames: length (u32), crc32c (u32), bytes. Integers are
//! little-endian. What the bytes mean is `aggregate::dedupe`'s to know.

use super::data_dir::DataDirError;
use crate::base::files::{FileHandle, Files};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

const HEADER: [u8; 8] = *b"RSDD\x01\0\0\0";
/// Deltas after which an epoch is full again: four hours.
const MAX_DELTAS: usize = 240;
/// Deltas of less than this in all do not call for a full epoch.
const SMALL: u64 = 16 << 20;
/// A frame that claims to be longer is corrupt.
const MAX_FRAME: u32 = 512 << 20;
/// What is read or written at a time.
const BUFFER: usize = 1 << 20;

/// A file in the folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    epoch: u64,
    full: bool,
    path: PathBuf,
    bytes: u64,
}

/// A file from its beginning on.
struct Stream {
    file: Box<dyn FileHandle>,
    at: u64,
}

/// Whether the next epoch should be written in full.
///
/// # Errors
/// When the folder cannot be read.
pub fn wants_full(files: &dyn Files, dir: &Path) -> Result<bool, DataDirError> {
    let entries = list(files, dir)?;
    let Some(at) = entries.iter().rposition(|entry| entry.full) else { return Ok(true) };
    let (full, deltas) = entries.split_at_checked(at + 1).unwrap_or_default();
    let bytes: u64 = deltas.iter().map(|entry| entry.bytes).sum();
    let full_bytes = full.last().map_or(0, |entry| entry.bytes);
    Ok(deltas.len() >= MAX_DELTAS || bytes > SMALL.max(full_bytes / 2))
}

/// Writes the pieces of an epoch and makes them durable; nothing when a delta has none. Returns the
/// bytes written.
///
/// # Errors
/// When they cannot be made durable; nothing is left behind then, as far as possible.
pub fn write(
    files: &dyn Files,
    dir: &Path,
    epoch: u64,
    full: bool,
    pieces: impl ExactSizeIterator<Item = Vec<u8>>,
) -> Result<u64, DataDirError> {
    if pieces.len() == 0 && !full {
        return Ok(0);
    }
    files.create_dir(dir).map_err(failed("creating", dir))?;
    let path = dir.join(format!("{epoch:020}.{}", if full { "full" } else { "delta" }));
    let written = remove(files, &path)
        .and_then(|()| write_file(files, &path, pieces))
        .and_then(|bytes| files.sync_dir(dir).map(|()| bytes));
    if written.is_err() {
        drop(files.remove(&path));
    }
    written.map_err(failed("writing", &path))
}

/// Removes files of epochs after `committed`, and hands on the pieces of those up to it, in their order.
/// Returns whether every file was whole; what follows a torn frame in its file is passed over.
///
/// # Errors
/// When the folder cannot be read.
pub fn recover(
    files: &dyn Files,
    dir: &Path,
    committed: u64,
    mut piece: impl FnMut(&[u8]),
) -> Result<bool, DataDirError> {
    let mut entries = list(files, dir)?;
    for entry in entries.extract_if(.., |entry| entry.epoch > committed) {
        files.remove(&entry.path).map_err(failed("removing", &entry.path))?;
    }
    let first = entries.iter().rposition(|entry| entry.full).unwrap_or(0);
    let mut whole = true;
    for entry in entries.iter().skip(first) {
        if !read_file(files, &entry.path, &mut piece).map_err(failed("reading", &entry.path))? {
            tracing::warn!(file = %entry.path.display(), "a file of hashes is torn; its rest is passed over");
            whole = false;
        }
    }
    Ok(whole)
}

/// Removes what neither the checkpoint of epoch `committed` nor the one before it needs.
///
/// # Errors
/// When the operating system refuses.
pub fn retain(files: &dyn Files, dir: &Path, committed: u64) -> Result<(), DataDirError> {
    let entries = list(files, dir)?;
    let newest = entries.iter().rev().find(|entry| entry.full && entry.epoch < committed);
    let Some(first) = newest.map(|entry| entry.epoch) else { return Ok(()) };
    for entry in entries.iter().filter(|entry| entry.epoch < first) {
        files.remove(&entry.path).map_err(failed("removing", &entry.path))?;
    }
    Ok(())
}

/// The files, by rising epoch. Others in the folder are none of our business.
fn list(files: &dyn Files, dir: &Path) -> Result<Vec<Entry>, DataDirError> {
    let names = match files.list(dir) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("listing", dir)(error)),
    };
    let mut entries = Vec::new();
    for name in names {
        let Some((stem, kind)) = name.split_once('.') else { continue };
        let full = match kind {
            "full" => true,
            "delta" => false,
            _ => continue,
        };
        if let Ok(epoch) = stem.parse::<u64>() {
            let path = dir.join(&name);
            let size = files.open(&path).and_then(|file| file.size());
            let bytes = size.map_err(failed("reading", &path))?;
            entries.push(Entry { epoch, full, path, bytes });
        }
    }
    entries.sort_unstable();
    Ok(entries)
}

/// Removes a file that may not be there. After a failed flush nothing is known of a file, so that what
/// is written anew is never the same one.
fn remove(files: &dyn Files, path: &Path) -> io::Result<()> {
    match files.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn write_file(
    files: &dyn Files,
    path: &Path,
    pieces: impl Iterator<Item = Vec<u8>>,
) -> io::Result<u64> {
    let mut file = files.create(path)?;
    let mut bytes = 0;
    let mut buffer = HEADER.to_vec();
    for piece in pieces {
        let length = u32::try_from(piece.len()).map_err(io::Error::other)?;
        buffer.extend_from_slice(&length.to_le_bytes());
        buffer.extend_from_slice(&crc32c::crc32c(&piece).to_le_bytes());
        buffer.extend_from_slice(&piece);
        if buffer.len() >= BUFFER {
            file.write_at(bytes, &buffer)?;
            bytes += buffer.len() as u64;
            buffer.clear();
        }
    }
    file.write_at(bytes, &buffer)?;
    file.sync_data()?;
    Ok(bytes + buffer.len() as u64)
}

/// Hands on every whole frame; whether all of them were.
fn read_file(files: &dyn Files, path: &Path, piece: &mut impl FnMut(&[u8])) -> io::Result<bool> {
    let stream = Stream { file: files.open(path)?, at: 0 };
    let mut file = BufReader::with_capacity(BUFFER, stream);
    let mut header = [0; HEADER.len()];
    if !fill(&mut file, &mut header)? || header != HEADER {
        return Ok(false);
    }
    let mut bytes = Vec::new();
    loop {
        let mut length = [0; 4];
        let mut crc = [0; 4];
        if file.fill_buf()?.is_empty() {
            return Ok(true);
        }
        if !fill(&mut file, &mut length)? || !fill(&mut file, &mut crc)? {
            return Ok(false);
        }
        let length = u32::from_le_bytes(length);
        if length > MAX_FRAME {
            return Ok(false);
        }
        bytes.clear();
        let read = (&mut file).take(u64::from(length)).read_to_end(&mut bytes)?;
        if read != length as usize || crc32c::crc32c(&bytes) != u32::from_le_bytes(crc) {
            return Ok(false);
        }
        piece(&bytes);
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(self.at, buffer)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// Reads exactly as much; false at an early end.
fn fill(file: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn failed(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> DataDirError {
    let path = path.to_owned();
    move |source| DataDirError::Io { doing, path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::faulty::FaultyFiles;

    fn write_text(files: &FaultyFiles, epoch: u64, full: bool, text: &[&str]) {
        let pieces: Vec<Vec<u8>> = text.iter().map(|piece| piece.as_bytes().to_vec()).collect();
        let _ = write(files, dir(), epoch, full, pieces.into_iter()).unwrap();
    }

    fn recovered(files: &FaultyFiles, committed: u64) -> (String, bool) {
        let mut text = String::new();
        let piece = |piece: &[u8]| text += std::str::from_utf8(piece).unwrap();
        let whole = recover(files, dir(), committed, piece).unwrap();
        (text, whole)
    }

    fn dir() -> &'static Path {
        Path::new("dedupe")
    }

    /// Guarantees that a start reads the newest full epoch and what follows up to the committed one,
    /// never more, and that what was not committed is gone.
    #[test]
    fn committed_epochs_are_read_in_order() {
        let files = &FaultyFiles::new();
        assert_eq!(recovered(files, 7), (String::new(), true));
        assert!(wants_full(files, dir()).unwrap());
        write_text(files, 1, true, &["a"]);
        write_text(files, 2, false, &["b", "c"]);
        write_text(files, 3, false, &[]);
        write_text(files, 4, true, &["A", "B"]);
        write_text(files, 5, false, &["d"]);
        write_text(files, 6, false, &["e"]);
        assert!(!wants_full(files, dir()).unwrap());
        assert_eq!(recovered(files, 5), ("ABd".to_owned(), true));
        assert_eq!(recovered(files, 6), ("ABd".to_owned(), true));
        assert_eq!(recovered(files, 3), ("abc".to_owned(), true));
        assert_eq!(recovered(files, 9), ("abc".to_owned(), true));
    }

    /// Guarantees that files go only when neither of the last two checkpoints needs them.
    #[test]
    fn the_checkpoint_before_stays_restorable() {
        let files = &FaultyFiles::new();
        write_text(files, 1, true, &["a"]);
        write_text(files, 2, false, &["b"]);
        write_text(files, 3, true, &["AB"]);
        retain(files, dir(), 3).unwrap();
        assert_eq!(list(files, dir()).unwrap().len(), 3);
        write_text(files, 4, false, &["c"]);
        retain(files, dir(), 4).unwrap();
        assert_eq!(recovered(files, 4), ("ABc".to_owned(), true));
        assert_eq!(list(files, dir()).unwrap().len(), 2);
        assert_eq!(recovered(files, 3), ("AB".to_owned(), true));
    }

    /// Guarantees that deltas call for a full epoch when they are many or large.
    #[test]
    fn deltas_do_not_pile_up() {
        let files = &FaultyFiles::new();
        write_text(files, 0, true, &[]);
        for epoch in 1..MAX_DELTAS as u64 {
            write_text(files, epoch, false, &["x"]);
        }
        assert!(!wants_full(files, dir()).unwrap());
        write_text(files, 1_000, false, &["x"]);
        assert!(wants_full(files, dir()).unwrap());
        write_text(files, 1_001, true, &["x"]);
        assert!(!wants_full(files, dir()).unwrap());
        let _ = write(files, dir(), 1_002, false, [vec![0; SMALL as usize]].into_iter()).unwrap();
        assert!(wants_full(files, dir()).unwrap());
    }

    /// Guarantees that a torn or changed file is told, and that its whole frames and the other files
    /// are read all the same.
    #[test]
    fn a_torn_file_is_told() {
        let files = &FaultyFiles::new();
        write_text(files, 1, true, &["a", "b"]);
        write_text(files, 2, false, &["c"]);
        let first = list(files, dir()).unwrap().first().unwrap().path.clone();
        let bytes = files.read(&first).unwrap();
        let check = |bytes: &[u8], expected: &str| {
            files.create(&first).unwrap().write_at(0, bytes).unwrap();
            assert_eq!(recovered(files, 2), (expected.to_owned(), false));
        };
        check(&bytes[..bytes.len() - 1], "ac");
        check(&bytes[..9], "c");
        check(&[], "c");
        let mut changed = bytes.clone();
        *changed.last_mut().unwrap() ^= 1;
        check(&changed, "ac");
        changed[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        check(&changed, "c");
    }
}
