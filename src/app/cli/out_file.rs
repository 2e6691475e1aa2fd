//! `--out FILE`: the whole report or nothing.
//!
//! It is written beside the file and renamed, so that whoever watches the file never reads half of
//! it. That it can be written is found out before the first probe runs, not after the last.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that will be there once [`OutFile::finish`] was called.
#[derive(Debug)]
pub(super) struct OutFile {
    target: PathBuf,
    file: File,
    /// Where it is written until then; none where the target is a pipe or device, which must not
    /// be replaced.
    beside: Option<PathBuf>,
}

/// Why a report cannot be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutError {
    /// The folder is missing.
    #[error("the folder {0} of --out does not exist; create it first")]
    NoFolder(PathBuf),
    /// It is a folder.
    #[error("{0} of --out is a folder; name a file in it")]
    Folder(PathBuf),
    /// The operating system refuses.
    #[error("{0} of --out cannot be written")]
    Io(PathBuf, #[source] io::Error),
}

// === impl OutFile ===

impl OutFile {
    /// Finds out that `target` can be written; it is not touched yet.
    ///
    /// # Errors
    /// When its folder is missing, it is a folder itself, or may not be written.
    pub(super) fn create(target: &Path) -> Result<Self, OutError> {
        let failed = |error| OutError::Io(target.to_owned(), error);
        // A link stays a link: what it points to is replaced.
        let target = fs::canonicalize(target).unwrap_or_else(|_| target.to_owned());
        match fs::metadata(&target) {
            Ok(found) if found.is_dir() => return Err(OutError::Folder(target)),
            Ok(found) if !found.is_file() => {
                let file = File::options().write(true).open(&target).map_err(failed)?;
                return Ok(Self { target, file, beside: None });
            }
            _ => {}
        }
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        if !fs::metadata(folder).is_ok_and(|found| found.is_dir()) {
            return Err(OutError::NoFolder(folder.to_owned()));
        }
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let beside = folder.join(format!(".{name}.{}.new", std::process::id()));
        let file = File::create(&beside).map_err(failed)?;
        Ok(Self { target, file, beside: Some(beside) })
    }

    /// Writes the whole text; from now on the file has it.
    ///
    /// # Errors
    /// When the operating system refuses; the file is then as it was.
    pub(super) fn finish(mut self, text: &str) -> Result<(), OutError> {
        let mut write = || {
            self.file.write_all(text.as_bytes())?;
            let Some(beside) = &self.beside else { return Ok(()) };
            self.file.sync_all()?;
            fs::rename(beside, &self.target)
        };
        write().map_err(|error| OutError::Io(self.target.clone(), error))?;
        self.beside = None;
        Ok(())
    }
}

impl Drop for OutFile {
    fn drop(&mut self) {
        if let Some(beside) = &self.beside {
            // Nothing can be done about what is left behind.
            drop(fs::remove_file(beside));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Guarantees that the file is as before until the whole report is written, that an abandoned
    /// one leaves nothing behind, and that links stay links.
    #[test]
    fn a_report_is_there_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.xml");
        fs::write(&path, "before").unwrap();
        drop(OutFile::create(&path).unwrap());
        assert_eq!(names(dir.path()), ["report.xml"]);
        let out = OutFile::create(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "before");
        out.finish("after").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "after");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        OutFile::create(&link).unwrap().finish("through").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "through");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(names(dir.path()).len(), 2);
    }

    /// Guarantees words for each way in which a report cannot be written, and that devices are
    /// written to, not replaced.
    #[test]
    fn what_cannot_be_written_is_said_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("no/report.xml");
        assert!(matches!(OutFile::create(&missing), Err(OutError::NoFolder(_))));
        assert!(matches!(OutFile::create(dir.path()), Err(OutError::Folder(_))));
        OutFile::create(Path::new("/dev/null")).unwrap().finish("text").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
