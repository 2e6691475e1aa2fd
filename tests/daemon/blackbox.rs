//! `/probe` of the daemon with a module file as blackbox_exporter has it, against real servers.

use super::process::{Daemon, configure};
use axum::Router;
use axum::http::HeaderMap;
use axum::response::Redirect;
use axum::routing::{get, post};
use std::path::Path;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, UdpSocket};

const MODULES: &str = r#"
modules:
  http_2xx:
    prober: http
    timeout: 5s
    http:
      preferred_ip_protocol: "ip4"
      basic_auth: { username: probe, password: hush-hush }
      headers: { X-Api-Key: key-of-mine, Accept: text/plain }
      http_headers: { X-Token: { secrets: [ token-of-mine ] } }
  http_pattern:
    prober: http
    http: { fail_if_body_not_matches_regexp: [ "^pong$" ] }
  http_header:
    prober: http
    http: { fail_if_header_not_matches: [ { header: X-Kind, regexp: "^good$" } ] }
  http_post_2xx:
    prober: http
    http: { method: POST, body: 'cost: $5 ${run.id}' }
  http_once:
    prober: http
    http: { follow_redirects: false, valid_status_codes: [ 307 ] }
  smtp:
    prober: tcp
    tcp:
      query_response:
        - expect: "^220 ([a-z]+) (.*)$"
          labels: [ { name: host, value: "${1}" }, { name: rest, value: "$2" } ]
          send: "EHLO ${1}"
        - expect: "^250 hello mail"
  dns:
    prober: dns
    dns:
      query_name: chat.test
      query_type: A
      validate_answer_rrs: { fail_if_not_matches_regexp: [ "^chat\\.test\\.\t60\tIN\tA\t192\\.0\\.2\\.\\d+$" ] }
"#;

/// The servers: HTTP, lines, names.
struct Servers {
    http: String,
    lines: String,
    names: String,
}

async fn servers() -> Servers {
    async fn listen() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        (listener, address)
    }
    let whole = |headers: HeaderMap| async move {
        let of = |name: &str| headers[name].to_str().unwrap().to_owned();
        format!("{} {} {}", of("authorization"), of("x-api-key"), of("x-token"))
    };
    let router = Router::new()
        .route("/whole", get(whole))
        .route("/ping", get(|| async { ([("x-kind", "good")], "pong") }))
        .route("/other", get(|| async { ([("x-kind", "bad")], "pong2") }))
        .route("/post", post(|body: String| async move { assert_eq!(body, "cost: $5 ${run.id}") }))
        .route("/moved", get(|| async { Redirect::temporary("/ping") }));
    let (listener, http) = listen().await;
    drop(tokio::spawn(async move { axum::serve(listener, router).await }));
    let (listener, lines) = listen().await;
    drop(tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            drop(stream.write_all(b"hi\r\n220 mail ESMTP of ours\r\n").await);
            let mut line = String::new();
            drop(stream.read_line(&mut line).await);
            let answer = if line == "EHLO mail\n" { "250 hello mail\r\n" } else { "500 what\r\n" };
            drop(stream.write_all(answer.as_bytes()).await);
        }
    }));
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let names = socket.local_addr().unwrap().to_string();
    drop(tokio::spawn(async move {
        let mut query = [0; 1_500];
        while let Ok((_, from)) = socket.recv_from(&mut query).await {
            // Header with one answer, the question, and A 192.0.2.7 under its name.
            let end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
            let head = [&query[..2], &[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]].concat();
            let record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7];
            let answer = [&head, &query[12..end], record.as_slice()].concat();
            drop(socket.send_to(&answer, from).await);
        }
    }));
    Servers { http, lines, names }
}

fn write(dir: &Path, settings: &str) {
    configure(dir, settings);
    std::fs::create_dir_all(dir.join("probes")).unwrap();
    std::fs::write(dir.join("probes/blackbox.yml"), MODULES).unwrap();
}

#[track_caller]
fn assert_lines(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|found| found == *line), "no line {line:?} in\n{text}");
    }
}

/// Guarantees names, labels and values of every family by which dashboards of blackbox_exporter know a
/// target, and that such runs are nobody else's: they are on no page of metrics.
#[tokio::test]
async fn a_module_file_of_blackbox_exporter_is_probed_by() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "");
    let servers = servers().await;
    let daemon = Daemon::ready(dir.path()).await;
    let ask = async |target: &str, module: &str| {
        daemon.text(&format!("/probe?target={target}&module={module}")).await
    };
    let Servers { http, lines, names } = &servers;
    let text = ask(&format!("{http}/whole"), "http_2xx").await;
    assert_lines(
        &text,
        &[
            "probe_success 1",
            "probe_ip_protocol 4",
            "probe_ip_addr_hash 3668918509",
            "probe_timeout_seconds 5",
            "probe_dns_lookup_time_seconds 0",
            "probe_http_status_code 200",
            "probe_http_version 1.1",
            "probe_http_redirects 0",
            "probe_http_ssl 0",
            "probe_failed_due_to_regex 0",
            "probe_http_content_length 52",
            "probe_http_uncompressed_body_length 52",
            "probe_http_duration_seconds{phase=\"tls\"} 0",
        ],
    );
    for phase in ["connect", "processing", "transfer"] {
        assert!(text.contains(&format!("{{phase=\"{phase}\"}}")), "{text}");
    }
    for (path, module, expected) in [
        ("ping", "http_pattern", ["probe_success 1", "probe_failed_due_to_regex 0"]),
        ("other", "http_pattern", ["probe_success 0", "probe_failed_due_to_regex 1"]),
        ("moved", "http_pattern", ["probe_success 1", "probe_http_redirects 1"]),
        ("ping", "http_header", ["probe_success 1", "probe_failed_due_to_regex 0"]),
        ("other", "http_header", ["probe_success 0", "probe_failed_due_to_regex 1"]),
        ("post", "http_post_2xx", ["probe_success 1", "probe_http_status_code 200"]),
        ("moved", "http_once", ["probe_success 1", "probe_http_status_code 307"]),
    ] {
        assert_lines(&ask(&format!("{http}/{path}"), module).await, &expected);
    }
    let expected = ["probe_success 1", "probe_expect_info{host=\"mail\",rest=\"ESMTP of ours\"} 1"];
    assert_lines(&ask(lines, "smtp").await, &expected);
    let expected = ["probe_success 1", "probe_dns_answer_rrs 1", "probe_dns_query_succeeded 1"];
    assert_lines(&ask(names, "dns").await, &expected);
    let metrics = daemon.text("/metrics").await;
    assert!(!metrics.contains("radiosonde_probe_runs_total"), "{metrics}");
}

/// Guarantees that the debug output holds its three blocks, and none of the secrets of module and target.
#[tokio::test]
async fn debug_output_hides_secrets() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "blackbox: { allow: [ \"127.0.0.1:*\" ] }");
    let servers = servers().await;
    let daemon = Daemon::ready(dir.path()).await;
    let http = servers.http;
    let target = format!("http://me:word-of-pass@{http}/whole");
    let text = daemon.text(&format!("/probe?target={target}&debug=true")).await;
    for part in [
        "Logs for the probe:\n",
        "\nMetrics that would have been returned:\n",
        "\nprobe_success 1\n",
        "\nModule configuration:\nprober: http\n",
        "  basic_auth:\n    username: probe\n    password: <secret>\n",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    for secret in ["hush-hush", "key-of-mine", "token-of-mine", "word-of-pass"] {
        assert!(!text.contains(secret), "{secret} in\n{text}");
    }
    assert_eq!(daemon.status("/probe?target=192.0.2.1:80").await, 403);
}
