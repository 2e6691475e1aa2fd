//! The seam between what must be durable and the disk: [`Files`] and [`FileHandle`].
//!
//! Whatever has to survive a power cut (the lanes of the journal, checkpoints) goes through these
//! traits, so that crash tests can put a disk of their own underneath ([`super::faulty`]). They
//! promise no more than a disk does: written bytes are safe after [`FileHandle::sync_data`], names
//! after [`Files::sync_dir`]. No file is touched here; `journal::files` has the operating system's,
//! and `app` hands them to everybody.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;

/// Zeros are written in pieces of this size.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// The directory operations that durable storage needs.
pub trait Files: fmt::Debug + Send + Sync {
    /// Creates the directory and those above it, durably; one that is there is no error.
    ///
    /// # Errors
    /// Those of the operating system.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// The names of the files in `dir`, in no particular order; names that are not UTF-8 are left
    /// out.
    ///
    /// # Errors
    /// Those of the operating system.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Creates an empty file; one that is there is emptied.
    ///
    /// # Errors
    /// Those of the operating system.
    fn create(&self, path: &Path) -> io::Result<Box<dyn FileHandle>>;

    /// Opens a file that is there, for reading and writing.
    ///
    /// # Errors
    /// Those of the operating system; `NotFound` when it is not there.
    fn open(&self, path: &Path) -> io::Result<Box<dyn FileHandle>>;

    /// Gives a file another name, replacing what had it, in one step.
    ///
    /// # Errors
    /// Those of the operating system.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// Those of the operating system.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes created, renamed and removed names in `dir` durable.
    ///
    /// # Errors
    /// Those of the operating system.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// The whole content of a file.
    ///
    /// # Errors
    /// Those of the operating system; `UnexpectedEof` when the file shrinks meanwhile.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut file = self.open(path)?;
        let mut content = vec![0; usize::try_from(file.size()?).map_err(io::Error::other)?];
        let mut filled = 0;
        while let Some(rest) = content.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match file.read_at(filled as u64, rest)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                read => filled += read,
            }
        }
        Ok(content)
    }
}

/// An open file.
pub trait FileHandle: fmt::Debug + Send {
    /// Its length in bytes.
    ///
    /// # Errors
    /// Those of the operating system.
    fn size(&self) -> io::Result<u64>;

    /// Reads from `offset` on into `buffer`; fewer bytes than fit are no error, 0 is the end.
    ///
    /// # Errors
    /// Those of the operating system, never `Interrupted`.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`. After an error any part of them may have been written.
    ///
    /// # Errors
    /// Those of the operating system; `StorageFull` or `QuotaExceeded` when there is no room.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file, or lengthens it with zeros that take no space yet.
    ///
    /// # Errors
    /// Those of the operating system.
    fn set_len(&mut self, size: u64) -> io::Result<()>;

    /// Makes content and length durable. After an error nothing is known about what was written
    /// since the last success, and a second attempt that succeeds does not change that.
    ///
    /// # Errors
    /// Those of the operating system.
    fn sync_data(&mut self) -> io::Result<()>;

    /// Claims the space of the bytes `from..to` by writing zeros there.
    ///
    /// A copy-on-write or compressing file system may still run out of space when they are
    /// overwritten.
    ///
    /// # Errors
    /// As [`FileHandle::write_at`].
    fn reserve(&mut self, from: u64, to: u64) -> io::Result<()> {
        let mut at = from;
        while at < to {
            let piece = usize::try_from(to - at).unwrap_or(usize::MAX).min(ZEROS.len());
            self.write_at(at, ZEROS.get(..piece).unwrap_or_default())?;
            at += piece as u64;
        }
        Ok(())
    }
}
