//! The bounded queue between those who append and the writer thread of one lane.
//!
//! Room is claimed before a record is queued and given back when its [`Request`] is dropped, after
//! the commit and the hand-over to the fold; so whoever appends waits when either is slow.

use super::{AppendError, Note};
use crate::model::position::Position;
use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Records that may be queued in one lane.
const QUEUE_RECORDS: usize = 4_096;

/// Payload bytes that may be queued in one lane; the largest record fits.
const QUEUE_BYTES: usize = 96 * 1024 * 1024;

const _: () = assert!(QUEUE_BYTES >= super::MAX_RECORD_BYTES);

/// Tells one caller where the record is, or why it is nowhere.
pub(super) type Done = oneshot::Sender<Result<Position, AppendError>>;

/// A record on its way to the disk.
#[derive(Debug)]
pub(super) struct Request {
    pub bytes: Bytes,
    pub note: Note,
    pub done: Done,
    /// Held until the record is through.
    pub room: Room,
}

/// A claim on the queue's bounds.
#[derive(Debug)]
pub(super) struct Room {
    _record: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

/// The queue takes no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closed;

#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    records: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Waiting {
    requests: VecDeque<Request>,
    closed: bool,
}

// === impl Queue ===

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            waiting: Mutex::default(),
            arrived: Condvar::new(),
            records: Arc::new(Semaphore::new(QUEUE_RECORDS)),
            bytes: Arc::new(Semaphore::new(QUEUE_BYTES)),
        }
    }

    /// Waits for room, then queues the record. `bytes` has at most [`super::MAX_RECORD_BYTES`].
    pub(super) async fn push(&self, bytes: Bytes, note: Note, done: Done) -> Result<(), Closed> {
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let record = Arc::clone(&self.records).acquire_owned().await.map_err(|_| Closed)?;
        let payload = Arc::clone(&self.bytes).acquire_many_owned(size).await.map_err(|_| Closed)?;
        let room = Room { _record: record, _bytes: payload };
        let mut waiting = self.waiting.lock();
        // Under the lock: a request queued after the writer's last look would never be answered.
        if waiting.closed {
            return Err(Closed);
        }
        waiting.requests.push_back(Request { bytes, note, done, room });
        drop(waiting);
        let _ = self.arrived.notify_one();
        Ok(())
    }

    /// Waits for a request, then moves what is queued to `batch`, up to `limit` payload bytes but
    /// at least one request. False when the queue is closed and nothing is left in it.
    pub(super) fn take(&self, limit: u64, batch: &mut Vec<Request>) -> bool {
        let mut waiting = self.waiting.lock();
        while waiting.requests.is_empty() {
            if waiting.closed {
                return false;
            }
            self.arrived.wait(&mut waiting);
        }
        let mut taken = 0_u64;
        while let Some(next) = waiting.requests.front() {
            taken = taken.saturating_add(next.bytes.len() as u64);
            if taken > limit && !batch.is_empty() {
                break;
            }
            batch.extend(waiting.requests.pop_front());
        }
        true
    }

    /// Whether there is nothing to do now, but may be later.
    pub(super) fn is_idle(&self) -> bool {
        let waiting = self.waiting.lock();
        waiting.requests.is_empty() && !waiting.closed
    }

    /// Refuses further requests, also those that wait for room; what is queued can still be taken.
    pub(super) fn close(&self) {
        self.waiting.lock().closed = true;
        self.records.close();
        self.bytes.close();
        let _ = self.arrived.notify_all();
    }

    /// Drops what is queued, which answers nobody but wakes everybody.
    pub(super) fn discard(&self) {
        self.waiting.lock().requests.clear();
    }

    #[cfg(test)]
    pub(super) fn is_closed(&self) -> bool {
        self.waiting.lock().closed
    }

    /// How many requests have room: those that wait and those that are being committed.
    pub(super) fn claimed_records(&self) -> usize {
        QUEUE_RECORDS.saturating_sub(self.records.available_permits())
    }

    /// How many payload bytes they have.
    pub(super) fn claimed_bytes(&self) -> usize {
        QUEUE_BYTES.saturating_sub(self.bytes.available_permits())
    }

    /// How many requests wait.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.waiting.lock().requests.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn push(queue: &Queue, bytes: Bytes) -> Result<(), Closed> {
        queue.push(bytes, None, oneshot::channel().0).await
    }

    /// Guarantees that a batch holds what is queued in order, within the limit, but never nothing.
    #[tokio::test]
    async fn a_batch_is_bounded_and_in_order() {
        let queue = Queue::new();
        for size in [5_usize, 30, 1, 2, 90] {
            push(&queue, vec![0; size].into()).await.expect("open");
        }
        queue.close();
        let mut batches = Vec::new();
        let mut batch = Vec::new();
        while queue.take(33, &mut batch) {
            batches.push(batch.drain(..).map(|r| r.bytes.len()).collect::<Vec<_>>());
        }
        assert_eq!(batches, [vec![5], vec![30, 1, 2], vec![90]]);
    }

    /// Guarantees that a queue full of bytes makes callers wait, and that closing it refuses them.
    #[tokio::test]
    async fn a_full_queue_waits_and_a_closed_one_refuses() {
        let queue = Queue::new();
        let large = Bytes::from(vec![0; QUEUE_BYTES / 2]);
        push(&queue, large.clone()).await.expect("room");
        push(&queue, large.clone()).await.expect("room");
        let wait = tokio::time::timeout(Duration::from_millis(20), push(&queue, large.clone()));
        assert!(wait.await.is_err(), "the third must wait");
        queue.discard();
        push(&queue, large.clone()).await.expect("room again");
        push(&queue, large.clone()).await.expect("room again");
        let (refused, ()) = tokio::join!(push(&queue, large), async { queue.close() });
        assert_eq!(refused, Err(Closed));
    }
}
