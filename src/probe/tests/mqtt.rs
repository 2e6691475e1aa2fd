//! MQTT against a broker that behaves, and one that does not.

use super::super::spec::{
    Action, Expect, HeaderText, MqttPublish, MqttStep, MqttVersion, ProbeSpec, Qos, Repeat, Step,
    TlsOptions,
};
use super::super::writes::WriteTarget;
use super::super::{SlotStart, run_once};
use super::mqtt_broker::{Broker, CONNECT, Faults, PINGREQ, PUBLISH, SUBSCRIBE};
use super::servers::{Server, linger, raw, write};
use super::{
    assert_failure, assert_success, attribute, context, expect_json, phases, run, run_within, spec,
    step,
};
use crate::base::secret::Secret;
use crate::model::probe::{FailureReason, Phase, ProbeRun};
use serde_json::json;
use std::time::Duration;

const TOPIC: &str = "rooms/${run.id}/a";
const QUALITIES: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];
const VERSIONS: [MqttVersion; 2] = [MqttVersion::V3_1_1, MqttVersion::V5];

/// Only connects.
fn connect(server: &Server) -> MqttStep {
    MqttStep {
        url: server.url("mqtt", ""),
        version: MqttVersion::V5,
        client_id: None,
        username: None,
        password: None,
        keep_alive: Duration::from_secs(60),
        clean_start: true,
        session_expiry: None,
        subscribe: Vec::new(),
        qos: Qos::AtMostOnce,
        publish: None,
        resume: false,
        ping: false,
        expect: None,
        accept_retained: false,
        refuse_duplicates: false,
        tls: TlsOptions::default(),
    }
}

fn subscribe(server: &Server, qos: Qos) -> MqttStep {
    MqttStep { subscribe: vec!["rooms/${run.id}/+".into()], qos, ..connect(server) }
}

