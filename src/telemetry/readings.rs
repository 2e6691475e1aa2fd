//! Numbers that move by themselves (a queue's length, a courier's load) are read when somebody
//! looks, not at every move: their owner leaves a reading here.

use parking_lot::{Mutex, MutexGuard};
use std::fmt;

/// Sets some gauges from their source; false when the source is gone.
type Reading = Box<dyn Fn() -> bool + Send + Sync>;

/// All readings of a catalogue. One look at a time, so that nobody sees a half-read set.
#[derive(Default)]
pub struct Readings(Mutex<Vec<Reading>>);

impl Readings {
    /// Adds a reading; it is forgotten once it says false.
    pub fn add(&self, reading: impl Fn() -> bool + Send + Sync + 'static) {
        self.0.lock().push(Box::new(reading));
    }

    /// Takes every reading. Until the guard is dropped nobody else takes any.
    pub fn take(&self) -> impl Drop {
        let mut readings: MutexGuard<'_, _> = self.0.lock();
        readings.retain(|reading| reading());
        readings
    }
}

impl fmt::Debug for Readings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Readings").field(&self.0.lock().len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Guarantees that a reading is taken at every look until its source is gone.
    #[test]
    fn readings_end_with_their_source() {
        let readings = Readings::default();
        let source = Arc::new(AtomicU32::new(0));
        let watched = Arc::downgrade(&source);
        readings.add(move || {
            watched.upgrade().map(|count| count.fetch_add(1, Ordering::Relaxed)).is_some()
        });
        drop(readings.take());
        drop(readings.take());
        assert_eq!(source.load(Ordering::Relaxed), 2);
        drop(source);
        drop(readings.take());
        assert_eq!(format!("{readings:?}"), "Readings(0)");
    }
}
