//! Probes of TURN against coturn: over UDP, TCP and TLS, as a user and with a shared secret, through
//! the relay and back; and what it says to a wrong password and to a forbidden peer.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[expect(dead_code, reason = "no daemon runs here")]
#[path = "metrics/daemon.rs"]
mod daemon;

use daemon::{free_port, wait_until};
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tokio::net::TcpStream;

/// Runs until it is dropped.
struct Coturn {
    child: Child,
    /// UDP and TCP.
    port: u16,
    /// TLS.
    secure: u16,
}

impl Coturn {
    /// A server on loopback with the certificate of the folder, and whatever `more` configures.
    async fn start(dir: &Path, name: &str, more: &str) -> Self {
        let (port, secure) = (free_port(), free_port());
        let folder = dir.display();
        let text = format!(
            "listening-ip=127.0.0.1\nrelay-ip=127.0.0.1\nlistening-port={port}\n\
             tls-listening-port={secure}\nrealm=example.org\nfingerprint\nno-cli\n\
             cert={folder}/cert.pem\npkey={folder}/key.pem\n\
             log-file={folder}/{name}.log\nsimple-log\npidfile={folder}/{name}.pid\n\
             userdb={folder}/{name}.db\n{more}"
        );
        let file = dir.join(format!("{name}.conf"));
        std::fs::write(&file, text).unwrap();
        let child = Command::new("turnserver")
            .arg("-c")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("turnserver, of the Debian package coturn");
        let server = Self { child, port, secure };
        for port in [port, secure] {
            let address = ("127.0.0.1", port);
            wait_until("coturn listens", async || TcpStream::connect(address).await.is_ok()).await;
        }
        server
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A certificate for 127.0.0.1 in the folder.
fn certificate(dir: &Path) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let folder = dir.join("probes");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
}

/// Runs a probe with each of the blocks; the runs in that order.
fn probe(dir: &Path, blocks: &[String]) -> Vec<Value> {
    let probe = |(number, block): (usize, &String)| {
        format!("  - {{ name: p{number}, every: 30s, timeout: 5s, turn: {{ {block} }} }}\n")
    };
    let probes: String = blocks.iter().enumerate().map(probe).collect();
    std::fs::write(dir.join("probes/turn.yaml"), format!("probes:\n{probes}")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_radiosonde"))
        .current_dir(dir)
        .env_remove("RADIOSONDE_CONFIG")
        .env_remove("RADIOSONDE_PROBES")
        .args(["probe", "--format", "json"])
        .output()
        .unwrap();
    let document: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| unreachable!("{}", String::from_utf8_lossy(&output.stderr)));
    document.get("runs").and_then(Value::as_array).unwrap().clone()
}

fn text<'v>(run: &'v Value, key: &str) -> &'v str {
    run.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Guarantees an allocation and a datagram through the relay and back over all transports, that
/// coturn's software is told, and that every allocation was given back.
#[tokio::test]
#[ignore = "needs turnserver, of the Debian package coturn"]
async fn coturn_relays() {
    let dir = tempfile::tempdir().unwrap();
    certificate(dir.path());
    let more = "lt-cred-mech\nuser=probe:hush\nallow-loopback-peers\nverbose\n";
    let server = Coturn::start(dir.path(), "users", more).await;
    let more = "use-auth-secret\nstatic-auth-secret=shared\nallow-loopback-peers\n";
    let rest = Coturn::start(dir.path(), "rest", more).await;
    let user = "username: probe, password: hush, echo: true, within: 1s";
    let (port, secure) = (server.port, server.secure);
    let runs = probe(
        dir.path(),
        &[
            format!("address: \"127.0.0.1:{port}\", username: probe, password: hush"),
            format!("address: \"127.0.0.1:{port}\", {user}"),
            format!("address: \"127.0.0.1:{port}\", transport: tcp, {user}"),
            format!(
                "address: \"127.0.0.1:{secure}\", transport: tls, tls: {{ ca_file: cert.pem }}, {user}"
            ),
            format!("address: \"127.0.0.1:{}\", secret: shared, echo: true", rest.port),
        ],
    );
    assert_eq!(runs.len(), 5);
    for run in &runs {
        assert_eq!(text(run, "outcome"), "success", "{run:#}");
        let told = run.to_string();
        for part in [
            "turn.relayed_address",
            "127.0.0.1:",
            "Coturn",
            "example.org",
            "\"turn.lifetime_seconds\":600",
        ] {
            assert!(told.contains(part), "{part} in {run:#}");
        }
        assert!(!told.contains("turn.released"), "given back: {run:#}");
        assert!(!told.contains("hush") && !told.contains("shared"), "secrets are not told");
    }
}

/// Guarantees what is told of coturn's refusals: a wrong password and a forbidden peer.
#[tokio::test]
#[ignore = "needs turnserver, of the Debian package coturn"]
async fn coturn_refuses() {
    let dir = tempfile::tempdir().unwrap();
    certificate(dir.path());
    // Loopback is no peer unless it is allowed.
    let strict = Coturn::start(dir.path(), "strict", "lt-cred-mech\nuser=probe:hush\n").await;
    let runs = probe(
        dir.path(),
        &[
            format!("address: \"127.0.0.1:{}\", username: probe, password: loud", strict.port),
            format!(
                "address: \"127.0.0.1:{}\", username: probe, password: hush, echo: true",
                strict.port
            ),
        ],
    );
    let expected =
        ["does not accept user name and password", "forbids to relay from and to 127.0.0.1"];
    assert_eq!(runs.len(), expected.len());
    for (run, part) in runs.iter().zip(expected) {
        assert_eq!(text(run, "outcome"), "failure", "{run:#}");
        assert!(text(run, "failure_message").contains(part), "{part} in {run:#}");
    }
}