fn publish(server: &Server, qos: Qos) -> MqttStep {
    let message = Some(r#"{"id":"${run.id}"}"#.into());
    let publish = MqttPublish { topic: TOPIC.into(), message, qos, retain: false };
    MqttStep { publish: Some(publish), ..connect(server) }
}

fn expected() -> Expect {
    Expect { event: Some(TOPIC.into()), ..expect_json(json!({"id": "${run.id}"})) }
}

/// Publishes to itself.
fn round_trip(server: &Server, qos: Qos) -> MqttStep {
    MqttStep {
        publish: publish(server, qos).publish,
        expect: Some(expected()),
        ..subscribe(server, qos)
    }
}

async fn run_mqtt(ask: MqttStep) -> ProbeRun {
    run(vec![step("1", Action::Mqtt(ask))]).await
}

async fn run_faulty(faults: Faults, ask: impl FnOnce(&Server) -> MqttStep) -> ProbeRun {
    let broker = Broker::new(faults);
    let server = broker.door().await;
    let ask = ask(&server);
    run_within(Duration::from_millis(400), vec![step("1", Action::Mqtt(ask))]).await
}

/// Waits until the broker has seen so many packets of a type: a farewell is not waited for.
async fn await_packets(broker: &Broker, packet: &str, count: usize) {
    let seen = async {
        while broker.count(packet) < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(10), seen).await;
    assert!(waited.is_ok(), "no {packet}: {:#?}", broker.log());
}

/// Guarantees that a message comes back in both versions and all qualities of service, is
/// acknowledged as each demands, and that each phase is stamped.
#[tokio::test]
async fn a_message_comes_back() {
    for (version, qos) in VERSIONS.iter().flat_map(|version| QUALITIES.map(|qos| (*version, qos))) {
        let broker = Broker::new(Faults::default());
        let server = broker.door().await;
        let run = run_mqtt(MqttStep { version, ..round_trip(&server, qos) }).await;
        assert_success(&run);
        let done = &run.steps[0];
        let confirmed = (qos != Qos::AtMostOnce).then_some(Phase::Wait);
        let mut wanted = vec![Phase::Connect, Phase::Handshake, Phase::Subscribe, Phase::Send];
        wanted.extend(confirmed);
        assert!(phases(done).starts_with(&wanted), "{done:#?}");
        assert_eq!((done.status, done.protocol.as_str()), (Some(0), "mqtt"));
        assert_eq!(attribute(done, "network.protocol.version").as_deref(), Some(version.as_str()));
        assert_eq!(run.latency_ns, done.message_latency_ns);
        let acknowledged = [("PUBACK", Qos::AtLeastOnce), ("PUBREC", Qos::ExactlyOnce)];
        for (packet, of) in acknowledged {
            await_packets(&broker, packet, usize::from(of == qos)).await;
        }
        await_packets(&broker, "DISCONNECT", 1).await;
    }
}

/// Guarantees that the value of a message at quality 0 runs from the sending to its arrival.
#[tokio::test]
async fn a_message_is_timed_from_its_sending() {
    let server = Broker::new(Faults::default()).door().await;
    let run = run_mqtt(round_trip(&server, Qos::AtMostOnce)).await;
    assert_success(&run);
    let [.., send, message] = run.steps[0].phases[..] else { unreachable!("{run:#?}") };
    assert_eq!((send.phase, message.phase), (Phase::Send, Phase::Message));
    let together = message.offset_ns + message.duration_ns - send.offset_ns;
    assert_eq!(run.latency_ns, Some(together));
}

/// Guarantees the main use: one step subscribes at one server, another publishes at a second, and
/// the value runs from the one's sending to the other's receiving.
#[tokio::test]
async fn publisher_and_subscriber_are_different_steps() {
    let broker = Broker::new(Faults::default());
    let (here, there) = (broker.door().await, broker.door().await);
    let since = Some("alice".to_owned());
    let wait = Expect { since, within: Some(Duration::from_secs(10)), ..expected() };
    let run = run(vec![
        step("bob", Action::Mqtt(subscribe(&here, Qos::AtLeastOnce))),
        step("alice", Action::Mqtt(publish(&there, Qos::AtLeastOnce))),
        step("3", Action::Expect { on: vec!["bob".into()], expect: wait }),
    ])
    .await;
    assert_success(&run);
    let [bob, alice, receive] = &run.steps[..] else { unreachable!("{run:#?}") };
    assert_eq!(phases(bob), [Phase::Connect, Phase::Handshake, Phase::Subscribe]);
    assert_eq!(phases(alice), [Phase::Connect, Phase::Handshake, Phase::Send, Phase::Wait]);
    assert_eq!(run.latency_ns, receive.message_latency_ns);
    assert_eq!(bob.target, here.url("mqtt", ""));
    assert!(receive.checks[0].name.starts_with("a message on topic rooms/"), "{receive:#?}");
}

/// Guarantees that a later step publishes to the topic that the first one names, and that captured
/// values come out of messages.
#[tokio::test]
async fn a_later_step_sends_over_the_connection() {
    let broker = Broker::new(Faults::default());
    let server = broker.door().await;
    let mut ask = MqttStep { expect: None, ..round_trip(&server, Qos::ExactlyOnce) };
    ask.publish = ask.publish.map(|publish| MqttPublish { message: None, ..publish });
    let mut wait = step("3", Action::Expect { on: vec!["bob".into()], expect: expected() });
    wait.capture = vec![("id".into(), "/id".into())];
    let again = expect_json(json!({"again": "${run.id}"}));
    let run = run(vec![
        step("bob", Action::Mqtt(ask)),
        step(
            "2",
            Action::Send {
                on: "bob".into(),
                send: r#"{"id":"${run.id}"}"#.into(),
                repeat: Repeat::ONCE,
            },
        ),
        wait,
        step(
            "4",
            Action::Send {
                on: "bob".into(),
                send: r#"{"again":"${id}"}"#.into(),
                repeat: Repeat::ONCE,
            },
        ),
        step("5", Action::Expect { on: vec!["bob".into()], expect: again }),
    ])
    .await;
    assert_success(&run);
    assert_eq!(phases(&run.steps[1]), [Phase::Send, Phase::Wait]);
    assert_eq!(broker.count("PUBLISH"), 2);
    // The first delivery was over before the second message came.
    await_packets(&broker, "DISCONNECT", 1).await;
    assert!(broker.count("PUBCOMP") >= 1, "{:#?}", broker.log());
}

/// Guarantees that version 5 carries run, step and origin with connection and message, and that
/// credentials are filled in.
#[tokio::test]
async fn connection_and_message_say_who_sends() {
    let broker = Broker::new(Faults::default());
    let server = broker.door().await;
    let ask = MqttStep {
        username: Some(HeaderText::Plain("probe-${run.id}".into())),
        password: Some(Secret::new("hush")),
        ..publish(&server, Qos::AtMostOnce)
    };
    let run = run(vec![step("1", Action::Mqtt(ask)), step("2", Action::Mqtt(connect(&server)))]);
    let run = run.await;
    assert_success(&run);
    await_packets(&broker, "PUBLISH", 1).await;
    let id = run.id.to_hex();
    let log = broker.log();
    let lines = |packet: &str| -> Vec<&String> {
        log.iter().filter(|line| line.starts_with(packet)).collect()
    };
    for line in [lines("CONNECT")[0], lines("PUBLISH")[0]] {
        assert!(line.contains(&format!("traceparent=00-{id}-")), "{line}");
        assert!(line.contains("baggage=user_agent.synthetic.type=test,"), "{line}");
    }
    let credentials = format!("Some(\"probe-{id}\") Some({:?})", b"hush");
    assert!(lines("CONNECT")[0].contains(&credentials), "{log:#?}");
    let ids: Vec<&str> =
        lines("CONNECT").iter().filter_map(|line| line.split(' ').nth(1)).collect();
    let [one, two] = ids[..] else { unreachable!("{ids:?}") };
    assert!(one != two && one.starts_with(&format!("radiosonde-{}", &id[..4])), "{ids:?}");
    assert!(ids.iter().all(|id| id.len() <= 23), "{ids:?}");
}

/// Guarantees that a late message is told from a lost one, and that only the expected topic counts.
#[tokio::test]
async fn late_is_not_lost() {
    let delay = Duration::from_millis(150);
    let run = run_faulty(Faults { delay, ..Faults::default() }, |server| {
        let within = Some(Duration::from_millis(50));
        let expect = Some(Expect { within, ..expected() });
        MqttStep { expect, ..round_trip(server, Qos::AtMostOnce) }
    });
    let run = run.await;
    assert_failure(&run, FailureReason::Late, "within 50ms, but it came after");
    assert!(run.latency_ns >= Some(150_000_000));

    let run = run_faulty(Faults::default(), |server| {
        let expect = Some(Expect { event: Some("rooms/b".into()), ..expected() });
        MqttStep { expect, ..round_trip(server, Qos::AtMostOnce) }
    });
    assert_failure(&run.await, FailureReason::Lost, "it never came (1 in all came)");
}

/// Guarantees that the value is the delay of the network, not of us.
#[tokio::test]
async fn a_known_delay_is_measured() {
    let server = Broker::new(Faults { delay: Duration::from_millis(40), ..Faults::default() });
    let server = server.door().await;
    let mut values = Vec::new();
    for _ in 0..5 {
        values.extend(run_mqtt(round_trip(&server, Qos::AtMostOnce)).await.latency_ns);
    }
    values.sort_unstable();
    assert!((40_000_000..140_000_000).contains(&values[2]), "{values:?}");
}

/// Guarantees that refusals are failures with the server's code, name and reason.
#[tokio::test]
async fn refusals_are_quoted() {
    let check = async |version, refuse, status, part| {
        let run = run_faulty(Faults { refuse: Some(refuse), ..Faults::default() }, |server| {
            MqttStep { version, ..round_trip(server, Qos::AtLeastOnce) }
        });
        let run = run.await;
        assert_failure(&run, FailureReason::Status, part);
        assert_eq!(run.steps[0].status, Some(status));
    };
    let (v3, v5) = (MqttVersion::V3_1_1, MqttVersion::V5);
    check(v3, (CONNECT, 4, ""), 4, "refuses the connection with code 0x04, bad user").await;
    check(v5, (CONNECT, 0x87, "go away"), 0x87, "code 0x87, not authorized: go away").await;
    check(v3, (SUBSCRIBE, 0x80, ""), 0x80, "refuses the subscription to rooms/").await;
    check(v5, (SUBSCRIBE, 0x8f, "no"), 0x8f, "with code 0x8f, topic filter invalid: no").await;
    check(v5, (PUBLISH, 0x97, "full"), 0x97, "code 0x97, quota exceeded: full").await;
    let broker = Broker::new(Faults { refuse: Some((PUBLISH, 0x97, "")), ..Faults::default() });
    let run = run_mqtt(publish(&broker.door().await, Qos::ExactlyOnce)).await;
    assert_failure(&run, FailureReason::Status, "the server refuses the message to rooms/");
}

/// Guarantees that a server which does not answer costs the timeout, and is named with what it owes.
#[tokio::test]
async fn a_mute_server_costs_the_timeout() {
    let check = async |mute, part| {
        let run = run_faulty(Faults { mute: Some(mute), ..Faults::default() }, |server| MqttStep {
            ping: true,
            ..round_trip(server, Qos::ExactlyOnce)
        });
        let run = run.await;
        assert_failure(&run, FailureReason::Timeout, part);
        assert!(run.duration_ns >= 400_000_000, "{run:#?}");
    };
    check(CONNECT, "waiting for the CONNACK of mqtt://127.0.0.1").await;
    check(SUBSCRIBE, "waiting for the SUBACK to rooms/").await;
    check(PINGREQ, "waiting for a pong of mqtt://").await;
    check(PUBLISH, "waiting for confirmation by mqtt://").await;
}

/// Guarantees that a server which hangs up is told from one that says why.
#[tokio::test]
async fn an_end_is_quoted() {
    let check = async |faults, version, part| {
        let ask = |server: &Server| MqttStep { version, ..round_trip(server, Qos::AtLeastOnce) };
        assert_failure(&run_faulty(faults, ask).await, FailureReason::Closed, part);
    };
    for version in VERSIONS {
        for packet in [CONNECT, SUBSCRIBE, PUBLISH] {
            let faults = Faults { drop: Some(packet), ..Faults::default() };
            check(faults, version, "the server closed the connection").await;
        }
    }
    let faults = Faults { disconnect: Some((0x8b, "restart")), ..Faults::default() };
    let words = "disconnected with code 0x8b, server shutting down: restart";
    check(faults, MqttVersion::V5, words).await;
}

/// Guarantees that a second delivery is counted where it is legal and refused where it is not, and
/// that it is only counted unless the definition refuses it.
#[tokio::test]
async fn duplicates_are_judged() {
    let check = async |qos, dup, refuse_duplicates, legal: Option<&str>, illegal: Option<&str>| {
        let faults = Faults { duplicate: Some(dup), ..Faults::default() };
        let ask = |server: &Server| MqttStep { refuse_duplicates, ..round_trip(server, qos) };
        let run = run_faulty(faults, ask).await;
        let done = &run.steps[0];
        let found = ["mqtt.duplicates", "mqtt.illegal_duplicates"].map(|n| attribute(done, n));
        assert_eq!(found.each_ref().map(Option::as_deref), [legal, illegal], "{qos} {dup}");
        if illegal.is_some() && refuse_duplicates {
            assert_failure(&run, FailureReason::Check, &format!("came twice at QoS {}", qos as u8));
            assert_eq!(done.checks.last().map(|check| check.passed), Some(false));
        } else {
            assert_success(&run);
        }
    };
    for dup in [true, false] {
        check(Qos::AtMostOnce, dup, true, None, Some("1")).await;
        check(Qos::AtLeastOnce, dup, true, Some("1"), None).await;
        check(Qos::ExactlyOnce, dup, true, None, Some("1")).await;
    }
    check(Qos::ExactlyOnce, true, false, None, Some("1")).await;
}

/// Guarantees that a retained message is passed over unless it is asked for, even from a server
/// that sends it to who wants none.
#[tokio::test]
async fn retained_messages_do_not_count() {
    let check = async |version, remembers, accept_retained, comes, ignored: Option<&str>| {
        let broker = Broker::new(Faults { remembers, ..Faults::default() });
        broker.retain("rooms/probe", r#"{"old":true}"#);
        let server = broker.door().await;
        let ask = MqttStep {
            version,
            accept_retained,
            subscribe: vec!["rooms/#".into()],
            expect: Some(expect_json(json!({"old": true}))),
            ..connect(&server)
        };
        let steps = vec![step("1", Action::Mqtt(ask))];
        let run = run_within(Duration::from_millis(300), steps).await;
        assert_eq!(run.succeeded(), comes, "{run:#?}");
        assert_eq!(
            attribute(&run.steps[0], "mqtt.retained_ignored").as_deref(),
            ignored,
            "{run:#?}"
        );
    };
    for version in VERSIONS {
        check(version, true, false, false, Some("1")).await;
        check(version, true, true, true, None).await;
    }
    check(MqttVersion::V5, false, false, false, None).await;
}

/// Guarantees that a continued session is reported, and that a ping is a value.
#[tokio::test]
async fn sessions_are_reported_and_pings_measured() {
    let server = Broker::new(Faults { remembers: true, ..Faults::default() }).door().await;
    let client_id = Some("probe".to_owned());
    let ask = MqttStep { client_id, clean_start: false, ping: true, ..connect(&server) };
    let run = run_mqtt(ask).await;
    assert_success(&run);
    let done = &run.steps[0];
    assert_eq!(attribute(done, "mqtt.session_present").as_deref(), Some("true"));
    assert_eq!(phases(done), [Phase::Connect, Phase::Handshake, Phase::Message]);
    assert_eq!(run.latency_ns, done.message_latency_ns);
}

/// Guarantees that a session survives its connection: what is published meanwhile comes, from the
/// subscription of before; and that a server which forgot the session is found out.
#[tokio::test]
async fn a_session_is_resumed() {
    let check = async |version, forgets| {
        let broker = Broker::new(Faults { forgets, ..Faults::default() });
        let server = broker.door().await;
        let client_id = (version == MqttVersion::V3_1_1).then(|| "probe".to_owned());
        let ask = round_trip(&server, Qos::AtLeastOnce);
        let ask = MqttStep { version, client_id, resume: true, ..ask };
        let run = run_mqtt(ask).await;
        assert_eq!(broker.count("SUBSCRIBE"), 1, "{:#?}", broker.log());
        assert_eq!(broker.count("PUBLISH"), 1, "{:#?}", broker.log());
        run
    };
    for version in VERSIONS {
        let run = check(version, false).await;
        assert_success(&run);
        let done = &run.steps[0];
        assert_eq!(attribute(done, "mqtt.session_present").as_deref(), Some("true"));
        assert!(done.checks.iter().any(|check| check.name == "the session is resumed"));
        let told = phases(done).iter().filter(|phase| **phase == Phase::Handshake).count();
        assert_eq!(told, if version == MqttVersion::V5 { 3 } else { 4 });
        let run = check(version, true).await;
        assert_failure(&run, FailureReason::Check, "resume refused: mqtt://127.0.0.1");
        assert_eq!(attribute(&run.steps[0], "mqtt.session_present").as_deref(), Some("false"));
    }
}

/// Guarantees that the server is pinged while a step waits, and is given up when it does not answer.
#[tokio::test]
async fn a_connection_is_kept_alive() {
    let waiting = |server: &Server| MqttStep {
        keep_alive: Duration::from_secs(1),
        expect: Some(expected()),
        ..subscribe(server, Qos::AtMostOnce)
    };
    let check = async |mute| {
        let broker = Broker::new(Faults { mute, ..Faults::default() });
        let server = broker.door().await;
        let steps = vec![step("1", Action::Mqtt(waiting(&server)))];
        (run_within(Duration::from_secs(4), steps).await, broker.count("PINGREQ"))
    };
    let ((alive, pings), (mute, _)) = tokio::join!(check(None), check(Some(PINGREQ)));
    assert_failure(&alive, FailureReason::Lost, "it never came");
    assert!(pings >= 3, "{pings}");
    assert_failure(&mute, FailureReason::Closed, "the server answers no pings");
}

/// Guarantees that what is not MQTT is a failure of the protocol, in the handshake and later.
#[tokio::test]
async fn nonsense_is_a_protocol_failure() {
    let check = async |answers: &'static [&'static [u8]], part| {
        let server = raw(move |mut stream| async move {
            for answer in answers {
                let mut question = [0; 1024];
                let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut question).await;
                write(&mut stream, answer).await;
            }
            linger(stream).await;
        });
        let run = run_mqtt(round_trip(&server.await, Qos::AtMostOnce)).await;
        assert_failure(&run, FailureReason::Protocol, part);
    };
    const CONNACK: &[u8] = &[0x20, 3, 0, 0, 0];
    check(&[b"HTTP/1.1 400 Bad Request\r\n\r\n"], "else: HTTP/1.1 400 Bad Request").await;
    check(&[&[0x20, 0xff, 0xff, 0xff, 0xff]], "not MQTT 5").await;
    check(&[&[0x20, 3, 0, 1, 0]], "not MQTT 5: malformed packet").await;
    check(&[&[0xd0, 0]], "the server answers with something else").await;
    check(&[CONNACK, CONNACK], "a second time").await;
    check(&[CONNACK, &[0x90, 5, 0, 1, 0, 0, 0]], "another number of subscriptions").await;
    check(&[CONNACK, &[0x30, 0xff, 0xff, 0xff, 0x7f]], "a packet of more than").await;
}

