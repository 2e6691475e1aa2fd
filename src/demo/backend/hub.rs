//! Rooms and what was said in them: fan-out to subscribers, the last messages for those who ask.
//!
//! A subscriber that does not keep up loses messages and is told how many; it never slows down the
//! room.

use crate::base::clock::{Clock, MonoNanos};
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::broadcast;

/// Rooms with somebody in them.
const MAX_ROOMS: usize = 256;
/// Messages that a slow subscriber of a room may be behind.
const ROOM_BACKLOG: usize = 64;
/// Messages that a slow reader of the feed may be behind.
const FEED_BACKLOG: usize = 256;
/// Messages that can be asked for.
const KEPT: usize = 1_000;

/// Something said in a room.
#[derive(Debug)]
pub(super) struct Message {
    /// Its number over all rooms, from 1.
    pub(super) sequence: u64,
    /// Its name, the sender's or ours.
    pub(super) id: String,
    /// Where it was said.
    pub(super) room: String,
    /// As JSON, as it goes to everybody.
    pub(super) json: String,
    /// When it was said.
    pub(super) at: MonoNanos,
}

/// All rooms.
#[derive(Debug)]
pub(super) struct Hub {
    clock: Clock,
    feed: broadcast::Sender<Arc<Message>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    rooms: HashMap<String, broadcast::Sender<Arc<Message>>>,
    kept: VecDeque<Arc<Message>>,
    last: u64,
}

// === impl Hub ===

impl Hub {
    pub(super) fn new(clock: Clock) -> Self {
        let (feed, _) = broadcast::channel(FEED_BACKLOG);
        Self { clock, feed, state: Mutex::default() }
    }

    /// Enters a room; `None` when there are too many.
    pub(super) fn enter(&self, room: &str) -> Option<broadcast::Receiver<Arc<Message>>> {
        let mut state = self.state.lock();
        if let Some(sender) = state.rooms.get(room) {
            return Some(sender.subscribe());
        }
        if state.rooms.len() >= MAX_ROOMS {
            state.rooms.retain(|_, sender| sender.receiver_count() > 0);
        }
        if state.rooms.len() >= MAX_ROOMS {
            return None;
        }
        let (sender, receiver) = broadcast::channel(ROOM_BACKLOG);
        let _ = state.rooms.insert(room.to_owned(), sender);
        Some(receiver)
    }

    /// Says something in a room, to everybody in it and to the feed. Without an `id` it gets one.
    pub(super) fn publish(&self, room: &str, id: Option<String>, text: &str) -> Arc<Message> {
        let mut state = self.state.lock();
        state.last += 1;
        let sequence = state.last;
        let id = id.unwrap_or_else(|| format!("m{sequence}"));
        let json = serde_json::json!({ "type": "message", "id": id, "room": room, "text": text });
        let message = Arc::new(Message {
            sequence,
            id,
            room: room.to_owned(),
            json: json.to_string(),
            at: self.clock.monotonic(),
        });
        if state.kept.len() >= KEPT {
            drop(state.kept.pop_front());
        }
        state.kept.push_back(message.clone());
        // Nobody listening is no error, here and below.
        if let Some(sender) = state.rooms.get(room) {
            let _ = sender.send(message.clone());
        }
        let _ = self.feed.send(message.clone());
        message
    }

    /// The latest message of that name among those kept.
    pub(super) fn find(&self, id: &str) -> Option<Arc<Message>> {
        self.state.lock().kept.iter().rev().find(|message| message.id == id).cloned()
    }

    /// The last `most` messages of a room among those kept, oldest first.
    pub(super) fn history(&self, room: &str, most: usize) -> Vec<Arc<Message>> {
        let state = self.state.lock();
        let of_room = state.kept.iter().rev().filter(|message| message.room == room);
        let mut found: Vec<_> = of_room.take(most).cloned().collect();
        found.reverse();
        found
    }

    /// The number of the last message.
    pub(super) fn last(&self) -> u64 {
        self.state.lock().last
    }

    /// The feed from now on, and the kept messages after number `after`, without a gap between.
    pub(super) fn follow(
        &self,
        after: Option<u64>,
    ) -> (Vec<Arc<Message>>, broadcast::Receiver<Arc<Message>>) {
        let state = self.state.lock();
        let missed = match after {
            Some(after) => {
                state.kept.iter().filter(|message| message.sequence > after).cloned().collect()
            }
            None => Vec::new(),
        };
        (missed, self.feed.subscribe())
    }
}
