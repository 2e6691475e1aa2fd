//! The data folder: its lock, the checkpoint, the key that hashes identities.
//!
//! ```text
//! data/lock               held while a daemon runs on the folder
//! data/identity.key       16 random bytes
//! data/checkpoint         the newest checkpoint; checkpoint.previous the one before
//! data/journal/  data/history/  data/dedupe/
//! ```
//! A checkpoint file: magic `RSCP`, format version (u32), crc32c of the rest (u32), then the
//! zstd-compressed `wire::state::CheckpointState`; integers little-endian. It is written beside, made
//! durable, and renamed, so that there is always a whole one. All but the lock and the
//! folder itself goes through [`Files`], so that tests can let any step of it fail.

use crate::base::files::Files;
use crate::wire::state::{CheckpointState, VERSION};
use prost::Message;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MAGIC: [u8; 4] = *b"RSCP";
const HEADER: usize = 12;
/// A checkpoint that claims to be larger than this when inflated is corrupt.
const MAX_STATE_BYTES: usize = 4 << 30;

/// The data folder, locked for this process.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    files: Arc<dyn Files>,
    /// The operating system's own, whatever `files` is: it must go with the process.
    _lock: File,
}

/// Why the data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process holds it.
    #[error("another radiosonde runs on {0}; stop it, or choose another folder with --data")]
    Locked(PathBuf),
    /// The operating system refuses.
    #[error("{doing} {path} failed; check that the folder is writable and the disk not full")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Written by a newer version.
    #[error(
        "{path} has format version {found}, this build reads up to {VERSION}: upgrade radiosonde"
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

impl DataDir {
    /// Creates the folder if need be, and locks it. What is in it is read and written through
    /// `files`.
    ///
    /// # Errors
    /// When another process holds it or it cannot be written.
    pub fn open(path: &Path, files: Arc<dyn Files>) -> Result<Self, DataDirError> {
        let error = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| DataDirError::Io { doing, path, source }
        };
        fs::create_dir_all(path).map_err(error("creating", path))?;
        let file = path.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&file)
            .map_err(error("opening", &file))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), files, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::Locked(path.to_owned())),
            Err(TryLockError::Error(source)) => Err(error("locking", &file)(source)),
        }
    }

    /// Through which everything in it is read and written.
    #[must_use]
    pub fn files(&self) -> &dyn Files {
        &*self.files
    }

    /// A folder in it.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The key with which installation and session ids are hashed; made at the first call.
    ///
    /// # Errors
    /// When it can be neither read nor written.
    pub fn identity_key(&self) -> Result<[u8; 16], DataDirError> {
        let path = self.path.join("identity.key");
        match self.files.read(&path).map(<[u8; 16]>::try_from) {
            Ok(Ok(key)) => return Ok(key),
            // Cut off while it was made, before anything was hashed with it.
            Ok(Err(_)) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(DataDirError::Io { doing: "reading", path, source }),
        }
        let key: [u8; 16] = rand::random();
        self.write_durably(&path, &key)
            .and_then(|()| self.files.sync_dir(&self.path))
            .map_err(|source| DataDirError::Io { doing: "writing", path, source })?;
        Ok(key)
    }

    /// Writes a checkpoint; it replaces the one before in one step. Returns its bytes.
    ///
    /// # Errors
    /// When it cannot be made durable; the one before still stands then.
    pub fn write_checkpoint(&self, state: &CheckpointState) -> Result<u64, DataDirError> {
        let path = self.path.join("checkpoint");
        let failed = |source| DataDirError::Io { doing: "writing", path: path.clone(), source };
        let packed = zstd::encode_all(state.encode_to_vec().as_slice(), 1).map_err(failed)?;
        let mut bytes = Vec::with_capacity(HEADER + packed.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&state.version.to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(&packed).to_le_bytes());
        bytes.extend_from_slice(&packed);
        let (new, previous) = (path.with_extension("new"), path.with_extension("previous"));
        self.write_durably(&new, &bytes).map_err(failed)?;
        match self.files.rename(&path, &previous) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        self.files.rename(&new, &path).map_err(failed)?;
        self.files.sync_dir(&self.path).map_err(failed)?;
        Ok(bytes.len() as u64)
    }

    /// The newest whole checkpoint; none when there is none yet. A corrupt one is passed over with a
    /// warning, the one before is used.
    ///
    /// # Errors
    /// When it was written by a newer version, or cannot be read.
    pub fn read_checkpoint(&self) -> Result<Option<CheckpointState>, DataDirError> {
        for name in ["checkpoint", "checkpoint.previous"] {
            let path = self.path.join(name);
            let bytes = match self.files.read(&path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(DataDirError::Io { doing: "reading", path, source }),
            };
            match decode(&bytes) {
                Ok(state) if state.version > VERSION => {
                    return Err(DataDirError::Newer { path, found: state.version });
                }
                Ok(state) => return Ok(Some(state)),
                Err(reason) => {
                    tracing::warn!(file = %path.display(), reason, "a checkpoint is corrupt and passed over");
                }
            }
        }
        Ok(None)
    }

    /// Content before name: the caller makes the name durable.
    fn write_durably(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        // After a failed flush nothing is known of a file, whatever later ones say: never the same one
        // twice.
        match self.files.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = self.files.create(path)?;
        file.write_at(0, bytes)?;
        file.sync_data()
    }
}

