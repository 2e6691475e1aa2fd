//! Names of networks and the tables behind them.

use super::super::profile::{OVERLAYS, PROFILES};
use super::super::{Network, NetworkError};
use super::*;

/// Guarantees that every combination has a name that is read back, and that others are refused.
#[test]
fn names_are_read_and_shown() {
    for profile in &PROFILES {
        for overlay in &OVERLAYS {
            let name = format!("{}+{}", profile.name, overlay.name);
            let network = named(&name);
            assert_eq!(network.to_string(), name);
            assert_eq!((&network.profile, network.overlays.as_slice()), (profile, &[*overlay][..]));
        }
    }
    let check = |name: &str, error: NetworkError| assert_eq!(Network::named(name, []), Err(error));
    check("6g", NetworkError::Profile("6g".into()));
    check("", NetworkError::Profile(String::new()));
    check("handover", NetworkError::Profile("handover".into()));
    check("lte+", NetworkError::Overlay(String::new()));
    check("lte+wifi", NetworkError::Overlay("wifi".into()));
    check("lte+tunnel+tunnel", NetworkError::Twice("tunnel".into()));
    let own = [steady(Duration::from_millis(9), 1_000).profile];
    assert_eq!(
        Network::named("steady+bursty", &own).map(|n| n.to_string()),
        Ok("steady+bursty".into())
    );
}

/// Guarantees that the tables go from best to worst, have usable figures, and say their sources.
#[test]
fn tables_are_in_order() {
    assert!(PROFILES.is_sorted_by_key(|profile| profile.round_trip));
    assert!(PROFILES.is_sorted_by_key(|profile| profile.loss_ppm));
    for profile in &PROFILES {
        assert!(profile.down_bits >= profile.up_bits && profile.up_bits > 0, "{}", profile.name);
        assert!(profile.jitter < profile.round_trip && !profile.source.is_empty());
    }
    assert!(OVERLAYS.iter().all(|overlay| !overlay.source.is_empty() && !overlay.words.is_empty()));
}
