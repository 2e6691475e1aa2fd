//! Two apps and their matrices: one version is slow on one network.

use super::{MINUTE, NOW};
use crate::api::page::view::*;
use std::time::Duration;

use super::noise;

pub(in crate::api::page) fn phones() -> PhonesView {
    PhonesView {
        apps: vec![
            PhoneApp {
                name: "chat-android".to_owned(),
                newest: Some(NOW.minus(Duration::from_secs(14))),
                received: 1_204_033,
                dropped: 212,
            },
            PhoneApp {
                name: "chat-ios".to_owned(),
                newest: Some(NOW.minus(Duration::from_secs(15))),
                received: 870_118,
                dropped: 0,
            },
        ],
        slos: vec![phone_slo("send-message-on-phones", 0.99), phone_slo("login-on-phones", 0.95)],
    }
}

fn phone_slo(name: &str, objective: f64) -> PhoneSlo {
    PhoneSlo { name: name.to_owned(), objective, over: MINUTE * 60, matrices: matrices() }
}

pub(in crate::api::page) fn matrices() -> Vec<MatrixView> {
    let matrix = |column_dimension: &str, columns: &[&str]| MatrixView {
        row_dimension: "service.version".to_owned(),
        column_dimension: column_dimension.to_owned(),
        columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        rows: ["4.2.0", "4.1.3", "4.1.2", "4.0.9"]
            .iter()
            .enumerate()
            .map(|(row, version)| {
                let cells = (0..columns.len()).map(|column| {
                    let seed = (row * 10 + column) as u64;
                    let total = [2_310, 18_400, 7_912, 38][row] / (column as u64 + 1);
                    let bad = match (row, column) {
                        (0, 1) => 0.17,
                        (0, 0) => 0.021,
                        _ => 0.007 * noise(seed),
                    };
                    let good = total - (bad * total as f64) as u64;
                    (!(row == 3 && column == 2)).then_some(MatrixCell { good, total })
                });
                ((*version).to_owned(), cells.collect())
            })
            .collect(),
    };
    vec![
        matrix("network.connection.type", &["wifi", "cellular", ""]),
        matrix("region", &["eu-west", "eu-south", "us-east", "ap-south"]),
    ]
}
