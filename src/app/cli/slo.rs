//! `radiosonde slo`: every budget, how fast it burns, and when it will be gone.

use super::arguments::{Files, Format, Server};
use super::client::Daemon;
use super::palette::Mark;
use super::table::{Column, render};
use super::terminal::{count, hint, print};
use crate::base::duration;
use comfy_table::Cell;
use serde::Deserialize;
use serde_json::Value;
use std::process::ExitCode;
use std::time::Duration;

/// Cells of a bar of what is left.
const BAR: usize = 10;

/// What of an answer is shown.
#[derive(Debug, Deserialize)]
struct Answer {
    slos: Vec<Slo>,
}

#[derive(Debug, Deserialize)]
struct Slo {
    name: String,
    owner: Option<String>,
    objective: f64,
    window: String,
    attained: Option<f64>,
    total: u64,
    budget_remaining: f64,
    exhausted_in_seconds: Option<u64>,
    burn: Vec<Pair>,
}

#[derive(Debug, Deserialize)]
struct Pair {
    severity: String,
    long_burn_rate: f64,
    holds: bool,
}

/// Carries the command out.
pub(super) async fn slo(files: &Files, server: &Server) -> ExitCode {
    let answer = async { Daemon::new(server, files)?.get(&["slos"]).await };
    match answer.await {
        Err(code) => code,
        Ok(answer) if server.format == Format::Json => print(&format!("{answer:#}\n")),
        Ok(answer) => show(answer),
    }
}

fn show(answer: Value) -> ExitCode {
    let slos = serde_json::from_value::<Answer>(answer).map(|answer| answer.slos);
    let slos = slos.unwrap_or_default();
    if slos.is_empty() {
        let _ = print("no SLO is configured\n");
        hint("put one into alerts/; `radiosonde check --example` shows how they look");
        return ExitCode::SUCCESS;
    }
    print(&format!("{}\n{}\n", table(&slos), totals(&slos)))
}

fn table(slos: &[Slo]) -> String {
    let columns = [
        Column::Left("state"),
        Column::Left("SLO"),
        Column::Left("owner"),
        Column::Right("objective"),
        Column::Right("attained"),
        Column::Left("budget left"),
        Column::Right("burn"),
        Column::Right("gone in"),
    ];
    let rows = slos.iter().map(|slo| {
        let (mark, word) = slo.state();
        let plain = |text: String| Cell::new(text);
        vec![
            mark.cell(word),
            plain(slo.name.clone()),
            plain(slo.owner.clone().unwrap_or_default()),
            plain(format!("{} in {}", percent(slo.objective), slo.window)),
            plain(slo.attained.map_or_else(|| "–".to_owned(), percent)),
            plain(slo.left()),
            plain(slo.burn()),
            plain(slo.gone_in()),
        ]
    });
    render(&columns, rows)
}

/// `7 SLOs: 1 paging, 5 healthy, 1 without data`
fn totals(slos: &[Slo]) -> String {
    let words = ["paging", "burning", "exhausted", "healthy", "no data"];
    let parts: Vec<String> = words
        .iter()
        .map(|word| (slos.iter().filter(|slo| slo.state().1 == *word).count(), word))
        .filter(|(number, _)| *number > 0)
        .map(|(number, word)| format!("{number} {word}"))
        .collect();
    format!("{}: {}", count(slos.len(), "SLO", "SLOs"), parts.join(", "))
}

// === impl Slo ===

impl Slo {
    /// The same words as on the page.
    fn state(&self) -> (Mark, &'static str) {
        match self.burn.iter().find(|pair| pair.holds) {
            Some(pair) if pair.severity == "page" => (Mark::Bad, "paging"),
            Some(_) => (Mark::Warning, "burning"),
            None if self.total == 0 => (Mark::Unknown, "no data"),
            None if self.budget_remaining <= 0.0 => (Mark::Warning, "exhausted"),
            None => (Mark::Good, "healthy"),
        }
    }

    fn left(&self) -> String {
        if self.total == 0 {
            return "–".to_owned();
        }
        let share = self.budget_remaining.clamp(0.0, 1.0);
        let full = (share * BAR as f64).ceil() as usize;
        let bar = "█".repeat(full) + &"░".repeat(BAR.saturating_sub(full));
        format!("{bar} {:>4.0}%", (self.budget_remaining * 100.0).clamp(-999.0, 100.0).floor())
    }

    /// The rate of the pair that burns, else of the first.
    fn burn(&self) -> String {
        let pair = self.burn.iter().find(|pair| pair.holds).or(self.burn.first());
        match pair {
            Some(pair) if self.total > 0 => format!("{:.1}x", pair.long_burn_rate),
            _ => "–".to_owned(),
        }
    }

    fn gone_in(&self) -> String {
        match self.exhausted_in_seconds {
            _ if self.total == 0 => "–".to_owned(),
            Some(0) => "gone".to_owned(),
            Some(seconds) => duration::humane(Duration::from_secs(seconds)),
            None => "–".to_owned(),
        }
    }
}

/// `99.9%`, with as many digits as tell it from its objective and no more.
fn percent(ratio: f64) -> String {
    let digits = format!("{:.3}", ratio * 100.0);
    format!("{}%", digits.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn slo(remaining: f64, total: u64, burn: Value) -> Slo {
        serde_json::from_value(json!({
            "name": "chat-up", "owner": null, "objective": 0.999, "window": "30d",
            "attained": 0.9995, "total": total, "budget_remaining": remaining,
            "exhausted_in_seconds": null, "burn": burn,
        }))
        .expect("the shape of the API")
    }

    /// Guarantees the word for each state, the most urgent first.
    #[test]
    fn states_are_the_pages_words() {
        let pair = |severity: &str, holds: bool| json!([{ "severity": severity, "long_burn_rate": 3.0, "holds": holds }]);
        let check = |remaining: f64, total: u64, burn: Value, expected: &str| {
            assert_eq!(slo(remaining, total, burn).state().1, expected);
        };
        check(0.5, 9, pair("page", false), "healthy");
        check(0.5, 9, pair("page", true), "paging");
        check(0.5, 9, pair("ticket", true), "burning");
        check(-0.5, 9, pair("page", false), "exhausted");
        check(1.0, 0, pair("page", false), "no data");
    }

    /// Guarantees that figures are neither rounded up to the objective nor drowned in digits, and
    /// that a bar shows something as long as something is left.
    #[test]
    fn figures_are_readable() {
        assert_eq!(percent(0.999), "99.9%");
        assert_eq!(percent(1.0), "100%");
        assert_eq!(percent(0.998_96), "99.896%");
        assert_eq!(slo(0.005, 9, json!([])).left(), "█░░░░░░░░░    0%");
        assert_eq!(slo(-20.0, 9, json!([])).left(), "░░░░░░░░░░ -999%");
        assert_eq!(
            totals(&[slo(0.5, 9, json!([])), slo(0.5, 0, json!([]))]),
            "2 SLOs: 1 healthy, 1 no data"
        );
    }
}
