//! `${…}` in the texts of a definition, filled in at each run.
//!
//! `${run.id}` is the run's id, 32 hex digits; `${run.start}` its start in Unix milliseconds;
//! `${target}` what an instance of the definition is for;
//! `${run.sequence}` the number of a message that is sent repeatedly, from 1;
//! `${run.receiver}` the number of a stream among those that a step with `count` opens, from 1;
//! `${resume.event_id}` and `${resume.last}` are, for a step that reconnects, the last event id and the
//! last number that came;
//! `${poll.cursor}` how far an endpoint was read that is polled;
//! `${name}` and `${step.name}` are values that an earlier step captured. `$$` is a dollar; a
//! dollar before anything else is itself. Secrets are texts like any other: whoever puts a foreign
//! value into a text doubles its dollars.

use super::awaited::ExpectText;
use super::failure::{Attempt, failure};
use super::grpc::{Call, GrpcStep};
use super::spec::{
    Action, BodyCheck, Expect, HeaderText, HttpStep, ProbeSpec, SseStep, Step, Targets, TextCheck,
    WebSocketStep,
};
use crate::base::clock::UnixNanos;
use crate::model::probe::{FailureReason, RunId};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// Names that every run knows.
const BUILT_IN: [&str; 6] =
    ["resume.event_id", "resume.last", "run.id", "run.receiver", "run.sequence", "run.start"];
/// The name that requests of a poll know besides.
const CURSOR: &str = "poll.cursor";
/// The name that instances for a target know besides.
const TARGET: &str = "target";

/// The values that a run knows so far.
#[derive(Clone, Debug)]
pub(super) struct Variables(BTreeMap<String, Value>);

/// A part of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    Variable(&'a str),
}

/// The pieces of a template, in order.
struct Pieces<'a>(&'a str);

// === impl Pieces ===

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        if self.0.is_empty() {
            return None;
        }
        if let Some(rest) = self.0.strip_prefix("${") {
            // Without its brace all of it is the name: one that nobody has, and so reported.
            let (name, rest) = rest.split_once('}').unwrap_or((self.0, ""));
            self.0 = rest;
            return Some(Piece::Variable(name));
        }
        // At least one character is taken, so that a lone dollar is passed over.
        let doubled = self.0.starts_with("$$");
        let start = if doubled { 2 } else { usize::from(self.0.starts_with('$')) };
        let end = self
            .0
            .char_indices()
            .find(|(at, c)| *at >= start.max(1) && *c == '$')
            .map_or(self.0.len(), |(at, _)| at);
        let (text, rest) = self.0.split_at_checked(end).unwrap_or((self.0, ""));
        self.0 = rest;
        Some(Piece::Text(if doubled { text.strip_prefix('$').unwrap_or(text) } else { text }))
    }
}

/// The text with its target, where that is known, and a digit in the place of every other variable, which
/// may stand in a host, a port and a path.
pub(super) fn specimen(text: &str, target: Option<&str>) -> String {
    let piece = |piece| match piece {
        Piece::Text(text) => text,
        Piece::Variable(TARGET) => target.unwrap_or("1"),
        Piece::Variable(_) => "1",
    };
    Pieces(text).map(piece).collect()
}

// === impl Variables ===

impl Variables {
    /// What a run knows when it begins.
    pub(super) fn new(run: RunId, start: UnixNanos) -> Self {
        let values = [
            ("resume.event_id".to_owned(), Value::String(String::new())),
            ("resume.last".to_owned(), Value::from(0)),
            ("run.id".to_owned(), Value::String(run.to_hex())),
            ("run.receiver".to_owned(), Value::from(1)),
            ("run.sequence".to_owned(), Value::from(1)),
            ("run.start".to_owned(), Value::from(start.0 / 1_000_000)),
        ];
        Self(values.into())
    }

    /// What is known of a run of an earlier life.
    pub(super) fn of_earlier(run: RunId) -> Self {
        let mut own = Self::new(run, UnixNanos(0));
        drop(own.0.remove("run.start"));
        own
    }

    /// The same, of an instance for that target.
    pub(super) fn with_target(mut self, target: Option<&str>) -> Self {
        self.0.extend(target.map(|target| (TARGET.to_owned(), Value::from(target))));
        self
    }

    /// What one of many receivers knows.
    pub(super) fn of_receiver(&self, number: u32) -> Self {
        let mut own = self.clone();
        own.0.insert("run.receiver".to_owned(), Value::from(number));
        own
    }

