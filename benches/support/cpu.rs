//! Processor time of a process, as Linux accounts for it.

use anyhow::Context;
use std::time::Duration;

/// Linux counts in hundredths of a second towards user space, on every machine.
const TICK: Duration = Duration::from_millis(10);

/// User and system time of a process (`self` or a number) since its start, all threads, those that
/// have ended included.
pub fn used(process: &str) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name in brackets may hold anything; times are fields 14 and 15, counted from 1.
    let (_, fields) = stat.rsplit_once(')').context("no process name")?;
    let ticks: u32 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u32>().context("a time that is no number"))
        .sum::<anyhow::Result<u32>>()?;
    Ok(TICK * ticks)
}
