//! The files of one lane: what they are called, and the steps by which one comes, is opened and
//! goes. Each step is durable when it returns.

use super::JournalError;
use super::active::Active;
use super::format::{HEADER_BYTES, HeaderError, Seed, SegmentHeader};
use crate::base::clock::UnixNanos;
use crate::base::files::{FileHandle, Files};
use crate::model::position::Lane;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

/// Segments are numbered from here.
pub(super) const FIRST_SEGMENT: u64 = 1;

/// The place of one lane on disk.
#[derive(Clone, Debug)]
pub(super) struct LaneFiles {
    pub files: Arc<dyn Files>,
    pub dir: PathBuf,
    pub lane: Lane,
}

// === impl LaneFiles ===

impl LaneFiles {
    /// The file of a segment: `control-0000000000000001.log`.
    pub(super) fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{}-{number:016}.log", self.lane.as_str()))
    }

    /// The file that claims space ahead; no number, so never taken for a segment.
    pub(super) fn reserve_path(&self) -> PathBuf {
        self.dir.join(format!("{}-reserve.log", self.lane.as_str()))
    }

    /// The numbers of the segments that are there, rising.
    pub(super) fn numbers(&self) -> Result<Vec<u64>, JournalError> {
        let names = self.files.list(&self.dir).map_err(JournalError::io("list", &self.dir))?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| self.number(name)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn number(&self, name: &str) -> Option<u64> {
        let digits =
            name.strip_prefix(self.lane.as_str())?.strip_prefix('-')?.strip_suffix(".log")?;
        let all_digits = digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|_| all_digits)
    }

    /// Opens a segment; with its length.
    pub(super) fn open(&self, number: u64) -> Result<(Box<dyn FileHandle>, u64), JournalError> {
        let path = self.path(number);
        let file = self.files.open(&path).map_err(JournalError::io("open", &path))?;
        let size = file.size().map_err(JournalError::io("measure", &path))?;
        Ok((file, size))
    }

    /// Reads the header of an open segment; none when it is damaged or another segment's.
    pub(super) fn header(
        &self,
        number: u64,
        file: &mut dyn FileHandle,
    ) -> Result<Option<(SegmentHeader, Seed)>, JournalError> {
        let mut bytes = [0; HEADER_BYTES as usize];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let path = self.path(number);
            match file.read_at(filled as u64, rest).map_err(JournalError::io("read", &path))? {
                0 => break,
                read => filled += read,
            }
        }
        match SegmentHeader::decode(bytes.get(..filled).unwrap_or_default()) {
            Ok((header, seed)) if header.number == number && header.lane == self.lane => {
                Ok(Some((header, seed)))
            }
            Ok(_) | Err(HeaderError::Damaged) => Ok(None),
            Err(HeaderError::Newer(version)) => {
                Err(JournalError::Newer { file: self.path(number), version })
            }
        }
    }

    /// Creates a segment.
    pub(super) fn create(&self, number: u64, now: UnixNanos) -> Result<Active, JournalError> {
        let path = self.path(number);
        let mut file = self.files.create(&path).map_err(JournalError::io("create", &path))?;
        let header = SegmentHeader { lane: self.lane, number, created_at: now };
        let (bytes, seed) = header.encode();
        if let Err(error) = file.write_at(0, &bytes) {
            // An empty leftover would do no harm, but stay until the next start.
            let _ = self.files.remove(&path);
            return Err(JournalError::io("write", &path)(error));
        }
        file.sync_data().map_err(JournalError::sync(&path))?;
        self.sync_dir()?;
        Ok(Active::new(file, path, number, seed, HEADER_BYTES, HEADER_BYTES))
    }

    /// Makes a segment of the reserve, which has `size` bytes.
    pub(super) fn adopt_reserve(
        &self,
        mut file: Box<dyn FileHandle>,
        size: u64,
        number: u64,
        now: UnixNanos,
    ) -> Result<Active, JournalError> {
        let (reserve, path) = (self.reserve_path(), self.path(number));
        let (bytes, seed) = SegmentHeader { lane: self.lane, number, created_at: now }.encode();
        // The header first: a segment without one would be taken for a creation that was cut off.
        file.write_at(0, &bytes).map_err(JournalError::io("write", &reserve))?;
        file.sync_data().map_err(JournalError::sync(&reserve))?;
        self.files.rename(&reserve, &path).map_err(JournalError::io("rename", &reserve))?;
        self.sync_dir()?;
        Ok(Active::new(file, path, number, seed, HEADER_BYTES, size.max(HEADER_BYTES)))
    }

    /// Removes a segment; one that is gone already is no error.
    pub(super) fn remove(&self, number: u64) -> Result<(), JournalError> {
        let path = self.path(number);
        match self.files.remove(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(JournalError::io("remove", &path)(error))
            }
            // Each removal by itself, or a power cut could leave a hole between older and newer.
            _ => self.sync_dir(),
        }
    }

    pub(super) fn sync_dir(&self) -> Result<(), JournalError> {
        self.files.sync_dir(&self.dir).map_err(JournalError::sync(&self.dir))
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::SystemFiles;
    use super::*;

    /// Guarantees that only names of this lane's segments are taken for segments.
    #[test]
    fn only_its_own_names_are_segments() {
        let lane = LaneFiles {
            files: Arc::new(SystemFiles),
            dir: PathBuf::from("data"),
            lane: Lane::Control,
        };
        let check = |name: &str, expected: Option<u64>| assert_eq!(lane.number(name), expected);
        check("control-0000000000000042.log", Some(42));
        check("bulk-0000000000000042.log", None);
        check("control-42.log", None);
        check("control-+000000000000042.log", None);
        check("control-reserve.log", None);
        check("control-0000000000000042.log.old", None);
        assert_eq!(lane.path(42), PathBuf::from("data/control-0000000000000042.log"));
    }
}