    /// What a step knows that takes a stream up again.
    pub(super) fn of_return(&self, event_id: Option<String>, last: Option<u64>) -> Self {
        let mut own = self.clone();
        own.0.insert("resume.event_id".to_owned(), event_id.unwrap_or_default().into());
        own.0.insert("resume.last".to_owned(), last.unwrap_or(0).into());
        own
    }

    /// What a request knows that asks for what came after this.
    pub(super) fn after(&self, cursor: &str) -> Self {
        let mut own = self.clone();
        own.0.insert(CURSOR.to_owned(), Value::from(cursor));
        own
    }

    /// What is known after a line came that a pattern was waited for with: what its groups matched is
    /// `${1}`, or the name of the group; nothing where they matched nothing.
    pub(super) fn with_groups(&self, expect: &ExpectText, line: &[u8]) -> Self {
        let mut own = self.clone();
        let Some(TextCheck::Matches(pattern)) = &expect.text else { return own };
        let line = String::from_utf8_lossy(line);
        let Some(groups) = pattern.captures(&line) else { return own };
        for (number, name) in pattern.capture_names().enumerate() {
            let text = groups.get(number).map_or("", |found| found.as_str());
            let names = std::iter::once(number.to_string()).chain(name.map(str::to_owned));
            own.0.extend(names.map(|name| (name, Value::from(text))));
        }
        own
    }

    /// What is known when the message of that number is sent.
    pub(super) fn numbered(&self, number: u32) -> Cow<'_, Self> {
        if number == 1 {
            return Cow::Borrowed(self);
        }
        let mut own = self.clone();
        own.0.insert("run.sequence".to_owned(), Value::from(number));
        Cow::Owned(own)
    }

    /// Keeps a captured value under its name and, qualified, under its step's.
    pub(super) fn capture(&mut self, step: &str, name: &str, value: Value) {
        self.0.insert(format!("{step}.{name}"), value.clone());
        self.0.insert(name.to_owned(), value);
    }

    /// The text with its variables filled in.
    ///
    /// # Errors
    /// A local failure when a variable is not known.
    pub(super) fn fill(&self, text: &str) -> Attempt<String> {
        Pieces(text)
            .map(|piece| match piece {
                Piece::Text(text) => Ok(Cow::Borrowed(text)),
                Piece::Variable(name) => Ok(match self.value(name)? {
                    Value::String(text) => Cow::Borrowed(text.as_str()),
                    other => Cow::Owned(other.to_string()),
                }),
            })
            .collect()
    }

    /// The JSON with the variables in its strings filled in. A string that is one variable and
    /// nothing else becomes the captured value itself, a number for instance.
    ///
    /// # Errors
    /// A local failure when a variable is not known.
    pub(super) fn fill_json(&self, json: &Value) -> Attempt<Value> {
        Ok(match json {
            Value::String(text) => match single_variable(text) {
                Some(name) => self.value(name)?.clone(),
                None => Value::String(self.fill(text)?),
            },
            Value::Array(items) => {
                items.iter().map(|item| self.fill_json(item)).collect::<Attempt<_>>()?
            }
            Value::Object(members) => {
                let filled = members
                    .iter()
                    .map(|(key, member)| Ok((key.clone(), self.fill_json(member)?)))
                    .collect::<Attempt<_>>()?;
                Value::Object(filled)
            }
            other => other.clone(),
        })
    }

    fn value(&self, name: &str) -> Attempt<&Value> {
        self.0.get(name).ok_or_else(|| {
            failure(FailureReason::Local, format!("the variable `{name}` has no value"))
        })
    }
}

fn single_variable(text: &str) -> Option<&str> {
    let mut pieces = Pieces(text);
    match (pieces.next(), pieces.next()) {
        (Some(Piece::Variable(name)), None) => Some(name),
        _ => None,
    }
}

// === what a definition refers to ===

/// Every variable that a definition uses but that no earlier step captures, with the step that
/// uses it. Steps that clean up may use whatever any step captures.
#[must_use]
pub fn unknown_variables(spec: &ProbeSpec) -> Vec<(String, String)> {
    let mut known: BTreeSet<String> = BUILT_IN.iter().map(|&name| name.to_owned()).collect();
    known.extend(matches!(spec.targets, Targets::Listed(_)).then(|| TARGET.to_owned()));
    let mut unknown = Vec::new();
    for step in spec.steps.iter().chain(&spec.cleanup) {
        let own = |name: &str| name == CURSOR && matches!(step.action, Action::Poll(_));
        let used = texts(step).into_iter().flat_map(names).filter(|name| !own(name));
        let used: BTreeSet<String> = used.map(str::to_owned).collect();
        unknown.extend(used.difference(&known).map(|name| (step.name.clone(), name.clone())));
        for (name, _) in &step.capture {
            known.insert(format!("{}.{name}", step.name));
            known.insert(name.clone());
        }
    }
    unknown
}

