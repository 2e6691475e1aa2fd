//! The network through which a probe runs, and networks of one's own.
//!
//! ```yaml
//! probes:
//!   - name: mobile-echo
//!     network: lte                     # or lte+handover+bufferbloat
//!     # network: { profile: lte, with: [ handover, bufferbloat ], seed: 7 }
//! networks:                            # in any file
//!   - name: subway
//!     latency: 120ms                   # there and back
//!     jitter: 30ms                     # later by up to this, one way, an eighth of the time; 0ms unless given
//!     down: 1500kbit                   # a second
//!     up: 750kbit
//!     loss: 0.5%                       # of packets, each way; 0% unless given
//!     source: "line U2, our own drive test"
//! ```

use super::fields::{Context, Fields};
use super::names::suggestion;
use super::scalar::{quoted, written};
use super::settings::Settings;
use super::tree::{Node, Place, Value};
use crate::probe::network::profile::{OVERLAYS, PROFILES, Profile};
use crate::probe::network::{Network, NetworkError};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

/// No packet is under way for longer.
const MAX_LATENCY: Duration = Duration::from_secs(30);
/// Slower than any modem and faster than any phone, bits per second.
const RATES: RangeInclusive<u64> = 1_000..=10_000_000_000;
/// With more than half of all packets lost, nothing is left to measure.
const MAX_LOSS_PPM: u32 = 500_000;

const RATE_UNITS: [(&str, u64); 3] =
    [("kbit", 1_000), ("mbit", 1_000_000), ("gbit", 1_000_000_000)];

/// A name that is no network: what is wrong, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownNetwork {
    /// Lower case, without a full stop.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// Networks of the user's own, by name; `None` where something is wrong with one.
#[derive(Debug, Default)]
pub(super) struct Networks {
    named: BTreeMap<String, (Place, Option<Profile>)>,
}

// === impl Networks ===

impl Networks {
    /// Reads all networks of all files.
    pub(super) fn read(cx: &Context<'_>, nodes: &[Rc<Node>]) -> Self {
        let mut networks = Self::default();
        for node in nodes {
            let before = cx.problems.count();
            let read = cx.fields(node, "a network", |fields| {
                let name = fields.need("name", "subway").and_then(|node| cx.name(node, "name"));
                let at = fields.at("name");
                let profile = profile(fields, name.as_deref());
                Some((name?, at, profile))
            });
            let Some((name, at, profile)) = read.flatten() else { continue };
            let profile = profile.filter(|_| cx.problems.count() == before);
            networks.add(cx, name, at, profile);
        }
        networks
    }

    /// Those without mistakes.
    pub(super) fn profiles(&self) -> Vec<Profile> {
        self.named.values().filter_map(|(_, profile)| profile.clone()).collect()
    }

    /// `lte`, `lte+handover`, or `{ profile: lte, with: [ handover ], seed: 7 }`.
    pub(super) fn network(&self, cx: &Context<'_>, node: &Node) -> Option<Network> {
        if !matches!(node.value, Value::Map(_)) {
            return self.named(cx, node, "network");
        }
        cx.fields(node, "a network of a probe", |fields| {
            let profile = fields.need("profile", "lte");
            let network = profile.and_then(|node| self.named(cx, node, "profile"));
            let overlays = fields.get("with").map(|node| cx.one_or_many(node)).unwrap_or_default();
            let seed = fields.integer("seed", 0..=u64::MAX);
            let mut network = network?;
            for node in overlays {
                let laid = network.lay_over(cx.text(node, "with")?);
                laid.map_err(|error| report(cx, node, &explain(&error, &[]))).ok()?;
            }
            Some(Network { seed, ..network })
        })
        .flatten()
    }

    fn named(&self, cx: &Context<'_>, node: &Node, key: &str) -> Option<Network> {
        let name = cx.text(node, key)?;
        let profiles = self.profiles();
        match Network::named(name, &profiles) {
            Ok(network) => Some(network),
            // What is wrong with its definition, or keeps that from being read, is told there.
            Err(NetworkError::Profile(name))
                if self.named.contains_key(&name) || !cx.is_whole.get() =>
            {
                None
            }
            Err(error) => {
                report(cx, node, &explain(&error, &profiles));
                None
            }
        }
    }

    fn add(&mut self, cx: &Context<'_>, name: String, at: Place, profile: Option<Profile>) {
        if PROFILES.iter().any(|built_in| built_in.name == name) {
            let message = format!("the network `{name}` is built in");
            cx.problems.wrong_hint(at, message, "choose another name");
        } else if let Some((other, _)) = self.named.get(&name) {
            let message = format!("there are two networks `{name}`");
            let hint = format!("the other is at {}", cx.files.display(*other));
            cx.problems.wrong_hint(at, message, hint);
        } else {
            let _ = self.named.insert(name, (at, profile));
        }
    }
}

// === impl Settings ===

impl Settings {
    /// The network of that name, `lte` or `subway+handover`, built in or of the files.
    ///
    /// # Errors
    /// When there is none.
    pub fn network(&self, name: &str) -> Result<Network, UnknownNetwork> {
        Network::named(name, &self.networks).map_err(|error| explain(&error, &self.networks))
    }
}

