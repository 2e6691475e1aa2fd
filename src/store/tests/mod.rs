//! Read models against brute force: sums over the very events that they were given.

mod head;
mod windows;