/// Whether a definition uses its target anywhere.
#[must_use]
pub fn uses_target(spec: &ProbeSpec) -> bool {
    let texts = spec.steps.iter().chain(&spec.cleanup).flat_map(texts);
    texts.flat_map(names).any(|name| name == TARGET)
}

/// A variable that a step uses and that has no value yet.
pub(super) fn wanting(step: &Step, variables: &Variables) -> Option<String> {
    let own = |name: &str| name == CURSOR && matches!(step.action, Action::Poll(_));
    let used = texts(step).into_iter().flat_map(names);
    let mut wanting = used.filter(|name| !own(name) && !variables.0.contains_key(*name));
    wanting.next().map(str::to_owned)
}

fn names(text: &str) -> impl Iterator<Item = &str> {
    Pieces(text).filter_map(|piece| match piece {
        Piece::Variable(name) => Some(name),
        Piece::Text(_) => None,
    })
}

/// All texts of a step that are filled in.
fn texts(step: &Step) -> Vec<&str> {
    action_texts(&step.action)
}

fn action_texts(action: &Action) -> Vec<&str> {
    let mut texts = Vec::new();
    match action {
        Action::Http(http) => http_texts(http, &mut texts),
        Action::WebSocket(websocket) => websocket_texts(websocket, &mut texts),
        Action::Sse(sse) => sse_texts(sse, &mut texts),
        Action::Poll(poll) => {
            poll.texts(&mut texts);
            poll.expect.iter().for_each(|expect| expect_texts(expect, &mut texts));
        }
        Action::Dns(dns) => texts.extend(dns.texts()),
        Action::Icmp(icmp) => texts.push(&icmp.host),
        Action::Exec(exec) => texts.extend(exec.texts()),
        Action::Tcp(tcp) => tcp.texts(&mut texts),
        Action::Tls(tls) => texts.push(&tls.url),
        Action::Udp(udp) => udp.texts(&mut texts),
        Action::Stun(stun) => texts.push(&stun.url),
        Action::Turn(turn) => turn.texts(&mut texts),
        Action::Grpc(grpc) => grpc_texts(grpc, &mut texts),
        Action::Mqtt(mqtt) => {
            texts.extend(mqtt.texts());
            mqtt.expect.iter().for_each(|expect| expect_texts(expect, &mut texts));
        }
        Action::WebRtc(webrtc) => {
            texts.extend(webrtc.texts());
            webrtc.expect.iter().for_each(|expect| expect_texts(expect, &mut texts));
        }
        Action::Expect { expect, .. } => expect_texts(expect, &mut texts),
        Action::Send { send, .. } => texts.push(send),
        Action::Ledger { .. } | Action::Heartbeat { .. } | Action::Drop { .. } => {}
        Action::Reconnect { reconnect, .. } => {
            texts.extend(reconnect.url.as_deref());
            texts.extend(reconnect.send.as_deref());
            texts.extend(reconnect.headers.iter().map(|(_, text)| HeaderText::reveal(text)));
            let expected = [&reconnect.resumed, &reconnect.refused];
            expected.into_iter().flatten().for_each(|expect| expect_texts(expect, &mut texts));
        }
        Action::Fallback(fallback) => {
            texts.extend(fallback.streams.iter().flat_map(action_texts));
        }
    }
    texts
}

fn http_texts<'a>(step: &'a HttpStep, texts: &mut Vec<&'a str>) {
    texts.push(&step.url);
    texts.extend(step.body.as_deref());
    texts.extend(step.headers.iter().map(|(_, text)| HeaderText::reveal(text)));
    texts.extend(step.header_checks.iter().filter_map(|check| check_text(&check.text)));
    for check in &step.body_checks {
        match check {
            BodyCheck::Text(text) => texts.extend(check_text(text)),
            BodyCheck::Json(json) => json_texts(json, texts),
            BodyCheck::MaxBytes(_) => {}
        }
    }
}

fn grpc_texts<'a>(step: &'a GrpcStep, texts: &mut Vec<&'a str>) {
    texts.push(&step.url);
    texts.extend(step.metadata.iter().map(|(_, text)| HeaderText::reveal(text)));
    match &step.call {
        Call::Health { service } => texts.push(service),
        Call::Method { messages, .. } => {
            messages.iter().for_each(|message| json_texts(message, texts));
        }
    }
    if let Some(expect) = &step.expect {
        expect_texts(expect, texts);
    }
}

