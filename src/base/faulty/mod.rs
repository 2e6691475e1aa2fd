//! A disk in memory that fails, tears and forgets on demand: for the crash tests of everything that
//! writes through [`Files`]. Nothing in the daemon uses it.
//!
//! It keeps what was written apart from what is durable, for contents and for names. A test makes
//! the n-th operation fail ([`FaultyFiles::fail_at`]), then takes what a power cut leaves
//! ([`FaultyFiles::power_cut`]) as the disk of the next start. Operations that count are those that
//! change something: create, write, cut, flush, rename, remove.

mod disk;

use super::files::{FileHandle, Files};
use disk::{Disk, NameChange, Node};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

/// What happens to an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails and changes nothing; a failed flush also loses, for good, what it was to flush.
    Fail,
    /// A write fails half-way; anything else as [`Fault::Fail`].
    Tear,
    /// It fails for want of space; a write half-way.
    Full,
    /// It and all later ones fail: the process is as good as dead.
    Halt,
}

/// What a power cut leaves of that which was not flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survivors {
    /// Nothing.
    None,
    /// Everything: as if only the process had been killed.
    All,
    /// Any of the written sectors, and the changes of names up to any, drawn from this seed.
    Some(u64),
}

/// The disk. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct FaultyFiles(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    disk: Mutex<Disk>,
    flushes_resume: Condvar,
}

#[derive(Debug)]
struct FaultyFile {
    shared: Arc<Shared>,
    node: usize,
}

// === impl FaultyFiles ===

impl FaultyFiles {
    /// An empty disk without faults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the `operation`-th operation from the beginning, counted from 1, meet with `fault`.
    pub fn fail_at(&self, operation: u64, fault: Fault) {
        self.0.disk.lock().fault = Some((operation, fault));
    }

    /// Lets everything work again: the process was killed and the machine lives. What was not flushed
    /// still is not.
    pub fn lift_fault(&self) {
        let mut disk = self.0.disk.lock();
        disk.fault = None;
        disk.halted = false;
    }

    /// How many operations there were.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.0.disk.lock().operations
    }

    /// How many flushes of file contents succeeded.
    #[must_use]
    pub fn flushes(&self) -> u64 {
        self.0.disk.lock().flushes
    }

    /// Bounds the bytes of all files together; none lifts the bound.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.disk.lock().capacity = bytes;
    }

    /// Bytes of all files together.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.0.disk.lock().used_bytes()
    }

    /// Makes flushes of file contents wait until [`FaultyFiles::resume_flushes`].
    pub fn hold_flushes(&self) {
        self.0.disk.lock().flushes_are_held = true;
    }

    /// Lets flushes go on.
    pub fn resume_flushes(&self) {
        self.0.disk.lock().flushes_are_held = false;
        let _ = self.0.flushes_resume.notify_all();
    }

    /// Inverts the bits of one byte, on the disk and as read: a medium that forgets. False when the
    /// file has no such byte.
    pub fn rot(&self, path: &Path, offset: usize) -> bool {
        let mut disk = self.0.disk.lock();
        let Some(id) = disk.names.get(path).copied() else { return false };
        let Some(node) = disk.nodes.get_mut(id) else { return false };
        let bytes = [node.written.get_mut(offset), node.durable.get_mut(offset)];
        let found = bytes.iter().any(Option::is_some);
        bytes.into_iter().flatten().for_each(|byte| *byte = !*byte);
        found
    }

    /// The disk as the next start finds it, without faults. This one stays as it is.
    #[must_use]
    pub fn power_cut(&self, survivors: Survivors) -> Self {
        let after = self.0.disk.lock().after_power_cut(survivors);
        Self(Arc::new(Shared { disk: Mutex::new(after), flushes_resume: Condvar::new() }))
    }

    fn change_known_name(&self, path: &Path, change: NameChange) -> io::Result<()> {
        let mut disk = self.0.disk.lock();
        disk.begin()?;
        if !disk.names.contains_key(path) {
            return Err(ErrorKind::NotFound.into());
        }
        disk.change_name(path, change);
        Ok(())
    }
}

