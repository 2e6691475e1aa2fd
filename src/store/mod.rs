//! Floor 4: the read models. Series (live head here, history on disk), the counts of indicators,
//! evidence, the ledger of items, and the checkpoint that keeps them all.
//!
//! Knows nothing of OTLP, probes or YAML. Everything here is a deterministic fold of the journal
//! and could be made anew from it.

pub mod codec;
pub mod counts;
pub mod data_dir;
pub mod dedupe_files;
pub mod evidence;
pub mod head;
pub mod history;
pub mod ledger;

pub use counts::CountsBook;
pub mod late;
#[cfg(test)]
mod tests;

/// All read models that the fold writes to.
#[derive(Clone, Debug, Default)]
pub struct Store {
    /// Series.
    pub head: head::Head,
    /// Good and total events of indicators.
    pub counts: CountsBook,
    /// Runs, spans and combinations that numbers link to.
    pub evidence: evidence::Evidence,
    /// Items by app, signal and outcome.
    pub ledger: ledger::Ledger,
    /// What late data changed, and the releases that phones were seen with.
    pub late: late::LateLedger,
}
