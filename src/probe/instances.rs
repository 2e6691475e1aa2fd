//! One definition for many targets: each target makes an instance of it.
//!
//! An instance is a definition of the same name with labels of its own, its own place in the schedule
//! and one target: what `${target}` stands for, or the one address of a name that is talked to. What is
//! counted by the probe's name counts the runs of all its instances; series and runs carry the labels.
//! Everything here is arithmetic on definitions; whoever looks targets up does so elsewhere.

use super::limits::named_host;
use super::runner::Context;
use super::spec::ProbeSpec;
use crate::base::error::Chain;
use crate::base::secret::Secret;
use crate::model::labels::Labels;
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// A probe has no more instances.
pub const MAX_INSTANCES: usize = 100;
/// The label of instances that stand for a target.
pub const INSTANCE: &str = "target";
/// The label of instances that stand for an address of a name.
pub const ADDRESS: &str = "address";

/// Whether a label tells instances apart by itself.
#[must_use]
pub fn is_own(name: &str) -> bool {
    matches!(name, INSTANCE | ADDRESS)
}

/// The target or address that a run was for, by its labels.
#[must_use]
pub fn of(labels: &Labels) -> Option<&str> {
    labels.get(INSTANCE).or_else(|| labels.get(ADDRESS))
}

/// What a definition has instances for.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Targets {
    /// Nothing: it is run as it is.
    #[default]
    Own,
    /// Every address of the first name that it goes to.
    EachAddress,
    /// Targets that are listed somewhere.
    Listed(Arc<Listed>),
    /// It is an instance already.
    Instance(Instance),
}

/// Where targets are listed.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Listed {
    /// In the configuration and files beside it.
    pub known: Vec<Found>,
    /// At services that are asked again and again.
    pub services: Vec<TargetService>,
}

/// A service that lists targets, in the format of Prometheus' HTTP service discovery.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetService {
    /// `http://` or `https://`, without credentials.
    pub url: String,
    /// Headers of the request, names in lower case.
    pub headers: Vec<(String, Secret)>,
    /// From one request to the next.
    pub refresh: Duration,
}

/// A target and the labels that came with it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Found {
    /// What `${target}` stands for, or an address.
    pub target: String,
    /// Beside the label for the target itself.
    pub labels: Labels,
}

/// What an instance is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instance {
    /// What `${target}` stands for.
    Target(String),
    /// One address of a name.
    Address(Pin),
}

/// A name that has one address for the length of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    host: String,
    address: IpAddr,
}

// === impl Targets ===

impl Targets {
    /// What `${target}` stands for.
    pub(super) fn target(&self) -> Option<&str> {
        match self {
            Self::Instance(Instance::Target(target)) => Some(target),
            _ => None,
        }
    }

    /// The one address of a name that is talked to.
    pub(super) fn pin(&self) -> Option<&Pin> {
        match self {
            Self::Instance(Instance::Address(pin)) => Some(pin),
            _ => None,
        }
    }

    /// Whether a definition may have several instances.
    #[must_use]
    pub const fn are_many(&self) -> bool {
        matches!(self, Self::EachAddress | Self::Listed(_))
    }

    /// The services that are to be asked for them.
    #[must_use]
    pub fn services(&self) -> &[TargetService] {
        match self {
            Self::Listed(listed) => &listed.services,
            _ => &[],
        }
    }
}

// === impl Instance ===

impl Instance {
    /// The target or the address.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Target(target) => target.clone(),
            Self::Address(pin) => pin.address.to_string(),
        }
    }
}

// === impl Pin ===

impl Pin {
    /// Of a name's addresses, the one that is talked to; other names keep all of theirs.
    pub(super) fn choose(&self, host: &str, addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
        if !host.eq_ignore_ascii_case(&self.host) {
            return addresses;
        }
        // It may have left the name's addresses meanwhile, and is talked to all the same.
        let port = addresses.first().map_or(0, SocketAddr::port);
        vec![SocketAddr::new(self.address, port)]
    }
}

// === impl ProbeSpec ===

