//! `radiosonde silence`: list, add, expire.

use super::alerts;
use super::arguments::{AddSilence, Files, Format, Server, SilenceAction};
use super::client::Daemon;
use super::palette::{Mark, STRONG, paint};
use super::table::{Column, render};
use super::terminal::{note, print};
use crate::base::clock::{Clock, UnixNanos};
use crate::base::duration;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use std::process::ExitCode;

/// What of an answer is shown.
#[derive(Debug, Deserialize)]
struct Answer {
    silences: Vec<Silence>,
}

#[derive(Debug, Deserialize)]
struct Silence {
    id: String,
    matchers: Vec<String>,
    ends_at: String,
    created_by: String,
    comment: String,
}

/// Carries the command out.
pub(super) async fn silence(
    files: &Files,
    server: &Server,
    action: Option<SilenceAction>,
) -> ExitCode {
    let done = async {
        let daemon = Daemon::new(server, files)?;
        match action {
            None | Some(SilenceAction::List) => list(&daemon, server.format).await,
            Some(SilenceAction::Add(wanted)) => add(&daemon, server.format, &wanted).await,
            Some(SilenceAction::Expire { ids }) => expire(&daemon, server.format, &ids).await,
        }
    };
    // Both sides are exit codes: what went wrong was printed where it did.
    done.await.unwrap_or_else(|code| code)
}

async fn list(daemon: &Daemon<'_>, format: Format) -> Result<ExitCode, ExitCode> {
    let answer = daemon.get(&["silences"]).await?;
    if format == Format::Json {
        return Ok(print(&format!("{answer:#}\n")));
    }
    let silences = Answer::deserialize(&answer).map(|answer| answer.silences).unwrap_or_default();
    if silences.is_empty() {
        let done = print("nothing is silenced\n");
        note("radiosonde silence add alertname=NAME --for 2h --comment WHY");
        return Ok(done);
    }
    Ok(print(&table(&silences, Clock::system().now())))
}

fn table(silences: &[Silence], now: UnixNanos) -> String {
    let columns = [
        Column::Left("id"),
        Column::Left("alerts"),
        Column::Left("ends in"),
        Column::Left("by"),
        Column::Left("comment"),
    ];
    let rows = silences.iter().map(|silence| {
        let end = chrono::DateTime::parse_from_rfc3339(&silence.ends_at).ok();
        let end = end.and_then(|at| u64::try_from(at.timestamp_nanos_opt()?).ok());
        let left = end.map(|at| duration::humane(UnixNanos(at).since(now)));
        [
            silence.id.clone(),
            silence.matchers.join("\n"),
            left.unwrap_or_default(),
            silence.created_by.clone(),
            silence.comment.clone(),
        ]
    });
    render(&columns, rows)
}

async fn add(
    daemon: &Daemon<'_>,
    format: Format,
    wanted: &AddSilence,
) -> Result<ExitCode, ExitCode> {
    let firing = daemon.get(&["alerts"]).await?;
    let matchers: Vec<&str> = wanted.matchers.iter().map(|m| m.text.as_str()).collect();
    let body = json!({
        "matchers": matchers,
        "duration": duration::format(wanted.lasts),
        "comment": wanted.comment,
        "created_by": wanted.by,
    });
    let answer = daemon.ask(Method::POST, &["silences"], Some(&body)).await?;
    if format == Format::Json {
        return Ok(print(&format!("{answer:#}\n")));
    }
    let id = answer.get("id").and_then(Value::as_str).unwrap_or_default();
    let sign = paint(Mark::Good.style(), Mark::Good.sign());
    let lasts = duration::format(wanted.lasts);
    let done = print(&format!("{sign} silence {} holds for {lasts}\n", paint(STRONG, id)));
    note(&muted(&firing, wanted));
    note(&format!("end it with: radiosonde silence expire {id}"));
    Ok(done)
}

/// Which of the alerts that fire now it concerns: a wrong matcher shows at once.
fn muted(firing: &Value, wanted: &AddSilence) -> String {
    let alerts = alerts::read(firing);
    let names: Vec<&str> = alerts
        .iter()
        .filter(|alert| {
            let labels = alert.labels();
            wanted.matchers.iter().all(|matcher| matcher.parsed.matches(&labels))
        })
        .map(alerts::Alert::name)
        .collect();
    match names.as_slice() {
        [] => "no alert that fires now matches; those to come will".to_owned(),
        names => format!("of those that fire now it silences {}", names.join(", ")),
    }
}

async fn expire(daemon: &Daemon<'_>, format: Format, ids: &[String]) -> Result<ExitCode, ExitCode> {
    for id in ids {
        let _ = daemon.ask(Method::DELETE, &["silences", id], None).await?;
        if format == Format::Text {
            let sign = paint(Mark::Good.style(), Mark::Good.sign());
            let _ = print(&format!("{sign} silence {id} ended\n"));
        }
    }
    if format == Format::Json {
        let _ = print(&format!("{:#}\n", json!({ "version": 1, "expired": ids })));
    }
    Ok(ExitCode::SUCCESS)
}
