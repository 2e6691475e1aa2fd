//! Labels in which runs of one probe differ: a probe with several targets has a run for each.

use super::parts::Column;
use crate::model::probe::ProbeRun;
use maud::{Markup, html};

/// Names of labels that not all runs have with the same value, in order.
pub(in crate::api) fn differing<'a>(runs: impl IntoIterator<Item = &'a ProbeRun>) -> Vec<String> {
    let mut runs = runs.into_iter();
    let Some(first) = runs.next() else { return Vec::new() };
    let mut names: Vec<&str> = Vec::new();
    for run in runs {
        let here = run.labels.iter().filter(|(name, value)| first.labels.get(name) != Some(*value));
        let gone = first.labels.iter().filter(|(name, _)| run.labels.get(name).is_none());
        names.extend(here.chain(gone).map(|(name, _)| name));
        names.sort_unstable();
        names.dedup();
    }
    names.into_iter().map(str::to_owned).collect()
}

/// The column in which runs tell themselves apart, if they differ.
pub(super) fn column(differing: &[String]) -> Option<Column<'_>> {
    match differing {
        [] => None,
        [only] => Some(Column::Text(only)),
        _ => Some(Column::Text("Labels")),
    }
}

/// What tells a run from the others.
pub(super) fn distinct(run: &ProbeRun, differing: &[String]) -> Markup {
    let value = |name: &String| run.labels.get(name).unwrap_or("–").to_owned();
    html! {
        @match differing {
            [only] => { (value(only)) }
            _ => { @for (at, name) in differing.iter().enumerate() { @if at > 0 { ", " } (name) " " (value(name)) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::labels::Labels;

    /// Guarantees that exactly the labels are named in which runs differ, also where one lacks one.
    #[test]
    fn labels_that_differ_are_found() {
        let run = |labels: &[(&'static str, &'static str)]| ProbeRun {
            labels: Labels::new(labels.iter().copied()),
            ..ProbeRun::default()
        };
        let check = |runs: &[ProbeRun], expected: &[&str]| assert_eq!(differing(runs), expected);
        check(&[], &[]);
        check(&[run(&[("target", "a")])], &[]);
        check(
            &[run(&[("x", "1"), ("target", "a")]), run(&[("x", "1"), ("target", "b")])],
            &["target"],
        );
        check(&[run(&[("zone", "1")]), run(&[]), run(&[("address", "::1")])], &["address", "zone"]);
    }
}
