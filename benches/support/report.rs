//! How benchmarks report: tables, and a verdict on the floor.

use anyhow::Context;
use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;
use std::io::Write;

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
