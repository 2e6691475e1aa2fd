//! Floor 9: HTTP: JSON API, metrics and page; the only place that knows our own JSON.

pub mod page;
pub mod views;
