//! The files and folders that a configuration is read from, on disk or in memory.
//!
//! The one place of the module that touches the disk. Folders are read recursively and in the
//! order of names; hidden entries are passed over, so that the `..data` folders of mounted
//! Kubernetes volumes do not double everything.

use super::Sources;
use super::problem::Problems;
use super::targets;
use super::tree::Place;
use crate::probe::maintenance::fits;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A file of configuration or certificates may not be longer.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;
/// Files of one folder.
const MAX_FILES: usize = 10_000;
/// Levels of folders.
const MAX_LEVELS: usize = 32;
/// The name under which settings of the daemon are looked for in memory.
const MAIN_NAME: &str = "radiosonde.yaml";

/// A path and whether somebody asked for it, rather than it being the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The file or folder.
    pub path: PathBuf,
    /// Named by the user: when it is missing, that is a mistake.
    pub explicit: bool,
}

/// Everything that was read, by number.
#[derive(Debug, Default)]
pub(super) struct Files {
    list: Vec<File>,
    /// Files that others name, such as certificates.
    named: RefCell<BTreeSet<PathBuf>>,
    /// Folders in which patterns look for files.
    folders: RefCell<BTreeSet<PathBuf>>,
    on_disk: bool,
}

/// One file.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    text: String,
    /// Whether settings of the daemon may stand in it.
    pub(super) is_main: bool,
    /// Whether its text is configuration; not so for certificates in memory, and for paths that
    /// something is wrong with.
    is_read: bool,
}

// === impl Location ===

impl Location {
    /// A path that the user named.
    pub fn explicit(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), explicit: true }
    }

    /// A path that is looked at if it is there.
    pub fn implicit(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), explicit: false }
    }
}

// === impl Files ===

impl Files {
    /// Reads everything; what cannot be read is reported.
    pub(super) fn read(sources: &Sources<'_>, problems: &Problems) -> Self {
        let mut files = Self::default();
        match sources {
            Sources::Disk { config, probes, alerts } => {
                files.on_disk = true;
                files.read_main(config, problems);
                files.read_folder(probes, problems);
                files.read_folder(alerts, problems);
            }
            Sources::Memory(texts) => {
                for (name, text) in *texts {
                    let path = PathBuf::from(name);
                    let is_main = path.file_name() == Some(OsStr::new(MAIN_NAME));
                    let is_read = is_yaml(&path);
                    files.list.push(File { path, text: (*text).to_owned(), is_main, is_read });
                }
            }
        }
        files
    }

