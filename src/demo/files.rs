//! The shipped `probes/` and `alerts/`, built into the binary, and how the demo bends them: real
//! windows are weeks long, and nobody waits a week for a demo.

use crate::base::secret::Secret;
use crate::model::objective::{BurnPair, Severity, Slo};
use crate::model::routing::{Channel, Receiver};
use std::net::SocketAddr;
use std::time::Duration;

/// The window of every objective in the demo.
pub const WINDOW: Duration = Duration::from_secs(30 * 60);

/// The one pair of burn windows in the demo. A quarter of the budget in 2 minutes of 30 is a burn
/// rate of 3.75: seconds of a real fault, and never reached by the world's everyday hiccups.
pub const BURN: BurnPair = BurnPair {
    budget: 0.25,
    long: Duration::from_secs(120),
    short: Duration::from_secs(20),
    severity: Severity::Page,
};

/// Path templates of the sample back end, for phones that report whole URLs only.
pub const ROUTES: [&str; 2] = ["/rooms/{id}/messages", "/messages/{id}"];

const FILES: &[(&str, &str)] = &[
    ("probes/chat-echo.yaml", include_str!("../../probes/chat-echo.yaml")),
    ("probes/room-delivery.yaml", include_str!("../../probes/room-delivery.yaml")),
    ("probes/feed.yaml", include_str!("../../probes/feed.yaml")),
    ("probes/poll.yaml", include_str!("../../probes/poll.yaml")),
    ("probes/rest.yaml", include_str!("../../probes/rest.yaml")),
    ("probes/dns.yaml", include_str!("../../probes/dns.yaml")),
    ("probes/icmp.yaml", include_str!("../../probes/icmp.yaml")),
    ("probes/tcp.yaml", include_str!("../../probes/tcp.yaml")),
    ("probes/tls.yaml", include_str!("../../probes/tls.yaml")),
    #[cfg(feature = "http3")]
    ("probes/http3.yaml", include_str!("../../probes/http3.yaml")),
    ("probes/udp.yaml", include_str!("../../probes/udp.yaml")),
    ("probes/grpc.yaml", include_str!("../../probes/grpc.yaml")),
    ("probes/mqtt.yaml", include_str!("../../probes/mqtt.yaml")),
    #[cfg(feature = "webrtc")]
    ("probes/webrtc.yaml", include_str!("../../probes/webrtc.yaml")),
    ("probes/resilience.yaml", include_str!("../../probes/resilience.yaml")),
    ("probes/mobile.yaml", include_str!("../../probes/mobile.yaml")),
    ("probes/edge.yaml", include_str!("../../probes/edge.yaml")),
    ("probes/targets/edge.yaml", include_str!("../../probes/targets/edge.yaml")),
    ("probes/blackbox-modules.yaml", include_str!("../../probes/blackbox-modules.yaml")),
    ("alerts/slos.yaml", include_str!("../../alerts/slos.yaml")),
    ("alerts/routing.yaml", include_str!("../../alerts/routing.yaml")),
];

/// The shipped example files: path below the repository's root, and text.
#[must_use]
pub fn embedded() -> Vec<(&'static str, &'static str)> {
    FILES.to_vec()
}

/// The embedded files with the default addresses of the sample servers replaced by where they really
/// listen.
#[must_use]
pub fn aimed_at(servers: &[(&str, SocketAddr)]) -> Vec<(String, String)> {
    let aim = |text: &str| {
        let aimed = text.to_owned();
        servers.iter().fold(aimed, |text, (from, to)| text.replace(from, &to.to_string()))
    };
    FILES.iter().map(|(path, text)| ((*path).to_owned(), aim(text))).collect()
}

/// Gives every objective the demo's [`WINDOW`] and its one [`BURN`] pair.
pub fn overrides<'a>(slos: impl IntoIterator<Item = &'a mut Slo>) {
    for slo in slos {
        slo.window = WINDOW;
        slo.burn = vec![BURN];
    }
}

