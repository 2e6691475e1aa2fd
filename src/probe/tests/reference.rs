//! The reference servers and the instrument against them.

use super::super::reference::{DelayServer, Instrument, Protocol, Sample};
use crate::base::clock::Clock;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Guarantees that every protocol is measured against its server: each run has its own record, the
/// server waited no less than it was told, and errors are far below the delay.
#[tokio::test]
async fn runs_are_paired_with_what_the_server_held_back() {
    let delays = [Duration::from_millis(5), Duration::from_millis(30)];
    let (instrument, mut cases) =
        Instrument::start(Clock::system(), Protocol::ALL, &delays).expect("started");
    let names: Vec<&str> = cases.iter().map(|case| case.name()).collect();
    let expected =
        ["http-5ms", "http-30ms", "websocket-5ms", "websocket-30ms", "sse-5ms", "sse-30ms"];
    assert_eq!(names, expected);
    for _ in 0..5 {
        for case in &mut cases {
            let run = instrument.begin(case).expect("begun").await.expect("a result");
            instrument.record(case, &run).expect("a value");
        }
    }
    for case in &cases {
        assert_eq!(case.samples.len(), 5);
        // A run paired with the record of another delay would be off by 25 ms in the median.
        let errors = Sample::errors(&case.samples).expect("samples");
        assert!(errors.p50.abs() < 20_000_000, "{}: {errors:?}", case.name());
    }
    let run = instrument.begin(&cases[0]).expect("begun").await.expect("a result");
    let refused = instrument.record(&mut cases[1], &run).expect_err("of another case");
    assert_eq!(refused.to_string(), "the reference server of http was not asked");
}

/// Guarantees that a server ends when it is dropped, whatever a client is doing.
#[test]
fn a_dropped_server_hangs_up() {
    let check = |protocol: Protocol, says: &[u8]| {
        let server = DelayServer::start(protocol, Duration::from_millis(1), Clock::system());
        let server = server.expect("started");
        let mut client = TcpStream::connect(server.address()).expect("connected");
        client.write_all(says).expect("written");
        drop(server);
        // Dropping has joined the thread; what it wrote before may be read, then comes the end.
        drop(client.read_to_end(&mut Vec::new()));
    };
    for protocol in Protocol::ALL {
        check(*protocol, b"");
        check(*protocol, b"GET / HTTP/1.1\r\n");
        check(*protocol, b"GET / HTTP/1.1\r\n\r\n");
    }
}

/// Guarantees that what a server records is never less than its delay.
#[test]
fn a_server_waits_no_less_than_its_delay() {
    let delay = Duration::from_millis(3);
    let server = DelayServer::start(Protocol::Http, delay, Clock::system()).expect("started");
    assert_eq!(server.held_back(), None);
    let mut client = TcpStream::connect(server.address()).expect("connected");
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("written");
    let _ = client.read(&mut [0]).expect("an answer");
    assert!(server.held_back().is_some_and(|held_back| held_back >= delay));
    assert_eq!(server.held_back(), None);
}
