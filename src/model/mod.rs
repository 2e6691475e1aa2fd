//! Floor 2: the domain's nouns, without I/O, async or serde.
//!
//! Labels and matchers, histograms and slots, probe runs, objectives, alerts, and the traits behind
//! which the storage engines stand. Neighbouring floors meet through these types.

pub mod alert;
pub mod attribute;
pub mod evidence;
pub mod histogram;
pub mod labels;
pub mod matcher;
pub mod notification;
pub mod objective;
pub mod position;
pub mod probe;
pub mod routing;
pub mod series;
pub mod slot;
