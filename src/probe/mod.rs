//! Floor 5: schedules probes, runs them, measures, and hands each run to a bounded channel.
//!
//! Knows nothing of SLOs or storage. The definition is [`spec`]; `config/` makes it from YAML.
//! [`run_once`] carries out one run; a [`Scheduler`] releases runs at their slots.
//!
//! How a run measures:
//! - it dials for itself, so that every phase is stamped on the monotonic clock right after the
//!   system call that ended it (`connection`, `dial`);
//! - phases follow one another, never overlap, and are absent when they were not completed;
//! - one deadline holds for the whole run and is checked at every wait (`deadline`);
//! - messages of open streams are stamped on arrival, whatever step is running (`stream`), and the
//!   value of a message step is the time from the send to the read that completed the match, also
//!   where that read was over before the step looked;
//! - a message for many is measured at each of its receivers (`fanout`);
//! - numbered messages are on books that show exactly what was lost, doubled or out of order (`ledger`);
//! - nothing is written to a target that the allow-list does not name (`writes`);
//! - a run that must clean up is announced before it begins, so that it is cleaned up after a kill
//!   (`intents`);
//! - a definition for many targets becomes an instance for each of them ([`instances`]);
//! - a run knows how far its own runtime may have spoilt the value (`stall`);
//! - where a definition asks for it, all of that happens over an emulated network ([`network`]).
//!
//! What a run measures too much is found out against servers that know the truth ([`mod@reference`]).
//!
//! To add a protocol: one file here with an `open` or `run`, one arm in `journey`, one in `spec`.

mod addresses;
mod awaited;
pub mod blackbox;
mod certificate;
mod check;
mod connection;
pub mod cron;
mod datagrams;
mod deadline;
mod dial;
pub mod dns;
pub mod exec;
mod executor;
mod expect;
mod failure;
mod fallback;
pub mod fanout;
pub mod grpc;
pub mod guard;
mod heartbeat;
mod held;
mod http;
mod http3;
mod http_exchange;
pub mod icmp;
mod inbox;
pub mod inspection;
pub mod instances;
mod intents;
mod journey;
mod json_match;
pub mod ledger;
pub mod limits;
mod link;
mod lookup;
pub mod maintenance;
pub mod marking;
pub mod mqtt;
pub mod network;
mod on_demand;
mod opening;
mod outage;
mod plan;
mod poll;
mod reconnect;
mod record;
pub mod reference;
mod runner;
mod schedule;
mod scheduler;
mod socket;
pub mod spec;
mod sse;
mod stall;
mod stamps;
mod stream;
mod stun;
mod stun_message;
mod target;
mod tcp;
mod template;
#[cfg(test)]
mod tests;
mod tls;
mod tls_handshake;
pub mod turn;
mod udp;
mod webrtc;
mod websocket;
pub mod writes;

#[cfg(test)]
pub(crate) use plan::{ClockState, Plan, Release};

pub use executor::MAX_CONCURRENT_RUNS;
pub use intents::{Intent, Register};
pub use journey::CLEANUP_TIMEOUT;
pub use on_demand::{MAX_ON_DEMAND_RUNS, OnDemand, OnDemandError};
pub use runner::{Context, SlotStart, run_once};
pub use schedule::{longest_interval, next_slots};
pub use scheduler::{RunNowError, Scheduler, SchedulerError};
pub use template::{unknown_variables, uses_target};
pub use tls::check_authorities;
