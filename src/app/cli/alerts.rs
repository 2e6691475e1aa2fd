//! `radiosonde alerts`: what fires now and why; and a test of a receiver.

use super::client::Daemon;
use super::exit::FAILED;
use super::files::Files;
use super::palette::{Mark, paint};
use super::server::{Format, Server};
use super::table::{Column, render};
use super::terminal::{count, cut, note, print};
use crate::base::clock::{Clock, UnixNanos};
use crate::base::duration::humane;
use crate::model::labels::Labels;
use comfy_table::Cell;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::ExitCode;

/// What of an answer is shown.
#[derive(Debug, Deserialize)]
struct Answer {
    alerts: Vec<Alert>,
}

/// An alert that fires or is frozen.
#[derive(Debug, Deserialize)]
pub(super) struct Alert {
    alertname: Option<String>,
    severity: String,
    state: String,
    started_at: String,
    labels: BTreeMap<String, String>,
    summary: String,
    annotations: BTreeMap<String, String>,
    acknowledged_by: Option<String>,
    silenced_by: Option<String>,
}

/// Shows what fires.
pub(super) async fn list(files: &Files, server: &Server) -> ExitCode {
    let answer = async { Daemon::new(server, files)?.get(&["alerts"]).await };
    let answer = match answer.await {
        Ok(answer) => answer,
        Err(code) => return code,
    };
    let alerts = read(&answer);
    if server.format == Format::Json {
        let _ = print(&format!("{answer:#}\n"));
    } else if alerts.is_empty() {
        let sign = paint(Mark::Good.style(), Mark::Good.sign());
        let _ = print(&format!("{sign} no alert fires\n"));
    } else {
        let table = table(&alerts, Clock::system().now());
        let fire = count(alerts.len(), "alert fires", "alerts fire");
        let _ = print(&format!("{table}\n{fire}\n"));
    }
    ExitCode::from(if alerts.is_empty() { 0 } else { FAILED })
}

/// Sends a test message to a receiver.
pub(super) async fn test(files: &Files, server: &Server, receiver: &str) -> ExitCode {
    let asked = async {
        let daemon = Daemon::new(server, files)?;
        daemon.ask(Method::POST, &["receivers", receiver, "test"], Some(&json!({}))).await
    };
    match asked.await {
        Err(code) => code,
        Ok(answer) if server.format == Format::Json => print(&format!("{answer:#}\n")),
        Ok(_) => {
            let sign = paint(Mark::Good.style(), Mark::Good.sign());
            let done = print(&format!("{sign} {receiver} took the test message\n"));
            note("alertname RadiosondeTest, severity none; look whether somebody saw it");
            done
        }
    }
}

/// The alerts of an answer of `/api/alerts`.
pub(super) fn read(answer: &Value) -> Vec<Alert> {
    Answer::deserialize(answer).map(|answer| answer.alerts).unwrap_or_default()
}

fn table(alerts: &[Alert], now: UnixNanos) -> String {
    let columns = [Column::Left("severity"), Column::Left("for"), Column::Text("alert")];
    let rows = alerts.iter().zip((0..alerts.len()).rev()).map(|(alert, below)| {
        let space = if below > 0 { "\n" } else { "" };
        vec![
            alert.mark().cell(&alert.severity),
            Cell::new(alert.age(now)),
            Cell::new(alert.words() + space),
        ]
    });
    render(&columns, rows)
}

// === impl Alert ===

impl Alert {
    /// Its name.
    pub(super) fn name(&self) -> &str {
        self.alertname.as_deref().unwrap_or("unnamed")
    }

    /// Its labels.
    pub(super) fn labels(&self) -> Labels {
        Labels::new(self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }

    fn mark(&self) -> Mark {
        match (self.silenced_by.is_some(), self.severity.as_str()) {
            (true, _) => Mark::Unknown,
            (false, "page") => Mark::Bad,
            (false, _) => Mark::Warning,
        }
    }

    fn age(&self, now: UnixNanos) -> String {
        let started = chrono::DateTime::parse_from_rfc3339(&self.started_at).ok();
        let started = started.and_then(|at| u64::try_from(at.timestamp_nanos_opt()?).ok());
        started.map_or_else(String::new, |at| humane(now.since(UnixNanos(at))))
    }

    /// A line with its name, then its summary, then what people did about it, then where to read
    /// more.
    fn words(&self) -> String {
        let owner = self.labels.get("owner").map(|owner| format!(", of {owner}"));
        let state = if self.state == "firing" { "" } else { ", frozen: no data" };
        let mut lines = vec![format!("{}{}{state}", self.name(), owner.unwrap_or_default())];
        let summary = Some(&self.summary).filter(|text| !text.is_empty());
        let summary = summary.map(|text| cut(text, 600));
        lines.extend(summary);
        let taken = self.acknowledged_by.as_ref().map(|who| format!("acknowledged by {who}"));
        let silenced = self.silenced_by.as_ref().map(|id| format!("silenced by {id}"));
        let done: Vec<String> = taken.into_iter().chain(silenced).collect();
        lines.extend((!done.is_empty()).then(|| done.join(", ")));
        lines.extend(self.annotations.get("runbook_url").map(|url| cut(url, 200)));
        lines.extend(self.annotations.get("page").map(|url| cut(url, 200)));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(state: &str, silenced_by: Option<&str>) -> Alert {
        let answer = json!({ "version": 1, "alerts": [{
            "id": "i1", "alertname": "chat-up", "severity": "page", "state": state,
            "started_at": "2026-08-06T06:27:00.000Z",
            "labels": { "alertname": "chat-up", "owner": "messaging" },
            "summary": "chat-up burns 18x \u{1b}[31m", "annotations": { "page": "http://a/incidents/i1" },
            "acknowledged_by": null, "silenced_by": silenced_by,
        }]});
        read(&answer).pop().expect("the shape of the API")
    }

    /// Guarantees what a line says about an alert: whose it is, for how long, whether it is frozen
    /// or silenced; and that no text in it steers the terminal.
    #[test]
    fn a_line_says_whose_and_since_when() {
        let firing = alert("firing", None);
        let now = UnixNanos::from_seconds(1_785_999_000);
        assert_eq!(firing.age(now), "23m");
        assert_eq!(
            firing.words(),
            "chat-up, of messaging\nchat-up burns 18x  [31m\nhttp://a/incidents/i1"
        );
        assert_eq!(firing.mark(), Mark::Bad);
        let frozen = alert("frozen", Some("s1"));
        assert!(frozen.words().starts_with("chat-up, of messaging, frozen: no data\n"));
        assert!(frozen.words().contains("\nsilenced by s1\n"));
        assert_eq!(frozen.mark(), Mark::Unknown);
    }
}
