//! [`SystemFiles`]: the operating system's files behind the seam of [`crate::base::files`].

use crate::base::files::{FileHandle, Files};
use std::fs;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;

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