impl ProbeSpec {
    /// What tells its instance from others of its name; none where it is not one of several.
    #[must_use]
    pub const fn instance(&self) -> Option<&Instance> {
        match &self.targets {
            Targets::Instance(instance) => Some(instance),
            _ => None,
        }
    }

    /// Name and instance, for people.
    #[must_use]
    pub fn title(&self) -> String {
        match self.instance() {
            Some(instance) => format!("{} {}", self.name, instance.text()),
            None => self.name.clone(),
        }
    }

    /// By what its place in the schedule is chosen: its name, and an instance's labels.
    #[must_use]
    pub fn phase_key(&self) -> String {
        match self.instance() {
            Some(_) => format!("{}{}", self.name, self.labels),
            None => self.name.clone(),
        }
    }

    /// The name whose addresses are looked up for its instances, where it has one for each.
    #[must_use]
    pub fn name_to_look_up(&self) -> Option<String> {
        if self.targets == Targets::EachAddress { named_host(self) } else { None }
    }

    /// Its instances for what was listed, in that order and each once, and how many beyond
    /// [`MAX_INSTANCES`] were left out. A definition that has none but itself is its own.
    #[must_use]
    pub fn instances(self: &Arc<Self>, listed: &[Found]) -> (Vec<Arc<Self>>, usize) {
        let known: &[Found] = match &self.targets {
            Targets::Own | Targets::Instance(_) => return (vec![Arc::clone(self)], 0),
            Targets::EachAddress => &[],
            Targets::Listed(listed) => &listed.known,
        };
        let mut seen = HashSet::new();
        let all = known.iter().chain(listed).filter_map(|found| self.instance_for(found));
        let mut all: Vec<Arc<Self>> =
            all.filter(|one| seen.insert(one.labels.clone())).map(Arc::new).collect();
        let dropped = all.len().saturating_sub(MAX_INSTANCES);
        all.truncate(MAX_INSTANCES);
        (all, dropped)
    }

    /// Its instance for a target; none where it can have none for that.
    #[must_use]
    pub fn instance_for(&self, found: &Found) -> Option<Self> {
        let (label, instance) = match &self.targets {
            Targets::Own | Targets::Instance(_) => return None,
            Targets::Listed(_) => (INSTANCE, Instance::Target(found.target.clone())),
            Targets::EachAddress => {
                let (host, address) = (named_host(self)?, found.target.parse().ok()?);
                (ADDRESS, Instance::Address(Pin { host, address }))
            }
        };
        let labels = Labels::new(self.labels.iter().chain(found.labels.iter()));
        let labels = labels.with(label, &found.target);
        Some(Self { labels, targets: Targets::Instance(instance), ..self.clone() })
    }

    /// Itself, to be run for whatever address its name has: what says that the name has none.
    #[must_use]
    pub fn as_it_is(&self) -> Self {
        Self { targets: Targets::Own, ..self.clone() }
    }
}

// === impl Context ===

impl Context {
    /// The addresses of a name, sorted, within that time.
    ///
    /// # Errors
    /// Why there are none, in words.
    pub async fn addresses_of(&self, host: &str, within: Duration) -> Result<Vec<Found>, String> {
        let found = tokio::time::timeout(within, self.lookups.find(host)).await;
        let found = found.map_err(|_| "no name server answered in time".to_owned())?;
        let found = found.map_err(|failure| failure.message)?;
        let found = found.as_ref().as_ref().map_err(|error| Chain(error).to_string())?;
        let mut addresses: Vec<IpAddr> = found.iter().map(SocketAddr::ip).collect();
        addresses.sort_unstable();
        addresses.dedup();
        if addresses.is_empty() {
            return Err("it has no address".to_owned());
        }
        let one =
            |address: IpAddr| Found { target: address.to_string(), labels: Labels::default() };
        Ok(addresses.into_iter().map(one).collect())
    }

    /// This context for the runs of a definition.
    pub(super) fn for_runs_of(&self, spec: &ProbeSpec) -> Option<Self> {
        let pin = spec.targets.pin()?.clone();
        Some(Self { pin: Some(pin), ..self.clone() })
    }
}