/// Guarantees that a run over TLS has its phase, and that the name of the scheme asks for it.
#[tokio::test]
async fn tls_is_a_phase() {
    let (server, ca_pem) = Broker::new(Faults::default()).secure_door().await;
    let tls = TlsOptions { ca_pem: Some(ca_pem), ..TlsOptions::default() };
    let url = server.url("mqtts", "");
    let run = run_mqtt(MqttStep { url, tls, ..round_trip(&server, Qos::AtMostOnce) }).await;
    assert_success(&run);
    assert!(phases(&run.steps[0]).starts_with(&[Phase::Connect, Phase::Tls, Phase::Handshake]));
}

/// Guarantees that publishing is a write: a server that is not allowed is not even dialled.
#[tokio::test]
async fn publishing_is_a_write() {
    let server = Broker::new(Faults::default()).door().await;
    let url = "mqtt://192.0.2.1".to_owned();
    let run = run_mqtt(MqttStep { url, ..publish(&server, Qos::AtMostOnce) }).await;
    assert_failure(&run, FailureReason::Local, "writing to mqtt://192.0.2.1:1883");
    assert_eq!(phases(&run.steps[0]), []);
    let none = MqttStep { subscribe: Vec::new(), ..connect(&server) };
    let steps = vec![
        step("1", Action::Mqtt(none)),
        step("2", Action::Send { on: "1".into(), send: "x".into(), repeat: Repeat::ONCE }),
    ];
    assert_failure(&run_within(Duration::from_secs(9), steps).await, FailureReason::Local, "topic");
}

