//! Emulated networks on the command line: which there are, and probes put on another one.

use super::super::table::{Column, render};
use super::select::Nothing;
use crate::base::duration;
use crate::config::{Settings, UnknownNetwork};
use crate::probe::network::Network;
use crate::probe::network::profile::{OVERLAYS, PROFILES, Profile};
use crate::probe::spec::ProbeSpec;
use std::sync::Arc;

/// The network that stands for the machine's own.
const NONE: &str = "none";

/// The probes over another network, where one is wanted, and with another seed.
///
/// # Errors
/// When there is no such network, or a probe cannot go through it, or a seed but no network that could have it.
pub(super) fn put_on(
    probes: Vec<Arc<ProbeSpec>>,
    settings: &Settings,
    network: Option<&str>,
    seed: Option<u64>,
) -> Result<Vec<Arc<ProbeSpec>>, Nothing> {
    let wanted = match network {
        None => None,
        Some(NONE) => Some(None),
        Some(name) => Some(Some(settings.network(name).map_err(nothing)?)),
    };
    if let Some(Some(network)) = &wanted {
        refuse_unshaped(&probes, network)?;
    }
    let put = |probe: Arc<ProbeSpec>| {
        let network = match &wanted {
            Some(network) => network.clone(),
            None => probe.network.as_deref().cloned(),
        };
        let seeded = |network: Network| Network { seed: seed.or(network.seed), ..network };
        let network = network.map(seeded).map(Arc::new);
        Arc::new(ProbeSpec { network, ..ProbeSpec::clone(&probe) })
    };
    let probes: Vec<_> = probes.into_iter().map(put).collect();
    if seed.is_some() && probes.iter().all(|probe| probe.network.is_none()) {
        return Err(Nothing {
            words: "a seed without a network decides nothing".to_owned(),
            hint: "give one as well, for example --network lte".to_owned(),
        });
    }
    Ok(probes)
}

/// Figures of the bare network must not stand under the name of an emulated one.
fn refuse_unshaped(probes: &[Arc<ProbeSpec>], network: &Network) -> Result<(), Nothing> {
    let unshaped = |probe: &&Arc<ProbeSpec>| {
        let mut steps = probe.steps.iter().chain(&probe.cleanup);
        steps.find(|step| !step.action.goes_through_networks()).map(|step| step.action.block())
    };
    let Some((probe, block)) = probes.iter().find_map(|p| Some((p, unshaped(&p)?))) else {
        return Ok(());
    };
    let able = probes.iter().filter(|probe| unshaped(probe).is_none()).count();
    Err(Nothing {
        words: format!(
            "the probe {} cannot be put on {network}: `{block}` does not go through an emulated network",
            probe.name
        ),
        hint: match able {
            0 => "run it without --network".to_owned(),
            _ => format!("name the probes to run; {able} of these can be put on it"),
        },
    })
}

fn nothing(unknown: UnknownNetwork) -> Nothing {
    Nothing { words: unknown.message, hint: unknown.hint }
}

/// All networks and what can be laid over them, as tables with the sources of their figures.
pub(super) fn tables(own: &[Profile]) -> String {
    let columns = [
        Column::Left("network"),
        Column::Right("round trip"),
        Column::Right("jitter"),
        Column::Right("down"),
        Column::Right("up"),
        Column::Right("loss"),
        Column::Text("source"),
    ];
    let row = |profile: &Profile| {
        [
            profile.name.to_string(),
            duration::format(profile.round_trip),
            duration::format(profile.jitter),
            rate(profile.down_bits),
            rate(profile.up_bits),
            share(profile.loss_ppm),
            profile.source.to_string(),
        ]
    };
    let networks = render(&columns, PROFILES.iter().chain(own).map(row));
    let columns = [Column::Left("laid over"), Column::Text("does"), Column::Text("source")];
    let overlays = OVERLAYS.map(|overlay| [overlay.name, overlay.words, overlay.source]);
    let overlays = render(&columns, overlays);
    format!("{networks}\n{overlays}\n{LIMITS}")
}