    /// The files of configuration with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &str, &File)> {
        let numbered = (0_u32..).zip(&self.list).filter(|(_, file)| file.is_read);
        numbered.map(|(number, file)| (number, file.text.as_str(), file))
    }

    /// Sets files aside that list targets: what these patterns name, relative to the folders of the files
    /// that they stand in, is not read as anything else.
    pub(super) fn set_aside(&mut self, patterns: &[(Place, String)], problems: &Problems) {
        for (at, pattern) in patterns {
            if targets::pattern_error(pattern).is_some() {
                continue;
            }
            for path in self.named_by(at.file, pattern) {
                let known = self.list.iter().position(|file| is_same(&file.path, &path));
                if known == Some(at.file as usize) {
                    let message = "the pattern names the file that it stands in";
                    problems.wrong_hint(*at, message, "put targets into a folder of their own");
                } else if let Some(file) = known.and_then(|number| self.list.get_mut(number)) {
                    file.is_read = false;
                } else {
                    self.read_file(path, false, problems);
                    let _ = self.list.last_mut().map(|file| file.is_read = false);
                }
            }
        }
    }

    /// The numbers of the files that were set aside for a pattern.
    pub(super) fn matching(&self, file: u32, pattern: &str) -> Vec<u32> {
        let named = self.named_by(file, pattern);
        let is_named = |known: &Path| named.iter().any(|path| is_same(known, path));
        let numbered = (0_u32..).zip(&self.list);
        let aside = numbered.filter(|(_, file)| !file.is_read && is_named(&file.path));
        aside.map(|(number, _)| number).collect()
    }

    /// Paths that there are and that a pattern means, in order. On disk they are watched, and so is their
    /// folder.
    fn named_by(&self, file: u32, pattern: &str) -> Vec<PathBuf> {
        let base = self.path(file);
        let path = base.parent().unwrap_or(Path::new("")).join(pattern);
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let is_meant = |found: &Path| {
            let own = found.file_name().and_then(OsStr::to_str);
            found.parent() == path.parent() && own.is_some_and(|own| fits(name, own))
        };
        if !self.on_disk {
            let paths = self.list.iter().map(|file| &file.path);
            return paths.filter(|path| is_meant(path)).cloned().collect();
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let entries = fs::read_dir(folder).into_iter().flatten().flatten().take(MAX_FILES);
        let paths = entries.map(|entry| path.with_file_name(entry.file_name()));
        let found: BTreeSet<PathBuf> = paths.filter(|path| is_meant(path)).collect();
        self.named.borrow_mut().extend(found.iter().cloned());
        let _ = self.folders.borrow_mut().insert(folder.to_owned());
        found.into_iter().collect()
    }

    /// The text of a file.
    pub(super) fn text(&self, file: u32) -> Option<&str> {
        self.list.get(file as usize).map(|file| file.text.as_str())
    }

    /// The path of a file.
    pub(super) fn path(&self, file: u32) -> PathBuf {
        self.list.get(file as usize).map(|file| file.path.clone()).unwrap_or_default()
    }

    /// `probes/chat.yaml:7:5`.
    pub(super) fn display(&self, at: Place) -> String {
        format!("{}:{}:{}", self.path(at.file).display(), at.line, at.column)
    }

    /// Paths of all files on disk that were read, those that others name included.
    pub(super) fn watched(&self) -> Vec<PathBuf> {
        let read = self.list.iter().filter(|file| self.on_disk && file.is_read);
        let mut paths: BTreeSet<PathBuf> = self.named.borrow().clone();
        paths.extend(read.map(|file| file.path.clone()));
        paths.into_iter().collect()
    }

    /// Folders in which further files may appear that others name.
    pub(super) fn folders(&self) -> Vec<PathBuf> {
        self.folders.borrow().iter().cloned().collect()
    }

    /// Reads a file that a configuration file names, relative to the folder of the latter.
    pub(super) fn read_beside(&self, file: u32, name: &str) -> Result<String, String> {
        utf8(self.read_bytes_beside(file, name)?)
    }

    /// As [`Files::read_beside`], of a file that is no text.
    pub(super) fn read_bytes_beside(&self, file: u32, name: &str) -> Result<Vec<u8>, String> {
        let base = self.path(file);
        let path = base.parent().unwrap_or(Path::new("")).join(name);
        if self.on_disk {
            let bytes = read_bytes(&path);
            let _ = self.named.borrow_mut().insert(path);
            return bytes;
        }
        let known = self.list.iter().find(|file| file.path == path);
        known.map(|file| file.text.clone().into_bytes()).ok_or_else(|| "no such file".to_owned())
    }

    fn read_main(&mut self, location: &Location, problems: &Problems) {
        match fs::metadata(&location.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !location.explicit => {}
            _ => self.read_file(location.path.clone(), true, problems),
        }
    }

    fn read_folder(&mut self, location: &Location, problems: &Problems) {
        let mut found = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let walked = walk(&location.path, 0, &mut seen, &mut found);
        for path in found {
            self.read_file(path, false, problems);
        }
        let Err((path, error)) = walked else { return };
        let is_missing = error.kind() == io::ErrorKind::NotFound && path == location.path;
        let at = self.remember(path);
        if !is_missing {
            problems.wrong(at, format!("the folder cannot be read: {error}"));
        } else if location.explicit {
            problems.wrong_hint(at, "there is no such folder", "create it or name another one");
        } else {
            problems.warn(
                at,
                "there is no such folder",
                "nothing is read from it until it is there",
            );
        }
    }

    fn read_file(&mut self, path: PathBuf, is_main: bool, problems: &Problems) {
        match read_text(&path) {
            Ok(text) => self.list.push(File { path, text, is_main, is_read: true }),
            Err(reason) => {
                let at = self.remember(path);
                problems.wrong(at, format!("the file cannot be read: {reason}"));
            }
        }
    }

    /// Gives a number to a path from which no text came, to report about it.
    fn remember(&mut self, path: PathBuf) -> Place {
        let number = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        self.list.push(File { path, text: String::new(), is_main: false, is_read: false });
        Place::of_file(number)
    }
}

/// Whether two paths mean one file.
fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| fs::canonicalize(path).ok();
    let alike = one.file_name() == other.file_name();
    one == other || (alike && real(one).is_some_and(|one| Some(one) == real(other)))
}

/// Finds `.yaml` and `.yml` below `folder`. Real paths in `seen` are not entered again, so links
/// may point upwards.
fn walk(
    folder: &Path,
    level: usize,
    seen: &mut BTreeSet<PathBuf>,
    found: &mut BTreeSet<PathBuf>,
) -> Result<(), (PathBuf, io::Error)> {
    let at = |error| (folder.to_owned(), error);
    if level > MAX_LEVELS {
        return Err(at(io::Error::other(format!("more than {MAX_LEVELS} levels of folders"))));
    }
    if !seen.insert(fs::canonicalize(folder).map_err(at)?) {
        return Ok(());
    }
    // Sorted, so that of two links to one folder always the same one counts.
    let entries: io::Result<BTreeSet<PathBuf>> =
        fs::read_dir(folder).map_err(at)?.map(|entry| entry.map(|entry| entry.path())).collect();
    for path in entries.map_err(at)? {
        let is_hidden = path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
        if is_hidden {
            continue;
        }
        // A link that points nowhere is reported when its file is read, and otherwise no concern.
        let is_folder = fs::metadata(&path).is_ok_and(|metadata| metadata.is_dir());
        if is_folder {
            walk(&path, level + 1, seen, found)?;
        } else if is_yaml(&path) {
            let _ = found.insert(path);
        }
        if found.len() > MAX_FILES {
            return Err(at(io::Error::other(format!("more than {MAX_FILES} files"))));
        }
    }
    Ok(())
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// Reads a whole text file of bounded length.
fn read_text(path: &Path) -> Result<String, String> {
    utf8(read_bytes(path)?)
}

/// Reads a whole file of bounded length.
fn read_bytes(path: &Path) -> Result<Vec<u8>, String> {
    // Opening a pipe would wait for a writer.
    if !fs::metadata(path).map_err(|error| error.to_string())?.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let _ =
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("it is longer than {} MiB", MAX_FILE_BYTES / (1024 * 1024)));
    }
    Ok(bytes)
}

fn utf8(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("it is not UTF-8 in line {line}")
    })
}
