//! The shipped probes are aimed at the demo's back end. Who starts `run` on them without it would
//! see nothing but refused connections; this finds that out and says so.

use crate::probe::spec::{Action, ProbeSpec};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use url::{Host, Url};

/// On loopback a connection is there at once or not at all.
const PATIENCE: Duration = Duration::from_millis(500);

/// Words for somebody whose probes are all aimed at the demo's servers, the back end first, while
/// nothing listens there.
pub(super) async fn demo_hint(
    probes: &[Arc<ProbeSpec>],
    servers: [SocketAddr; 2],
) -> Option<String> {
    if !all_aim_at(probes, &servers) {
        return None;
    }
    let [backend, _] = servers;
    let connected = tokio::time::timeout(PATIENCE, TcpStream::connect(backend)).await;
    if matches!(connected, Ok(Ok(_))) {
        return None;
    }
    Some(format!(
        "the probes with a URL aim at {backend}, the demo's back end, and nothing listens there: \
         `radiosonde demo` starts it with everything else; for your own back end put its address \
         into probes/"
    ))
}

/// Whether there are probes, and every address in them is one of `servers`.
fn all_aim_at(probes: &[Arc<ProbeSpec>], servers: &[SocketAddr]) -> bool {
    let addresses = probes.iter().flat_map(|probe| &probe.steps).filter_map(address);
    // Targets that are listed elsewhere say nothing.
    let mut addresses = addresses.filter(|url| !url.contains("${target}")).peekable();
    addresses.peek().is_some()
        && addresses.all(|url| servers.iter().any(|server| aims_at(url, *server)))
}

fn address(step: &crate::probe::spec::Step) -> Option<&str> {
    match &step.action {
        Action::Http(step) => Some(&step.url),
        Action::WebSocket(step) => Some(&step.url),
        Action::Sse(step) => Some(&step.url),
        Action::Poll(step) => Some(&step.url),
        _ => None,
    }
}

fn aims_at(url: &str, server: SocketAddr) -> bool {
    // A template may stand in the path, never in the way of the host.
    let Ok(url) = Url::parse(url) else { return false };
    let is_host = match url.host() {
        Some(Host::Ipv4(address)) => server.ip() == address,
        Some(Host::Ipv6(address)) => server.ip() == address,
        Some(Host::Domain(name)) => name == "localhost" && server.ip().is_loopback(),
        None => false,
    };
    is_host && url.port_or_known_default() == Some(server.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn probes(text: &str) -> Vec<Arc<ProbeSpec>> {
        let loaded = config::load_embedded(&[("probes.yaml", text)], &|_| true);
        loaded.settings.expect("the files are fine").probes
    }

    const SHIPPED: &[&str] = &[
        include_str!("../../../probes/chat-echo.yaml"),
        include_str!("../../../probes/edge.yaml"),
        include_str!("../../../probes/feed.yaml"),
        include_str!("../../../probes/rest.yaml"),
        include_str!("../../../probes/room-delivery.yaml"),
        include_str!("../../../probes/poll.yaml"),
        include_str!("../../../probes/resilience.yaml"),
        include_str!("../../../probes/mobile.yaml"),
        include_str!("../../../probes/tls.yaml"),
        #[cfg(feature = "http3")]
        include_str!("../../../probes/http3.yaml"),
    ];
    const SERVERS: [SocketAddr; 2] = [server(7070), server(7074)];

    const fn server(port: u16) -> SocketAddr {
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), port)
    }

    /// Guarantees that the shipped probes are known for the demo's, and that one address of the
    /// user's own is enough to be left in peace.
    #[test]
    fn the_shipped_probes_are_known() {
        let own = |url: &str| {
            probes(&format!("probes: [ {{ name: own, every: 9s, http: {{ get: '{url}' }} }} ]"))
        };
        let mut all: Vec<_> = SHIPPED.iter().copied().flat_map(probes).collect();
        assert!(all_aim_at(&all, &SERVERS));
        assert!(all_aim_at(&own("http://localhost:7070/"), &SERVERS));
        for url in ["http://127.0.0.1:7071/", "http://chat.example.com:7070/", "http://[::1]:7070/"]
        {
            assert!(!all_aim_at(&own(url), &SERVERS), "{url}");
        }
        all.extend(own("https://chat.example.com/"));
        assert!(!all_aim_at(&all, &SERVERS));
        assert!(!all_aim_at(&[], &SERVERS));
    }

    /// Guarantees that the hint names the way out, and stays away while the back end listens.
    #[tokio::test]
    async fn the_hint_stays_away_while_the_back_end_listens() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let backend = listener.local_addr().unwrap();
        let text =
            format!("probes: [ {{ name: a, every: 9s, http: {{ get: 'http://{backend}/' }} }} ]");
        let probes = probes(&text);
        assert_eq!(demo_hint(&probes, [backend; 2]).await, None);
        drop(listener);
        let hint = demo_hint(&probes, [backend; 2]).await.expect("nothing listens");
        assert!(hint.contains("radiosonde demo"), "{hint}");
    }
}
