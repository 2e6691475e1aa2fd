//! Directories: their size, their durability, and names that are free.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Bytes of all files below a directory. What vanishes meanwhile, and what cannot be read, counts
/// as nothing.
pub(super) fn bytes_below(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => bytes_below(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Makes names in a directory durable: new, renamed and removed ones.
pub(super) fn sync_directory(dir: &Path) -> io::Result<()> {
    // Elsewhere directories cannot be opened as files, nor need to be.
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

/// Renames `dir` to the first of `<dir>.broken-1`, `<dir>.broken-2`, … that is free.
pub(super) fn rename_broken(dir: &Path) -> io::Result<PathBuf> {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let free = (1_u32..).map(|n| dir.with_file_name(format!("{name}.broken-{n}")));
    for to in free {
        if !to.try_exists()? {
            fs::rename(dir, &to)?;
            return Ok(to);
        }
    }
    Err(io::Error::other("no name is free"))
}

/// Removes a directory so that after a crash it is either whole or known to be on its way out.
pub(super) fn remove_directory(dir: &Path) -> io::Result<()> {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let to = match name.split_once('.') {
        // Set aside before: nobody takes it for a window.
        Some(_) => dir.to_path_buf(),
        None => dir.with_file_name(format!("{name}.dropped")),
    };
    if to != dir {
        fs::rename(dir, &to)?;
    }
    fs::remove_dir_all(&to)
}