/// The error in words, with the name that was probably meant.
fn explain(error: &NetworkError, own: &[Profile]) -> UnknownNetwork {
    let own = own.iter().map(|profile| &*profile.name);
    let profiles: Vec<&str> = PROFILES.iter().map(|profile| &*profile.name).chain(own).collect();
    let overlays: Vec<&str> = OVERLAYS.iter().map(|overlay| overlay.name).collect();
    let (message, hint) = match error {
        NetworkError::Profile(name) if overlays.contains(&name.as_str()) => (
            format!("`{name}` is no network, but something laid over one"),
            format!("for example lte+{name}"),
        ),
        NetworkError::Profile(name) => (
            format!("there is no network `{}`", quoted(name)),
            suggestion(name, &profiles, "network"),
        ),
        NetworkError::Overlay(name) => (
            format!("nothing called `{}` can be laid over a network", quoted(name)),
            suggestion(name, &overlays, "overlay"),
        ),
        NetworkError::Twice(name) => {
            (format!("`{name}` is laid over the network twice"), "once is enough".to_owned())
        }
    };
    UnknownNetwork { message, hint }
}

fn report(cx: &Context<'_>, node: &Node, unknown: &UnknownNetwork) {
    cx.problems.wrong_hint(node.at, unknown.message.clone(), unknown.hint.clone());
}

/// A network under that name.
fn profile(fields: &mut Fields<'_>, name: Option<&str>) -> Option<Profile> {
    let cx = fields.cx;
    let span = Duration::ZERO..=MAX_LATENCY;
    let latency = fields.need("latency", "120ms");
    let latency = latency.and_then(|node| cx.duration(node, "latency", span.clone()));
    let jitter = fields.duration("jitter", span).unwrap_or_default();
    let down = fields.need("down", "1500kbit").and_then(|node| cx.rate(node, "down"));
    let up = fields.need("up", "750kbit").and_then(|node| cx.rate(node, "up"));
    let loss = fields.get("loss").map_or(Some(0), |node| cx.loss_ppm(node, "loss"));
    let source = fields.text("source").unwrap_or_else(|| "the configuration".to_owned());
    Some(Profile {
        name: name?.to_owned().into(),
        round_trip: latency?,
        jitter,
        down_bits: down?,
        up_bits: up?,
        loss_ppm: loss?,
        source: source.into(),
    })
}

// === impl Context ===

impl Context<'_> {
    /// Warns of a timeout within which nothing can be answered over the network.
    pub(super) fn warn_if_hasty(&self, network: &Network, timeout: Duration, at: Place) {
        let least = network.profile.round_trip * 2;
        if timeout < least {
            let message = format!("no run can be done within its timeout over {network}");
            let (timeout, least) = (written(timeout), written(least));
            let hint = format!("connecting and one answer take {least}, the timeout is {timeout}");
            self.problems.warn(at, message, hint);
        }
    }

    /// Bits per second: `750kbit`, `12Mbit`; a `/s` may follow.
    fn rate(&self, node: &Node, key: &str) -> Option<u64> {
        let text = self.text(node, key)?;
        let rate = parse_rate(text).filter(|rate| RATES.contains(rate));
        if rate.is_none() {
            let message = format!("`{key}` cannot be `{}`", quoted(text));
            let hint = "write a whole number and a unit, from 1kbit to 10Gbit, for example 12Mbit";
            self.problems.wrong_hint(node.at, message, hint);
        }
        rate
    }

    /// A share from 0% to half, in parts per million.
    fn loss_ppm(&self, node: &Node, key: &str) -> Option<u32> {
        let text = self.text(node, key)?;
        let loss = parse_ppm(text).filter(|ppm| *ppm <= MAX_LOSS_PPM);
        if loss.is_none() {
            let message = format!("`{key}` cannot be `{}`", quoted(text));
            self.problems.wrong_hint(node.at, message, "from 0% to 50%, for example 0.5%");
        }
        loss
    }
}

fn parse_rate(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let written = lower.strip_suffix("/s").unwrap_or(&lower);
    let (unit, size) = RATE_UNITS.iter().find(|(unit, _)| written.ends_with(unit))?;
    let number = written.strip_suffix(unit)?.trim_end();
    number.parse::<u64>().ok()?.checked_mul(*size)
}

/// `0.5%` is 5000: up to four decimals, exactly.
fn parse_ppm(text: &str) -> Option<u32> {
    const DECIMALS: usize = 4;
    let percent = text.strip_suffix('%')?.trim_end();
    let (whole, decimals) = percent.split_once('.').unwrap_or((percent, ""));
    let are_digits = percent.chars().all(|c| c.is_ascii_digit() || c == '.');
    if !are_digits || whole.is_empty() || decimals.len() > DECIMALS {
        return None;
    }
    format!("{whole}{decimals:0<DECIMALS$}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that rates and shares are read exactly, and nothing that looks like them.
    #[test]
    fn rates_and_shares_are_exact() {
        assert_eq!(parse_rate("1500kbit"), Some(1_500_000));
        assert_eq!(parse_rate("12 Mbit/s"), Some(12_000_000));
        assert_eq!(parse_rate("1gbit"), Some(1_000_000_000));
        for wrong in ["", "12", "kbit", "1.5Mbit", "-1kbit", "12MB", "99999999999999999999kbit"] {
            assert_eq!(parse_rate(wrong), None, "{wrong}");
        }
        assert_eq!(parse_ppm("0%"), Some(0));
        assert_eq!(parse_ppm("0.5%"), Some(5_000));
        assert_eq!(parse_ppm("0.0001 %"), Some(1));
        assert_eq!(parse_ppm("100%"), Some(1_000_000));
        for wrong in ["", "%", ".5%", "0.00001%", "1e1%", "1.2.3%", "-1%", "1", "9999999999%"] {
            assert_eq!(parse_ppm(wrong), None, "{wrong}");
        }
    }
}
