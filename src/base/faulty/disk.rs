//! The state of the disk in memory: contents and names, each as written and as durable.

use super::{Fault, Survivors};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// A disk writes this many bytes or none of them.
const SECTOR_BYTES: usize = 512;

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub nodes: Vec<Node>,
    /// Names as a process sees them, and as they are on the disk.
    pub names: BTreeMap<PathBuf, usize>,
    pub durable_names: BTreeMap<PathBuf, usize>,
    pub pending: Vec<(PathBuf, NameChange)>,
    pub fault: Option<(u64, Fault)>,
    pub halted: bool,
    pub operations: u64,
    pub flushes: u64,
    pub capacity: Option<u64>,
    pub flushes_are_held: bool,
}

/// A file.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    pub written: Vec<u8>,
    pub durable: Vec<u8>,
    /// A flush failed: the operating system has dropped the pages and will not write them again.
    pub lossy: bool,
}

/// What became of a name since its directory was flushed.
#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Link(usize),
    Unlink,
    RenameTo(PathBuf),
}

// === impl Disk ===

impl Disk {
    /// Counts an operation, and fails it when it is to fail.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        self.fault_now().map_or(Ok(()), |fault| Err(fault.error()))
    }

    /// Counts an operation; tells how it is to fail.
    pub(super) fn fault_now(&mut self) -> Option<Fault> {
        self.operations += 1;
        let due = self.fault.filter(|(operation, _)| *operation == self.operations);
        let fault = due.map(|(_, fault)| fault).or(self.halted.then_some(Fault::Halt))?;
        self.halted |= fault == Fault::Halt;
        Some(fault)
    }

    /// Bytes of all files that have a name.
    pub(super) fn used_bytes(&self) -> u64 {
        let nodes = self.names.values().filter_map(|node| self.nodes.get(*node));
        nodes.map(|node| node.written.len() as u64).sum()
    }

    /// How many of `bytes` that lengthen a file still fit.
    pub(super) fn room_for(&self, bytes: usize) -> usize {
        let free = self.capacity.map(|capacity| capacity.saturating_sub(self.used_bytes()));
        free.map_or(bytes, |free| usize::try_from(free).unwrap_or(usize::MAX).min(bytes))
    }

    /// Gives or takes a name, not yet durably.
    pub(super) fn change_name(&mut self, path: &Path, change: NameChange) {
        change.apply(path, &mut self.names);
        self.pending.push((path.to_owned(), change));
    }

    /// Makes the names of a directory durable.
    pub(super) fn flush_names(&mut self, dir: &Path) {
        let pending = std::mem::take(&mut self.pending);
        let here = |(path, _): &(PathBuf, NameChange)| path.parent() == Some(dir);
        let (flushed, kept): (Vec<_>, Vec<_>) = pending.into_iter().partition(here);
        self.pending = kept;
        for (path, change) in flushed {
            change.apply(&path, &mut self.durable_names);
        }
    }

    /// What a power cut leaves, without faults.
    pub(super) fn after_power_cut(&self, survivors: Survivors) -> Self {
        let mut random = StdRng::seed_from_u64(match survivors {
            Survivors::Some(seed) => seed,
            Survivors::None | Survivors::All => 0,
        });
        let kept_changes = match survivors {
            Survivors::None => 0,
            Survivors::All => self.pending.len(),
            Survivors::Some(_) => random.random_range(0..=self.pending.len()),
        };
        let mut names = self.durable_names.clone();
        for (path, change) in self.pending.iter().take(kept_changes) {
            change.apply(path, &mut names);
        }
        let nodes = self.nodes.iter().map(|node| node.after_power_cut(survivors, &mut random));
        let durable_names = names.clone();
        Self { nodes: nodes.collect(), durable_names, names, ..Self::default() }
    }

    pub(super) fn node(&mut self, id: usize) -> io::Result<&mut Node> {
        self.nodes.get_mut(id).ok_or_else(|| ErrorKind::NotFound.into())
    }
}

// === impl Fault ===

impl Fault {
    pub(super) fn error(self) -> io::Error {
        match self {
            Self::Full => ErrorKind::StorageFull.into(),
            Self::Fail | Self::Tear | Self::Halt => io::Error::other("injected fault"),
        }
    }
}

// === impl NameChange ===

impl NameChange {
    pub(super) fn apply(&self, path: &Path, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Link(node) => {
                let _ = names.insert(path.to_owned(), *node);
            }
            Self::Unlink => {
                let _ = names.remove(path);
            }
            Self::RenameTo(to) => {
                if let Some(node) = names.remove(path) {
                    let _ = names.insert(to.clone(), node);
                }
            }
        }
    }
}

// === impl Node ===

impl Node {
    fn after_power_cut(&self, survivors: Survivors, random: &mut StdRng) -> Self {
        let content = match survivors {
            Survivors::None => self.durable.clone(),
            Survivors::All => self.written.clone(),
            Survivors::Some(_) => self.mixed(random),
        };
        Self { written: content.clone(), durable: content, lossy: false }
    }

    /// Each sector as written or as durable, and one of both lengths.
    fn mixed(&self, random: &mut StdRng) -> Vec<u8> {
        let mut content = self.durable.clone();
        let newer_length = self.written.len() != content.len() && random.random();
        if newer_length {
            content.resize(self.written.len(), 0);
        }
        for (old, new) in content.chunks_mut(SECTOR_BYTES).zip(self.written.chunks(SECTOR_BYTES)) {
            if random.random() {
                old.iter_mut().zip(new).for_each(|(old, new)| *old = *new);
            }
        }
        content
    }

    pub(super) fn overwrite(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset.saturating_add(bytes.len());
        if self.written.len() < end {
            self.written.resize(end, 0);
        }
        if let Some(target) = self.written.get_mut(offset..end) {
            target.copy_from_slice(bytes);
        }
    }
}