fn websocket_texts<'a>(step: &'a WebSocketStep, texts: &mut Vec<&'a str>) {
    texts.push(&step.url);
    texts.extend(step.headers.iter().map(|(_, text)| HeaderText::reveal(text)));
    texts.extend(step.send.as_deref());
    if let Some(expect) = &step.expect {
        expect_texts(expect, texts);
    }
}

fn sse_texts<'a>(step: &'a SseStep, texts: &mut Vec<&'a str>) {
    texts.push(&step.url);
    texts.extend(step.last_event_id.as_deref());
    texts.extend(step.headers.iter().map(|(_, text)| HeaderText::reveal(text)));
    if let Some(expect) = &step.expect {
        expect_texts(expect, texts);
    }
}

fn expect_texts<'a>(expect: &'a Expect, texts: &mut Vec<&'a str>) {
    texts.extend(expect.event.as_deref());
    texts.extend(expect.text.as_ref().and_then(check_text));
    if let Some(json) = &expect.json {
        json_texts(json, texts);
    }
}

/// The text of a check that is filled in.
pub(super) fn check_text(check: &TextCheck) -> Option<&str> {
    match check {
        TextCheck::Equals(text) | TextCheck::Contains(text) => Some(text),
        TextCheck::Matches(_) => None,
    }
}

fn json_texts<'a>(json: &'a Value, texts: &mut Vec<&'a str>) {
    match json {
        Value::String(text) => texts.push(text),
        Value::Array(items) => items.iter().for_each(|item| json_texts(item, texts)),
        Value::Object(members) => members.values().for_each(|member| json_texts(member, texts)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::spec::Repeat;
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn variables() -> Variables {
        let mut variables = Variables::new(RunId([0x0f; 16]), UnixNanos(1_700_000_000_123_000_000));
        variables.capture("alice", "id", json!(42));
        variables
    }

    /// Guarantees the documented grammar.
    #[test]
    fn variables_are_filled_in() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(variables().fill(text).ok().as_deref(), expected, "{text}");
        };
        check("a ${id} b ${alice.id}", Some("a 42 b 42"));
        check("${run.start}", Some("1700000000123"));
        check("$$ $x $", Some("$ $x $"));
        check("$${id}", Some("${id}"));
        check("$$${id}", Some("$42"));
        check("${nobody}", None);
        check("${idle", None);
    }

    /// Guarantees that a captured number stays a number where it stands alone.
    #[test]
    fn json_keeps_types() {
        let filled = variables().fill_json(&json!({"n": "${id}", "t": ["no ${id}"], "b": true}));
        assert_eq!(filled, Ok(json!({"n": 42, "t": ["no 42"], "b": true})));
    }

    /// Guarantees that a use before the capture is found before any run, with its step.
    #[test]
    fn unknown_variables_are_found() {
        let send = |name: &str, text: &str, capture: &[&str]| Step {
            name: name.to_owned(),
            action: Action::Send {
                on: "bob".to_owned(),
                send: text.to_owned(),
                repeat: Repeat::ONCE,
            },
            count: 1,
            hold: None,
            capture: capture.iter().map(|&n| (n.to_owned(), "/x".to_owned())).collect(),
        };
        let mut spec = ProbeSpec {
            name: "x".to_owned(),
            cadence: super::super::spec::Cadence::Every(std::time::Duration::from_secs(1)),
            timeout: std::time::Duration::from_secs(1),
            overlap: false,
            labels: crate::model::labels::Labels::default(),
            cleanup: Vec::new(),
            addresses: Default::default(),
            targets: Default::default(),
            writes: [].into(),
            network: None,
            steps: vec![
                send("1", "${token} ${run.id}", &[]),
                send("login", "", &["token"]),
                send("3", "${token} ${login.token} ${open", &[]),
            ],
        };
        spec.cleanup = vec![send("bye", "${token} ${room}", &[])];
        let expected = [("1", "token"), ("3", "${open"), ("bye", "room")];
        let expected = expected.map(|(step, name)| (step.to_owned(), name.to_owned()));
        assert_eq!(unknown_variables(&spec), expected);
    }

    proptest! {
        /// Guarantees that no text makes a template panic or loop, and that escaping is undone.
        #[test]
        fn any_text_is_filled(text in "\\PC*") {
            drop(variables().fill(&text));
            prop_assert_eq!(variables().fill(&text.replace('$', "$$")), Ok(text));
        }
    }
}
