//! Two alerts: a page that fires, a frozen ticket.

use super::{DAY, MINUTE, NOW};
use crate::api::page::view::*;
use crate::model::alert::AlertState;
use crate::model::objective::Severity;
use std::time::Duration;

use super::noise;

fn factor(values: &[(&str, &str)], share_of_bad: f64, share_of_traffic: f64) -> Factor {
    let values = values.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Factor { values, share_of_bad, share_of_traffic }
}

pub(in crate::api::page) fn factors() -> Vec<Factor> {
    vec![
        factor(
            &[("service.version", "4.2.0"), ("network.connection.type", "cellular")],
            0.93,
            0.06,
        ),
        factor(&[("region", "eu-south")], 0.41, 0.18),
    ]
}

pub(in crate::api::page) fn page() -> FiringView {
    FiringView {
        incident: "018f2a6c-91d3".to_owned(),
        name: "send-message-on-phones".to_owned(),
        is_slo: true,
        severity: Severity::Page,
        state: AlertState::Firing,
        summary: "send-message-on-phones burns 18x since 02:14; app 4.2.0 on cellular explains 93 % of it with 6 % of the traffic; 41 % of the budget left, gone in 9 h".to_owned(),
        since: NOW.minus(MINUTE * 40),
        owner: Some("messaging".to_owned()),
        runbook: Some("https://wiki.example.com/runbooks/send-message".to_owned()),
        affected: Some("app 4.2.0 on cellular".to_owned()),
        explanation: factors(),
        budget_left: Some(0.41),
        exhaustion: Exhaustion::In(Duration::from_secs(9 * 3_600 + 1_260)),
        burn: Some(18.1),
        pair: Some("1h/5m".to_owned()),
        recent: (0..72)
            .map(|at| {
                let dip = if at > 58 { 0.16 + 0.03 * noise(at) } else { 0.004 * noise(at) };
                Some(1.0 - dip)
            })
            .collect(),
        recent_span: Duration::from_secs(4 * 3_600),
        objective: Some(0.99),
        acknowledged: Some(("ann".to_owned(), NOW.minus(MINUTE * 12))),
        silenced: None,
        frozen_since: None,
        told: vec!["oncall".to_owned(), "chat-room".to_owned()],
        not_told: vec!["mail-gateway".to_owned()],
    }
}

pub(in crate::api::page) fn ticket() -> FiringView {
    FiringView {
        incident: "018f2a11-77c0".to_owned(),
        name: "feed-freshness".to_owned(),
        severity: Severity::Ticket,
        state: AlertState::Frozen,
        summary: "feed-freshness burns 3.4x since yesterday evening; no dimension explains it; 12 % of the budget left".to_owned(),
        since: NOW.minus(MINUTE * 520),
        owner: Some("feeds".to_owned()),
        runbook: Some("see the red folder".to_owned()),
        affected: None,
        explanation: Vec::new(),
        budget_left: Some(0.12),
        exhaustion: Exhaustion::In(DAY * 2),
        burn: Some(3.4),
        pair: Some("1d/2h".to_owned()),
        recent: Vec::new(),
        acknowledged: None,
        silenced: Some(SilencedView {
            by: "bob".to_owned(),
            comment: "vendor maintenance".to_owned(),
            until: NOW.plus(MINUTE * 95),
        }),
        frozen_since: Some(NOW.minus(MINUTE * 6)),
        told: vec!["tickets".to_owned()],
        not_told: Vec::new(),
        ..page()
    }
}