impl Files for FaultyFiles {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let disk = self.0.disk.lock();
        let here = disk.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(here.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn FileHandle>> {
        let mut disk = self.0.disk.lock();
        disk.begin()?;
        let known = disk.names.get(path).copied();
        let node = known.unwrap_or(disk.nodes.len());
        match disk.nodes.get_mut(node) {
            Some(node) => node.written.clear(),
            None => disk.nodes.push(Node::default()),
        }
        if known.is_none() {
            disk.change_name(path, NameChange::Link(node));
        }
        Ok(Box::new(FaultyFile { shared: Arc::clone(&self.0), node }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn FileHandle>> {
        let node = self.0.disk.lock().names.get(path).copied().ok_or(ErrorKind::NotFound)?;
        Ok(Box::new(FaultyFile { shared: Arc::clone(&self.0), node }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change_known_name(from, NameChange::RenameTo(to.to_owned()))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change_known_name(path, NameChange::Unlink)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.0.disk.lock();
        disk.begin()?;
        disk.flush_names(dir);
        Ok(())
    }
}

// === impl FaultyFile ===

impl FaultyFile {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.shared.disk.lock()
    }
}

impl FileHandle for FaultyFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk().node(self.node)?.written.len() as u64)
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut disk = self.disk();
        let content = &disk.node(self.node)?.written;
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = content.get(from..).unwrap_or_default();
        Ok(rest.iter().zip(buffer).map(|(from, to)| *to = *from).count())
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.disk();
        let fault = disk.fault_now();
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let allocated = disk.node(self.node)?.written.len().saturating_sub(offset).min(bytes.len());
        let fits = allocated + disk.room_for(bytes.len() - allocated);
        let (written, error) = match fault {
            Some(fault @ (Fault::Tear | Fault::Full)) => (bytes.len() / 2, Some(fault.error())),
            Some(fault) => (0, Some(fault.error())),
            None if fits < bytes.len() => (fits, Some(Fault::Full.error())),
            None => (bytes.len(), None),
        };
        disk.node(self.node)?.overwrite(offset, bytes.get(..written.min(fits)).unwrap_or_default());
        error.map_or(Ok(()), Err)
    }

    fn set_len(&mut self, size: u64) -> io::Result<()> {
        let mut disk = self.disk();
        disk.begin()?;
        let size = usize::try_from(size).map_err(io::Error::other)?;
        disk.node(self.node)?.written.resize(size, 0);
        Ok(())
    }

    fn sync_data(&mut self) -> io::Result<()> {
        let mut disk = self.disk();
        while disk.flushes_are_held {
            self.shared.flushes_resume.wait(&mut disk);
        }
        let fault = disk.fault_now();
        let node = disk.node(self.node)?;
        if let Some(fault) = fault {
            // A process that is dead never asked.
            node.lossy |= fault != Fault::Halt;
            return Err(fault.error());
        }
        if !node.lossy {
            node.durable.clone_from(&node.written);
        }
        disk.flushes += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(disk: &FaultyFiles, name: &str) -> Option<Vec<u8>> {
        disk.read(&Path::new("d").join(name)).ok()
    }

    /// Guarantees that a power cut takes what was not flushed, and names that were not either.
    #[test]
    fn only_what_was_flushed_survives_a_power_cut() {
        let disk = FaultyFiles::new();
        let dir = Path::new("d");
        let mut kept = disk.create(&dir.join("kept")).expect("created");
        kept.write_at(0, b"durable").expect("written");
        kept.sync_data().expect("flushed");
        disk.sync_dir(dir).expect("flushed");
        kept.write_at(7, b" and not").expect("written");
        let mut unnamed = disk.create(&dir.join("unnamed")).expect("created");
        unnamed.sync_data().expect("flushed");
        disk.rename(&dir.join("kept"), &dir.join("renamed")).expect("renamed");

        let after = disk.power_cut(Survivors::None);
        assert_eq!(content(&after, "kept").as_deref(), Some(&b"durable"[..]));
        assert_eq!(after.list(dir).expect("a list"), ["kept"]);
        let after = disk.power_cut(Survivors::All);
        assert_eq!(content(&after, "renamed").as_deref(), Some(&b"durable and not"[..]));
        assert_eq!(content(&after, "unnamed").as_deref(), Some(&b""[..]));
    }

    /// Guarantees that faults strike where they are told to, and that a flush after a failed one
    /// brings nothing back.
    #[test]
    fn faults_strike_the_nth_operation() {
        let path = Path::new("d/file");
        let disk = FaultyFiles::new();
        disk.fail_at(2, Fault::Tear);
        let mut file = disk.create(path).expect("created");
        assert!(file.write_at(0, b"abcdef").is_err());
        assert_eq!(content(&disk, "file").as_deref(), Some(&b"abc"[..]));
        disk.fail_at(3, Fault::Fail);
        assert!(file.sync_data().is_err());
        file.sync_data().expect("as if nothing had been");
        disk.sync_dir(Path::new("d")).expect("flushed");
        assert_eq!(content(&disk.power_cut(Survivors::None), "file").as_deref(), Some(&b""[..]));
        disk.fail_at(6, Fault::Halt);
        assert!(file.write_at(0, b"x").is_err());
        assert!(file.write_at(0, b"x").is_err());
        assert!(disk.remove(path).is_err());
    }

    /// Guarantees that a full disk takes what fits, and that overwriting needs no space.
    #[test]
    fn a_full_disk_takes_what_fits() {
        let disk = FaultyFiles::new();
        disk.set_capacity(Some(4));
        let mut file = disk.create(Path::new("d/file")).expect("created");
        let error = file.write_at(0, b"abcdef").expect_err("no room");
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        file.write_at(0, b"wxyz").expect("overwritten");
        assert_eq!(content(&disk, "file").as_deref(), Some(&b"wxyz"[..]));
    }
}