/// Sends the notifications of every receiver to `address`, the demo's own terminal.
pub fn redirect<'a>(receivers: impl IntoIterator<Item = &'a mut Receiver>, address: SocketAddr) {
    for receiver in receivers {
        receiver.send_resolved = true;
        receiver.channel = Channel::Webhook {
            url: Secret::new(format!("http://{address}/{}", receiver.name)),
            headers: Vec::new(),
            timeout: Duration::from_secs(5),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::super::backend::{
        DEFAULT_ADDRESS, DEFAULT_MQTT_ADDRESS, NAMES_ADDRESS, SECURE_ADDRESS,
    };
    use super::*;
    use crate::model::labels::Labels;
    use crate::model::matcher::Where;
    use crate::model::objective::{Indicator, Selector, Source};

    fn slo(objective: f64) -> Slo {
        let event = |name: &str| Selector {
            source: Source::Event(name.to_owned()),
            filter: Where::default(),
        };
        Slo {
            name: "crash-ratio".to_owned(),
            owner: None,
            description: None,
            runbook: None,
            objective,
            window: Duration::from_secs(28 * 86_400),
            indicator: Indicator::Ratio { bad: event("app.crash"), total: event("session.start") },
            burn: crate::model::objective::workbook_pairs(Duration::from_secs(28 * 86_400)),
            absent_after: Duration::from_secs(300),
            labels: Labels::default(),
        }
    }

    /// Guarantees that each embedded file parses as YAML with the sections of its folder.
    #[test]
    fn embedded_files_are_yaml_of_their_folder() {
        let of_targets = |path: &str| path.starts_with("probes/targets/");
        for (path, text) in embedded().into_iter().filter(|(path, _)| !of_targets(path)) {
            let value: serde_json::Value = serde_saphyr::from_str(text).expect(path);
            let sections: Vec<&String> = value.as_object().expect(path).keys().collect();
            let allowed: &[&str] = match path.split_once('/') {
                Some(("probes", _)) => &["probes", "modules", "networks"],
                _ => &["slos", "receivers", "route", "heartbeat"],
            };
            assert!(sections.iter().all(|section| allowed.contains(&section.as_str())), "{path}");
        }
    }

    /// Guarantees that no shipped file is forgotten.
    #[test]
    fn embedded_files_are_all_that_is_shipped() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut shipped: Vec<String> = ["probes", "probes/targets", "alerts"]
            .iter()
            .flat_map(|folder| std::fs::read_dir(root.join(folder)).expect("is there"))
            .map(|entry| entry.expect("readable").path())
            .filter(|path| path.is_file())
            .map(|path| path.strip_prefix(root).expect("below the root").display().to_string())
            // Needs what a build may leave out.
            .filter(|path| cfg!(feature = "webrtc") || path != "probes/webrtc.yaml")
            .collect();
        shipped.sort();
        let mut known: Vec<String> =
            embedded().iter().map(|(path, _)| (*path).to_owned()).collect();
        known.sort();
        assert_eq!(known, shipped);
    }

    /// Guarantees that files speak to the back end that was started, wherever it listens.
    #[test]
    fn files_are_aimed_at_the_back_end() {
        let on = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let servers = [
            (DEFAULT_ADDRESS, on(45_001)),
            (DEFAULT_MQTT_ADDRESS, on(45_002)),
            (NAMES_ADDRESS, on(45_003)),
            (SECURE_ADDRESS, on(45_004)),
        ];
        let probes: String = aimed_at(&servers).into_iter().map(|(_, text)| text).collect();
        assert!(probes.contains("ws://127.0.0.1:45001/chat"));
        assert!(probes.contains("mqtt://127.0.0.1:45002"));
        assert!(probes.contains("server: 127.0.0.1:45003"));
        assert!(servers.iter().all(|(default, _)| !probes.contains(default)));
    }

    /// Guarantees that the demo's pair can fire for each objective that the files have, and does
    /// not fire for an app that is at its objective.
    #[test]
    fn the_demos_pair_is_sensible() {
        for objective in [0.99, 0.995, 0.999] {
            let mut slos = [slo(objective)];
            overrides(&mut slos);
            let (pair, window) = (slos[0].burn[0], slos[0].window);
            assert_eq!(slos[0].burn.len(), 1);
            assert_eq!(pair.factor(window), 3.75);
            assert!(pair.factor(window) < BurnPair::max_burn(objective));
        }
    }

    /// Guarantees that no notification of the demo leaves it.
    #[test]
    fn every_receiver_is_the_terminal() {
        let mut receivers = [Receiver {
            name: "oncall".to_owned(),
            send_resolved: false,
            channel: Channel::Alertmanager {
                url: Secret::new("http://somewhere.example/"),
                headers: Vec::new(),
                timeout: Duration::from_secs(1),
            },
        }];
        redirect(&mut receivers, SocketAddr::from(([127, 0, 0, 1], 9)));
        let [Receiver { channel, send_resolved, .. }] = &receivers;
        let Channel::Webhook { url, .. } = channel else { unreachable!("it was redirected") };
        assert_eq!(url.reveal(), "http://127.0.0.1:9/oncall");
        assert!(send_resolved);
    }
}
