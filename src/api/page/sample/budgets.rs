//! Twelve budgets: two burn, one is gone, one has no data.

use super::{DAY, MINUTE, NOW, noise};
use crate::api::page::view::*;
use crate::model::objective::Severity;
use std::time::Duration;

/// Name, indicator, objective, left, verdict, owner.
type Row = (&'static str, &'static str, f64, Option<f64>, BudgetVerdict, &'static str);

const ROWS: [Row; 12] = [
    (
        "chat-echo-fast",
        "latency of probe chat-echo under 100ms",
        0.999,
        Some(0.87),
        BudgetVerdict::Healthy,
        "messaging",
    ),
    (
        "chat-up",
        "availability of probe chat-echo",
        0.999,
        Some(0.94),
        BudgetVerdict::Healthy,
        "messaging",
    ),
    (
        "send-message-on-phones",
        "latency of POST /rooms/{id}/messages under 300ms",
        0.99,
        Some(0.41),
        BudgetVerdict::Burning(Severity::Page),
        "messaging",
    ),
    (
        "crash-ratio",
        "ratio of app.crash to session.start",
        0.995,
        Some(-0.32),
        BudgetVerdict::Exhausted,
        "mobile",
    ),
    (
        "feed-freshness",
        "latency of probe feed-sse under 2s",
        0.99,
        Some(0.12),
        BudgetVerdict::Burning(Severity::Ticket),
        "feeds",
    ),
    (
        "room-delivery",
        "latency of probe room-delivery under 100ms",
        0.999,
        Some(0.71),
        BudgetVerdict::Healthy,
        "messaging",
    ),
    (
        "presence-fast",
        "latency of probe presence under 250ms",
        0.995,
        Some(0.99),
        BudgetVerdict::Healthy,
        "presence",
    ),
    (
        "cold-start",
        "latency of span app.start under 2s",
        0.95,
        Some(0.64),
        BudgetVerdict::Healthy,
        "mobile",
    ),
    (
        "login-on-phones",
        "latency of POST /login under 800ms",
        0.99,
        Some(0.78),
        BudgetVerdict::Healthy,
        "identity",
    ),
    (
        "media-upload",
        "availability of POST /media",
        0.98,
        Some(0.55),
        BudgetVerdict::Healthy,
        "media",
    ),
    (
        "typing-indicator",
        "latency of probe typing under 150ms",
        0.99,
        None,
        BudgetVerdict::NoData,
        "presence",
    ),
    (
        "reconnect-ratio",
        "ratio of ws.reconnect to session.start",
        0.9995,
        Some(0.83),
        BudgetVerdict::Healthy,
        "mobile",
    ),
];

pub(in crate::api::page) fn budgets() -> Vec<BudgetView> {
    ROWS.iter().enumerate().map(|(at, row)| budget(at, *row)).collect()
}

fn budget(at: usize, (name, indicator, objective, left, verdict, owner): Row) -> BudgetView {
    let total = if left.is_some() { 259_200 + at as u64 * 31_337 } else { 0 };
    let bad = left.map_or(0.0, |left| (1.0 - left) * (1.0 - objective) * total as f64);
    let start = (left.unwrap_or(0.5) + 0.25).min(1.0);
    let line = (0..120)
        .map(|step| {
            let progress = f64::from(step) / 119.0;
            let knee = if matches!(verdict, BudgetVerdict::Burning(_) | BudgetVerdict::Exhausted) {
                ((progress - 0.9).max(0.0) * 10.0).powi(2)
            } else {
                progress
            };
            let wobble = 0.03 * noise(at as u64 * 1_000 + step as u64) * (1.0 - progress);
            let gap = at == 7 && (40..48).contains(&step);
            left.filter(|_| !gap).map(|left| start + (left - start) * knee - wobble)
        })
        .collect();
    let hot = |severity| verdict == BudgetVerdict::Burning(severity);
    let rates = match verdict {
        BudgetVerdict::Burning(Severity::Page) => [18.1, 7.4, 2.2, 1.1],
        BudgetVerdict::Burning(Severity::Ticket) => [2.9, 3.1, 3.4, 1.6],
        BudgetVerdict::Exhausted => [0.2, 0.4, 0.9, 1.4],
        _ => [0.0, 0.18, 0.42, 0.31].map(|rate| rate * (1.0 + at as f64 / 9.0)),
    };
    let pairs = [(1, 5, 0.02, 14.4), (6, 30, 0.05, 6.0), (24, 120, 0.1, 3.0), (72, 360, 0.1, 1.0)];
    let burn = pairs
        .iter()
        .zip(rates)
        .enumerate()
        .map(|(place, ((long, short, budget, factor), rate))| {
            let severity = if place < 2 { Severity::Page } else { Severity::Ticket };
            BurnView {
                long: MINUTE * 60 * *long,
                short: MINUTE * *short,
                severity,
                budget: *budget,
                factor: *factor,
                long_rate: left.map(|_| rate),
                short_rate: left.map(|_| rate * 1.1),
                bad: (rate * 3.0) as u64,
                total: u64::from(*long) * 360,
                significant: rate > 1.2,
                firing: hot(severity) && rate >= *factor,
            }
        })
        .collect();
    BudgetView {
        name: name.to_owned(),
        owner: Some(owner.to_owned()),
        description: Some("What people wait for when they press send.".to_owned()),
        indicator: indicator.to_owned(),
        objective,
        window: DAY * 30,
        counted_since: (at == 9).then(|| NOW.minus(DAY * 4)),
        good: total - bad as u64,
        total,
        left_out: 3,
        left,
        line,
        line_span: DAY * 30,
        burn,
        exhaustion: match (verdict, left) {
            (BudgetVerdict::Exhausted, _) => Exhaustion::Gone,
            (BudgetVerdict::Burning(_), _) => Exhaustion::In(Duration::from_secs(33_660)),
            (_, None) => Exhaustion::Unknown,
            _ => Exhaustion::Never,
        },
        verdict,
        missing_since: left.is_none().then(|| NOW.minus(MINUTE * 21)),
    }
}