/// What the tables cannot say.
const LIMITS: &str = "\
What a run was really given stands in the attributes network.* of its steps.
Packets come within a millisecond of their time. The kernel's own TCP runs below:
a lost segment is one that comes later, as if it had been sent again; a stream is
as fast as the link from the start; and names are resolved without any of it.
";

/// Bits per second in the largest unit that is whole.
fn rate(bits: u64) -> String {
    let units = [("Gbit", 1_000_000_000), ("Mbit", 1_000_000), ("kbit", 1_000)];
    let unit = units.into_iter().find(|(_, size)| bits >= *size && bits.is_multiple_of(*size));
    unit.map_or_else(|| format!("{bits} bit"), |(name, size)| format!("{} {name}", bits / size))
}

/// Parts per million in percent, exactly.
fn share(ppm: u32) -> String {
    format!("{}%", f64::from(ppm) / 1e4)
}

#[cfg(test)]
mod tests {
    use super::super::super::terminal::plain;
    use super::*;
    use crate::config;

    fn settings() -> Settings {
        let text = "networks: [ { name: subway, latency: 120ms, down: 2Mbit, up: 750kbit } ]
probes:
  - { name: a, every: 9s, http: { get: http://127.0.0.1/ } }
  - { name: b, every: 9s, network: { profile: lte, seed: 5 }, http: { get: http://127.0.0.1/ } }";
        config::load_embedded(&[("p.yaml", text)], &|_| true).settings.expect("fine")
    }

    /// Guarantees what a run's network is, by definition and command line.
    #[test]
    fn the_command_line_goes_first() {
        let check =
            |network: Option<&str>, seed: Option<u64>, expected: Result<[&str; 2], &str>| {
                let settings = settings();
                let shown = |probe: &Arc<ProbeSpec>| match &probe.network {
                    Some(network) => format!("{network} {:?}", network.seed),
                    None => "-".to_owned(),
                };
                match (put_on(settings.probes.clone(), &settings, network, seed), expected) {
                    (Ok(probes), Ok(expected)) => {
                        assert_eq!(probes.iter().map(shown).collect::<Vec<_>>(), expected);
                    }
                    (Err(nothing), Err(part)) => {
                        let said = format!("{}; {}", nothing.words, nothing.hint);
                        assert!(said.contains(part), "{said}");
                    }
                    (got, _) => panic!("{network:?} {seed:?}: {got:?}"),
                }
            };
        let unshaped =
            "probes: [ { name: d, every: 9s, steps: [ http: { get: http://127.0.0.1/ } ],
  cleanup: [ icmp: { host: 127.0.0.1 } ] } ]";
        let unshaped = config::load_embedded(&[("p.yaml", unshaped)], &|_| true);
        let unshaped = unshaped.settings.expect("fine").probes;
        let refused = put_on(unshaped.clone(), &settings(), Some("lte"), None).expect_err("icmp");
        assert!(
            refused.words.contains("the probe d cannot be put on lte: `icmp`"),
            "{}",
            refused.words
        );
        assert!(put_on(unshaped, &settings(), Some("none"), None).is_ok());
        check(None, None, Ok(["-", "lte Some(5)"]));
        check(None, Some(7), Ok(["-", "lte Some(7)"]));
        check(Some("none"), None, Ok(["-", "-"]));
        check(Some("subway+handover"), None, Ok(["subway+handover None", "subway+handover None"]));
        check(Some("edge"), Some(1), Ok(["edge Some(1)", "edge Some(1)"]));
        check(Some("subwy"), None, Err("`subwy`; did you mean `subway`?"));
        check(Some("none"), Some(1), Err("decides nothing; give one"));
    }

    /// Guarantees that every network and overlay is listed with its figures, those of files too.
    #[test]
    fn all_networks_are_listed() {
        let text = plain(&tables(&settings().networks));
        for profile in &PROFILES {
            assert!(text.contains(&*profile.name), "{text}");
        }
        for part in ["lte", "70ms", "15ms", "12 Mbit", "0.2%", "subway", "750 kbit", "handover"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!((share(5), rate(1_000_500)), ("0.0005%".to_owned(), "1000500 bit".to_owned()));
    }
}