/// Guarantees that receivers of one message are as many clients of the broker, none of which takes
/// over another's connection.
#[tokio::test]
async fn receivers_do_not_throw_each_other_out() {
    let broker = Broker::new(Faults::default());
    let server = broker.door().await;
    let crowd = Action::Mqtt(subscribe(&server, Qos::AtMostOnce));
    let wait = Expect { since: Some("alice".to_owned()), ..expected() };
    let run = run(vec![
        Step { count: 20, ..step("crowd", crowd) },
        step("alice", Action::Mqtt(publish(&server, Qos::AtMostOnce))),
        step("3", Action::Expect { on: vec!["crowd".into()], expect: wait }),
    ])
    .await;
    assert_success(&run);
    assert_eq!(attribute(&run.steps[2], "fanout.received").as_deref(), Some("20"));
}

/// Guarantees that a client which takes over a connection is told from a failing server: the one that
/// was there ends, with the broker's reason.
#[tokio::test]
async fn a_takeover_is_quoted() {
    let server = Broker::new(Faults::default()).door().await;
    let client_id = Some("probe".to_owned());
    let first = MqttStep { client_id, ..subscribe(&server, Qos::AtMostOnce) };
    let wait = Action::Expect { on: vec!["bob".into()], expect: expected() };
    let second = step("2", Action::Mqtt(first.clone()));
    let run = run(vec![step("bob", Action::Mqtt(first)), second, step("3", wait)]).await;
    assert_failure(&run, FailureReason::Closed, "code 0x8e, session taken over");
}