// === impl Found ===

impl Found {
    /// A target without labels.
    #[must_use]
    pub fn plain(target: &str) -> Self {
        Self { target: target.to_owned(), labels: Labels::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::spec::Action;
    use super::super::tests::{get, spec, step};
    use super::*;

    fn listed(targets: &[&str], url: &str) -> Arc<ProbeSpec> {
        let known = targets.iter().map(|target| Found::plain(target)).collect();
        let listed = Arc::new(Listed { known, services: Vec::new() });
        let steps = vec![step("1", Action::Http(get(url)))];
        Arc::new(ProbeSpec { targets: Targets::Listed(listed), ..spec(steps) })
    }

    /// Guarantees instances by label, each once, in order, no more than the bound, and what was left out.
    #[test]
    fn targets_become_instances() {
        let template = listed(&["a:1", "b:1", "a:1"], "http://${target}/");
        let blue = Found { target: "b:1".to_owned(), labels: Labels::new([("zone", "blue")]) };
        let (all, dropped) = template.instances(&[blue, Found::plain("b:1")]);
        let labels: Vec<String> = all.iter().map(|one| one.labels.to_string()).collect();
        let expected = [
            r#"{region="test", target="a:1"}"#,
            r#"{region="test", target="b:1"}"#,
            r#"{region="test", target="b:1", zone="blue"}"#,
        ];
        assert_eq!((labels.as_slice(), dropped), (expected.map(str::to_owned).as_slice(), 0));
        assert!(all.iter().all(|one| one.name == template.name && !one.targets.are_many()));
        let keys: HashSet<String> = all.iter().map(|one| one.phase_key()).collect();
        assert_eq!(keys.len(), 3, "each has its own place in the schedule");
        let many: Vec<Found> = (0..130).map(|n| Found::plain(&format!("m{n}"))).collect();
        let (all, dropped) = template.instances(&many);
        assert_eq!((all.len(), dropped), (MAX_INSTANCES, 32));
        let (own, _) = all[0].instances(&many);
        assert_eq!(own, [Arc::clone(&all[0])], "an instance has none of its own");
    }

    /// Guarantees what a run was for.
    #[test]
    fn labels_tell_what_a_run_was_for() {
        let labels = |name: &str| Labels::new([(name, "x"), ("zone", "blue")]);
        assert_eq!((of(&labels(INSTANCE)), of(&labels(ADDRESS))), (Some("x"), Some("x")));
        assert_eq!(of(&labels("region")), None);
    }

    /// Guarantees that an instance for each address goes to the first name, and that there is none where
    /// the definition names an address, or nothing that is known before the run.
    #[test]
    fn addresses_become_instances() {
        let check = |url: &str, expected: Option<&str>| {
            let steps = vec![step("1", Action::Http(get(url)))];
            let spec = ProbeSpec { targets: Targets::EachAddress, ..spec(steps) };
            assert_eq!(spec.name_to_look_up().as_deref(), expected, "{url}");
            let one = spec.instance_for(&Found::plain("10.0.0.1"));
            assert_eq!(one.is_some(), expected.is_some(), "{url}");
            one
        };
        check("http://127.0.0.1:1/", None);
        check("http://[::1]/", None);
        check("http://chat-${room}.example.com/", None);
        check("http://${room}/", None);
        let one = check("https://Chat.example.com/${room}", Some("chat.example.com"));
        let pin = one.as_ref().and_then(|one| one.targets.pin()).expect("pinned");
        let at = |text: &str| vec![text.parse::<SocketAddr>().expect("an address")];
        assert_eq!(pin.choose("chat.example.com", at("10.0.0.9:443")), at("10.0.0.1:443"));
        assert_eq!(pin.choose("else.example.com", at("10.0.0.9:443")), at("10.0.0.9:443"));
        assert_eq!(one.map(|one| one.title()).as_deref(), Some("probe 10.0.0.1"));
    }
}
