//! How benchmarks report: figures with their spread, tables, and a verdict on the floor.

use anyhow::Context;
use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;
use std::fmt;
use std::io::Write;

/// The same figure from several rounds.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// The one in the middle.
    pub median: f64,
    low: f64,
    high: f64,
}

impl Spread {
    /// Of at least one figure.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> anyhow::Result<Self> {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().context("no figures");
        let last = sorted.len().saturating_sub(1);
        Ok(Self { median: at(last / 2)?, low: at(0)?, high: at(last)? })
    }
}

/// Median, and lowest and highest in brackets; with the formatter's precision.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(0);
        let Self { median, low, high } = self;
        if low == high {
            return write!(f, "{median:.digits$}");
        }
        write!(f, "{median:.digits$} ({low:.digits$}..{high:.digits$})")
    }
}

/// Prints a table under a title.
pub fn table<R>(
    title: &str,
    header: &[&str],
    rows: impl IntoIterator<Item = R>,
) -> anyhow::Result<()>
where
    R: IntoIterator<Item = String>,
{
    let mut table = Table::new();
    let _ = table.load_style(ASCII_MARKDOWN).set_header(header.iter().copied());
    for row in rows {
        let _ = table.add_row(row);
    }
    say(&format!("\n{title}\n{table}"))
}

/// Prints whether a floor holds, with the figure that decides.
pub fn floor(what: &str, met: bool, figure: &str) -> anyhow::Result<()> {
    say(&format!("floor: {what}: {} ({figure})", if met { "met" } else { "MISSED" }))
}

/// Prints a line.
pub fn say(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{line}").context("the terminal is gone")
}
