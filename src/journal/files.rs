//! The seam between what must be durable and the disk: [`Files`] and [`FileHandle`], and
//! [`SystemFiles`], the operating system's.
//!
//! Everything that has to survive a power cut (the journal here, checkpoints in other modules)
//! goes through these traits, so that crash tests can put a disk of their own underneath
//! ([`super::faulty`]). They promise no more than a disk does: written bytes are safe after
//! [`FileHandle::sync_data`], names after [`Files::sync_dir`].

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
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

/// The files of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemFiles;

#[derive(Debug)]
struct SystemFile(fs::File);

// === impl SystemFiles ===

impl Files for SystemFiles {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)?;
        match dir.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => self.sync_dir(parent),
            _ => Ok(()),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.extend(entry.file_name().into_string());
            }
        }
        Ok(names)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn FileHandle>> {
        let mut options = fs::OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(Box::new(SystemFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn FileHandle>> {
        let file = fs::OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Box::new(SystemFile(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        // Elsewhere a directory cannot be opened as a file, and its entries need no flush.
        if cfg!(unix) { fs::File::open(dir)?.sync_all() } else { Ok(()) }
    }
}

// === impl SystemFile ===

impl FileHandle for SystemFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let _ = self.0.seek(SeekFrom::Start(offset))?;
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let _ = self.0.seek(SeekFrom::Start(offset))?;
        self.0.write_all(bytes)
    }

    fn set_len(&mut self, size: u64) -> io::Result<()> {
        self.0.set_len(size)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that the operating system's files do what the trait says, through every call.
    #[test]
    fn system_files_keep_the_contract() {
        let root = tempfile::tempdir().expect("a directory");
        let dir = root.path().join("a/b");
        SystemFiles.create_dir(&dir).expect("created");
        SystemFiles.create_dir(&dir).expect("created already");
        let (first, second) = (dir.join("first"), dir.join("second"));
        let mut file = SystemFiles.create(&first).expect("a file");
        file.write_at(0, b"0123456789").expect("written");
        file.write_at(2, b"xy").expect("overwritten");
        file.set_len(6).expect("cut");
        file.reserve(6, 8).expect("reserved");
        file.sync_data().expect("synced");
        assert_eq!(file.size().expect("a size"), 8);
        SystemFiles.rename(&first, &second).expect("renamed");
        SystemFiles.sync_dir(&dir).expect("synced");
        assert_eq!(SystemFiles.list(&dir).expect("a list"), ["second"]);
        assert_eq!(SystemFiles.read(&second).expect("content"), b"01xy45\0\0");
        let missing = SystemFiles.open(&first).expect_err("it has another name now");
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        SystemFiles.remove(&second).expect("removed");
        assert!(SystemFiles.list(&dir).expect("a list").is_empty());
    }
}