/// Removes a data folder that nobody holds any more, with all that is in it.
///
/// # Errors
/// When the operating system refuses.
pub fn remove(path: &Path) -> io::Result<()> {
    fs::remove_dir_all(path)
}

fn decode(bytes: &[u8]) -> Result<CheckpointState, &'static str> {
    let (header, packed) = bytes.split_at_checked(HEADER).ok_or("it is too short")?;
    let (magic, rest) = header.split_at_checked(4).ok_or("it is too short")?;
    let (version, crc) = rest.split_at_checked(4).ok_or("it is too short")?;
    if magic != MAGIC {
        return Err("it does not begin as a checkpoint does");
    }
    let number = |bytes: &[u8]| bytes.try_into().map(u32::from_le_bytes).unwrap_or(0);
    if number(version) > VERSION {
        return Ok(CheckpointState { version: number(version), ..CheckpointState::default() });
    }
    if number(crc) != crc32c::crc32c(packed) {
        return Err("its checksum does not match");
    }
    let mut state = Vec::new();
    zstd::Decoder::new(packed)
        .and_then(|decoder| decoder.take(MAX_STATE_BYTES as u64).read_to_end(&mut state))
        .map_err(|_| "it does not inflate")?;
    CheckpointState::decode(state.as_slice()).map_err(|_| "it does not decode")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::faulty::{Fault, FaultyFiles, Survivors};

    fn state(epoch: u64) -> CheckpointState {
        CheckpointState { version: VERSION, epoch, ..CheckpointState::default() }
    }

    fn open(path: &Path, disk: &FaultyFiles) -> Result<DataDir, DataDirError> {
        DataDir::open(path, Arc::new(disk.clone()))
    }

    fn epoch_of(data: &DataDir) -> u64 {
        data.read_checkpoint().expect("readable").map_or(0, |state| state.epoch)
    }

    /// Guarantees that the newest whole checkpoint is used, a corrupt one never, a newer one refused,
    /// and that a second process is kept out.
    #[test]
    fn the_newest_whole_checkpoint_counts() {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = FaultyFiles::new();
        let data = open(dir.path(), &disk).expect("opens");
        assert!(matches!(open(dir.path(), &disk), Err(DataDirError::Locked(_))));
        assert_eq!(data.read_checkpoint().expect("readable"), None);
        for epoch in 1..=3 {
            let _bytes = data.write_checkpoint(&state(epoch)).expect("written");
        }
        assert_eq!(data.read_checkpoint().expect("readable"), Some(state(3)));
        let file = dir.path().join("checkpoint");
        assert!(disk.rot(&file, HEADER));
        assert_eq!(epoch_of(&data), 2);
        assert!(disk.rot(&file, 4));
        assert!(matches!(data.read_checkpoint(), Err(DataDirError::Newer { .. })));
    }

    /// Guarantees, for every step of writing that can fail or be torn and for whatever a power cut
    /// then leaves, that a whole checkpoint is found, none older than the one acknowledged last, and
    /// that the next one can be written.
    #[test]
    fn an_acknowledged_checkpoint_survives_any_fault() {
        let dir = tempfile::tempdir().expect("a directory");
        let workload = |disk: &FaultyFiles| {
            let data = open(dir.path(), disk).expect("opens");
            let written = (1..=4).map(|epoch| data.write_checkpoint(&state(epoch)).map(|_| epoch));
            written.flatten().last().unwrap_or(0)
        };
        let sound = FaultyFiles::new();
        assert_eq!(workload(&sound), 4);
        assert!(sound.operations() >= 20);
        for operation in 1..=sound.operations() {
            for fault in [Fault::Fail, Fault::Tear, Fault::Full, Fault::Halt] {
                let disk = FaultyFiles::new();
                disk.fail_at(operation, fault);
                let acknowledged = workload(&disk);
                for survivors in [
                    Survivors::None,
                    Survivors::All,
                    Survivors::Some(operation),
                    Survivors::Some(0),
                ] {
                    let context = format!("{operation} {fault:?} {survivors:?}");
                    let data = open(dir.path(), &disk.power_cut(survivors)).expect("opens");
                    let found = epoch_of(&data);
                    assert!((acknowledged..=4).contains(&found), "{context}: {found}");
                    let _bytes = data.write_checkpoint(&state(9)).expect("written");
                    assert_eq!(epoch_of(&data), 9, "{context}");
                }
            }
        }
    }

    /// Guarantees that the key by which identities are hashed is the same ever after it was handed
    /// out, and made anew when a power cut came before that.
    #[test]
    fn the_identity_key_stays() {
        let dir = tempfile::tempdir().expect("a directory");
        for operation in 0..=4 {
            let disk = FaultyFiles::new();
            disk.fail_at(operation, Fault::Tear);
            let before = open(dir.path(), &disk).expect("opens").identity_key().ok();
            for survivors in [Survivors::None, Survivors::All] {
                let data = open(dir.path(), &disk.power_cut(survivors)).expect("opens");
                let key = data.identity_key().expect("a key");
                assert_eq!(data.identity_key().expect("the same"), key);
                assert!(before.is_none_or(|before| before == key), "{operation}");
            }
        }
    }
}