/// Guarantees that the allow-list knows topics: a broker that may be written to below one of them may
/// not be below another, whatever the topic is made of, over a connection that stands as well.
#[tokio::test]
async fn topics_must_be_allowed() {
    let broker = Broker::new(Faults::default());
    let door = broker.door().await;
    let url = door.url("mqtt", "").replace("127.0.0.1", "0.0.0.0");
    let run = async |entry: &str, message: Option<&str>| {
        let publish = MqttPublish {
            topic: "rooms/${run.id}".to_owned(),
            message: message.map(str::to_owned),
            qos: Qos::AtMostOnce,
            retain: false,
        };
        let ask = MqttStep { url: url.clone(), publish: Some(publish), ..connect(&door) };
        let send = Action::Send { on: "bob".into(), send: "x".into(), repeat: Repeat::ONCE };
        let steps = vec![step("bob", Action::Mqtt(ask)), step("2", send)];
        let writes = [WriteTarget::parse(entry).expect(entry)].into();
        let spec = ProbeSpec { writes, ..spec(steps) };
        let context = context();
        run_once(&spec, SlotStart::now(&context.clock), &context).await
    };
    for message in [Some("x"), None] {
        assert_success(&run("0.0.0.0/rooms", message).await);
        let refused = run("0.0.0.0/room", message).await;
        assert_failure(&refused, FailureReason::Local, "/rooms/");
        assert_eq!(refused.steps.len(), 2 - usize::from(message.is_some()));
        let id = refused.id.to_hex();
        assert_failure(&refused, FailureReason::Local, &format!("allow: [ 0.0.0.0/rooms/{id} ]"));
    }
    assert_eq!(broker.count("PUBLISH"), 3);
}
