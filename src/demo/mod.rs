//! Floor 12: the demo world, started by `radiosonde demo`.
//!
//! A sample real-time back end ([`start_backend`]), a fleet of simulated phones that report through
//! the real OpenTelemetry SDK ([`Phones`]), a [`Script`] that breaks things through shared
//! [`Conditions`], a pager that prints what the daemon sends ([`receiver()`]), and the [`World`]
//! that puts them around a daemon. Nothing here knows how a daemon is made: [`World::run`] takes a
//! hook. Everything is on loopback, seeded, bounded, and gone when it ends.

mod backend;
mod cohort;
mod conditions;
mod files;
mod loopback;
mod narrator;
mod phones;
mod receiver;
mod script;
mod world;

pub use backend::{
    DEFAULT_ADDRESS, DEFAULT_MQTT_ADDRESS, REGION_HEADER, start_backend, start_mqtt,
};
pub use backend::{NAMES_ADDRESS, SECURE_ADDRESS, TwinSockets, start_names, start_secure};
pub use cohort::{Cohort, Network, Os, Region, Release};
pub use conditions::{Conditions, Fault};
pub use files::{BURN, ROUTES, WINDOW, aimed_at, embedded, overrides, redirect};
pub use loopback::ClientError;
pub use narrator::{Narrator, Tone};
pub use phones::{APP, Fleet, Phones, PhonesError, REGION_ATTRIBUTE, UplinkError};
pub use receiver::receiver;
pub use script::{Episode, Script};
pub use world::{BoxError, DemoError, Launch, Settings, Started, World};
