//! What explains an SLO's bad events, as the page shows it.

use crate::alert::Core;
use crate::alert::explain::{self, Explanation};
use crate::api::page::view::Factor;
use crate::base::clock::UnixNanos;
use crate::model::objective::Slo;
use crate::model::slot::{Slot, slots_in};
use std::time::Duration;

/// The part of the phones' traffic that explains the bad events of the last `window`.
pub(super) fn explanation(
    core: &Core,
    slo: &Slo,
    window: Duration,
    now: UnixNanos,
) -> Option<Explanation> {
    let evidence = core.store.evidence.phones.get(&slo.indicator.id())?;
    let to = Slot::of(now).plus(1);
    explain::within(evidence, to.minus(slots_in(window)), to)
}

/// An explanation for the page.
pub(super) fn factor(explanation: &Explanation) -> Factor {
    let values = explanation.dimensions.iter();
    Factor {
        values: values.map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        share_of_bad: explanation.excess_share,
        share_of_traffic: explanation.traffic_share,
    }
}

/// Who is concerned, in a few words: `app 4.2.0 on cellular`.
pub(super) fn affected(explanation: &Explanation) -> String {
    let words = explanation.dimensions.iter().map(|(name, value)| match *name {
        "service.version" => format!("app {value}"),
        "network.connection.type" => format!("on {value}"),
        "region" => format!("in {value}"),
        _ => value.clone(),
    });
    words.collect::<Vec<_>>().join(" ")
}
