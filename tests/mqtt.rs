//! Probes of MQTT against Mosquitto: both versions, all qualities of service, credentials, what is
//! retained, and delivery from one server to another.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[expect(dead_code, reason = "no daemon runs here")]
#[path = "metrics/daemon.rs"]
mod daemon;

use daemon::{free_port, wait_until};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tokio::net::TcpStream;

/// Runs until it is dropped.
struct Mosquitto {
    child: Child,
    /// For everybody.
    open: u16,
    /// For `probe` with the password `hush`.
    closed: u16,
}

impl Mosquitto {
    /// A server with two doors, and whatever else `more` configures.
    async fn start(dir: &Path, name: &str, more: &str) -> Self {
        let passwords = dir.join(format!("{name}.passwords"));
        let made = Command::new("mosquitto_passwd")
            .args(["-c", "-b", passwords.to_str().unwrap(), "probe", "hush"])
            .status();
        assert!(made.expect("mosquitto_passwd, of the Debian package mosquitto").success());
        let (open, closed) = (free_port(), free_port());
        // Started by root it would become somebody who may not read the folder.
        let text = format!(
            "user root\nper_listener_settings true\n\
             listener {open} 127.0.0.1\nallow_anonymous true\n\
             listener {closed} 127.0.0.1\nallow_anonymous false\npassword_file {}\n{more}",
            passwords.display()
        );
        let file = dir.join(format!("{name}.conf"));
        std::fs::write(&file, text).unwrap();
        let child = Command::new("mosquitto")
            .arg("-c")
            .arg(&file)
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto, of the Debian package of that name");
        let server = Self { child, open, closed };
        let address = ("127.0.0.1", open);
        wait_until("mosquitto listens", async || TcpStream::connect(address).await.is_ok()).await;
        server
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs every probe of the text once; the result of each, and why it failed.
fn probe(dir: &Path, probes: &str) -> Vec<(String, String)> {
    let folder = dir.join("probes");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("mqtt.yaml"), format!("probes:\n{probes}")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_radiosonde"))
        .current_dir(dir)
        .env_remove("RADIOSONDE_CONFIG")
        .env_remove("RADIOSONDE_PROBES")
        .args(["probe", "--format", "json"])
        .output()
        .unwrap();
    let document: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| unreachable!("{}", String::from_utf8_lossy(&output.stderr)));
    let runs = document.get("runs").and_then(Value::as_array).unwrap();
    let text =
        |run: &Value, key| run.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    runs.iter().map(|run| (text(run, "outcome"), text(run, "failure_message"))).collect()
}

#[track_caller]
fn assert_all_pass(dir: &Path, probes: &str) {
    for (outcome, why) in probe(dir, probes) {
        assert_eq!((outcome.as_str(), why.as_str()), ("success", ""));
    }
}

/// Guarantees that a message comes back in both versions and all qualities of service, once, and by
/// steps of its own as well.
#[tokio::test]
#[ignore = "needs mosquitto"]
async fn messages_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let server = Mosquitto::start(dir.path(), "one", "").await;
    let mut probes = String::new();
    for (version, qos) in ["5", "3.1.1"].iter().flat_map(|v| [0, 1, 2].map(|qos| (v, qos))) {
        let (open, closed) = (server.open, server.closed);
        write!(
            probes,
            "
  - name: alone-{version}-{qos}
    every: 30s
    mqtt:
      url: mqtt://127.0.0.1:{closed}
      version: {version}
      username: probe
      password: hush
      subscribe: [ \"rooms/${{run.id}}/+\", other/# ]
      qos: {qos}
      ping: true
      publish: {{ topic: \"rooms/${{run.id}}/a\", message: {{ id: \"${{run.id}}\" }}, qos: {qos} }}
      expect: {{ topic: \"rooms/${{run.id}}/a\", json: {{ id: \"${{run.id}}\" }}, within: 5s }}
      duplicates: refuse
  - name: together-{version}-{qos}
    every: 30s
    steps:
      - as: bob
        mqtt:
          {{ url: \"mqtt://127.0.0.1:{open}\", version: {version}, subscribe: \"r/${{run.id}}\", qos: {qos} }}
      - as: alice
        mqtt:
          url: mqtt://127.0.0.1:{open}
          version: {version}
          publish: {{ topic: \"r/${{run.id}}\", message: hello, qos: {qos} }}
      - {{ on: bob, expect: {{ text: hello, since: alice, within: 5s }} }}
      - {{ on: alice, send: again }}
      - {{ on: bob, expect: {{ text: again }} }}
"
        )
        .unwrap();
    }
    assert_all_pass(dir.path(), &probes);
}

/// Guarantees that a refused connection says why, in the words of each version.
#[tokio::test]
#[ignore = "needs mosquitto"]
async fn refusals_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let server = Mosquitto::start(dir.path(), "one", "").await;
    let mut probes = String::new();
    for version in ["5", "3.1.1"] {
        let url = format!("mqtt://127.0.0.1:{}", server.closed);
        let mqtt = format!("url: \"{url}\", version: {version}, username: probe, password: no");
        writeln!(probes, "  - {{ name: bad-{version}, every: 30s, mqtt: {{ {mqtt} }} }}").unwrap();
    }
    let runs = probe(dir.path(), &probes);
    let words = ["code 0x87, not authorized", "code 0x05, not authorized"];
    assert_eq!(runs.len(), words.len());
    for ((outcome, why), words) in runs.iter().zip(words) {
        assert!(outcome == "failure" && why.contains(words), "{why}");
    }
}

/// Guarantees that what is retained is heard by who accepts it and by nobody else, and that a
/// session is continued by its client identifier.
#[tokio::test]
#[ignore = "needs mosquitto"]
async fn what_is_kept_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let server = Mosquitto::start(dir.path(), "one", "").await;
    let url = format!("mqtt://127.0.0.1:{}", server.open);
    let kept = format!(
        "  - {{ name: keep, every: 30s, mqtt: {{ url: '{url}', publish: {{ topic: kept, message: old, retain: true, qos: 1 }} }} }}\n"
    );
    assert_all_pass(dir.path(), &kept);
    for version in ["5", "3.1.1"] {
        let mqtt =
            format!("url: '{url}', version: {version}, subscribe: kept, expect: {{ text: old }}");
        let heard = format!(
            "  - {{ name: heard, every: 30s, timeout: 5s, mqtt: {{ {mqtt}, retained: accept }} }}\n  - {{ name: passed, every: 30s, timeout: 500ms, mqtt: {{ {mqtt} }} }}\n"
        );
        let runs = probe(dir.path(), &heard);
        let outcomes: Vec<&str> = runs.iter().map(|(outcome, _)| outcome.as_str()).collect();
        assert_eq!(outcomes, ["success", "failure"], "{runs:#?}");
    }
}

/// Guarantees that a session survives a lost connection, in both versions.
#[tokio::test]
#[ignore = "needs mosquitto"]
async fn sessions_are_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let server = Mosquitto::start(dir.path(), "one", "").await;
    let mut probes = String::new();
    for (version, qos) in ["5", "3.1.1"].iter().flat_map(|v| [1, 2].map(|qos| (v, qos))) {
        write!(
            probes,
            "
  - name: resumed-{version}-{qos}
    every: 30s
    mqtt:
      url: mqtt://127.0.0.1:{}
      version: {version}
      client_id: probe-{version}-{qos}
      subscribe: \"rooms/${{run.id}}\"
      qos: {qos}
      publish: {{ topic: \"rooms/${{run.id}}\", message: hi, qos: {qos} }}
      expect: {{ text: hi, within: 5s }}
      resume: true
",
            server.open
        )
        .unwrap();
    }
    assert_all_pass(dir.path(), &probes);
    // Once more: what the first runs left is not in the way.
    assert_all_pass(dir.path(), &probes);
}

/// Guarantees delivery from one server to another: alice publishes here, bob hears it there.
#[tokio::test]
#[ignore = "needs mosquitto"]
async fn messages_cross_from_server_to_server() {
    let dir = tempfile::tempdir().unwrap();
    let here = Mosquitto::start(dir.path(), "here", "").await;
    let bridge =
        format!("connection here\naddress 127.0.0.1:{}\ntopic rooms/# both 1\n", here.open);
    let there = Mosquitto::start(dir.path(), "there", &bridge).await;
    let (here, there) = (here.open, there.open);
    let probes = format!(
        "
  - name: across
    every: 30s
    timeout: 2s
    steps:
      - {{ as: bob, mqtt: {{ url: 'mqtt://127.0.0.1:{there}', subscribe: 'rooms/${{run.id}}', qos: 1 }} }}
      - as: alice
        mqtt: {{ url: 'mqtt://127.0.0.1:{here}', publish: {{ topic: 'rooms/${{run.id}}', message: hi, qos: 1 }} }}
      - {{ on: bob, expect: {{ topic: 'rooms/${{run.id}}', text: hi, since: alice, within: 1s }} }}
"
    );
    // The bridge connects in its own time.
    let cross = async || probe(dir.path(), &probes).iter().all(|(outcome, _)| outcome == "success");
    wait_until("messages cross", cross).await;
}
