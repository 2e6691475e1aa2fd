//! What a step does on a stream that an earlier one opened: `on: bob` and one of `expect`, `send`, `ledger`,
//! `heartbeat`, `drop` and `reconnect`. The steps themselves are read in `steps`.

use super::fields::Fields;
use super::steps::{Earlier, Steps};
use super::tree::Node;
use crate::probe::spec::{Action, Repeat};
use std::time::Duration;

/// Messages that one step sends.
const MAX_REPEAT: u64 = 100_000;
/// What a step with `on` may do.
pub(super) const ON_A_STREAM: &[&str] =
    &["expect", "send", "ledger", "heartbeat", "drop", "reconnect"];

/// What a step leaves open for later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    /// Nothing.
    None,
    /// A WebSocket, to which messages may be sent.
    WebSocket,
    /// An event stream.
    Events,
    /// Answers of an endpoint that is polled.
    Polled,
    /// Topics of an MQTT server.
    Topics,
    /// The same, and one of them to which messages may be sent.
    TopicsAndRoute,
    /// A WebRTC data channel, to which messages may be sent.
    Channel,
}

// === impl Steps ===

impl Steps<'_> {
    /// `on: bob` with `expect` or `send`; `on: [crowd, feed]` with `expect`.
    pub(super) fn on(&self, node: &Node, fields: &mut Fields<'_>) -> Option<Action> {
        let nodes = self.cx.one_or_many(node);
        let steps: Vec<Option<&Earlier>> = nodes.iter().map(|node| self.opened(node)).collect();
        let (first, streams) = (steps.first().copied().flatten(), self.receivers(&steps));
        let repeat = repeat(fields);
        match fields.exactly_one(ON_A_STREAM)? {
            ("expect", node) => {
                let stream = first.map_or(Stream::None, |step| step.stream);
                let expect = self.expect(node, stream)?;
                if streams > 1 && expect.since.is_none() {
                    let message = "a message for many receivers counts from a step that sends it";
                    let hint = "add since: with the name of that step";
                    self.cx.problems.wrong_hint(node.at, message, hint);
                }
                let on: Option<Vec<String>> =
                    steps.into_iter().map(|step| step.map(|step| step.name.clone())).collect();
                Some(Action::Expect { on: on?, expect })
            }
            ("ledger", node) => {
                if streams > 1 {
                    let message = "a ledger is kept on one stream";
                    let hint = "open one more, without count:";
                    self.cx.problems.wrong_hint(node.at, message, hint);
                }
                let ledger = self.ledger(node)?;
                Some(Action::Ledger { on: first?.name.clone(), ledger })
            }
            (key @ ("heartbeat" | "drop" | "reconnect"), node) => {
                if streams > 1 {
                    let message = format!("`{key}` is for one stream");
                    let hint = "open one more, without count:";
                    self.cx.problems.wrong_hint(node.at, message, hint);
                }
                let Earlier { name, stream, .. } = first?;
                self.on_connection(key, node, name, *stream)
            }
            (_, node) => {
                let send = self.message(node, "send");
                if streams > 1 {
                    let message = "a message is sent on one stream";
                    let hint = "open one more for the sender, without count:";
                    self.cx.problems.wrong_hint(node.at, message, hint);
                }
                let deaf = first.and_then(|step| match step.stream {
                    Stream::Events => Some("nothing can be sent on an event stream"),
                    Stream::Polled => Some("nothing can be sent on a stream that polls"),
                    _ => None,
                });
                if let Some(message) = deaf {
                    self.cx.problems.wrong_hint(node.at, message, "send it with an http: step");
                } else if first.is_some_and(|s| s.stream == Stream::Topics && s.target.is_some()) {
                    let message = "the step that connected names no topic to send to";
                    let hint = "add publish: { topic: … } to its mqtt: block";
                    self.cx.problems.wrong_hint(node.at, message, hint);
                } else if let Some(Earlier { target: Some(target), topic, .. }) = first {
                    match topic {
                        Some(topic) => {
                            let topic = &super::template::specimen(topic);
                            self.cx.check_publish(node.at, target, topic, self.writes);
                        }
                        None => self.cx.check_write(node.at, target, self.writes),
                    }
                }
                Some(Action::Send { on: first?.name.clone(), send: send?, repeat })
            }
        }
    }

    /// The step before this one that `node` names, which must have opened a stream.
    fn opened(&self, node: &Node) -> Option<&Earlier> {
        let on = self.earlier(node, "on")?;
        let step = self.earlier.iter().find(|step| step.name == on)?;
        if step.stream == Stream::None {
            let message = format!("the step `{on}` leaves no stream open");
            let hint = "name a step with a websocket:, sse:, poll: or mqtt: block";
            self.cx.problems.wrong_hint(node.at, message, hint);
        }
        Some(step)
    }

    /// How many streams these steps open.
    fn receivers(&self, steps: &[Option<&Earlier>]) -> u32 {
        steps.iter().flatten().map(|step| step.count).sum()
    }

    /// `expect` and `send` belong into the block, the others to a step with `on`; here they would be
    /// overlooked.
    pub(super) fn refuse_outside(&self, fields: &mut Fields<'_>) {
        for key in ON_A_STREAM.iter().copied() {
            if fields.has(key) {
                let message = format!("`{key}` beside a protocol block means nothing");
                let hint = "put it into the block, or into a step with `on:`";
                self.cx.problems.wrong_hint(fields.at(key), message, hint);
            }
        }
    }
}

/// `repeat: 100` and `gap: 10ms` beside `send`.
fn repeat(fields: &mut Fields<'_>) -> Repeat {
    let count =
        fields.integer("repeat", 1..=MAX_REPEAT).and_then(|count| u32::try_from(count).ok());
    let gap = fields.duration("gap", Duration::ZERO..=Duration::from_secs(60));
    for key in ["repeat", "gap"] {
        if fields.has(key) && !fields.peek("send") {
            let message = format!("`{key}` is for a step that sends");
            fields.cx.problems.wrong_hint(fields.at(key), message, "put it beside send:");
        }
    }
    Repeat { count: count.unwrap_or(1), gap: gap.unwrap_or_default() }
}
