//! Who is told: receivers, the route tree in Alertmanager's shape, and the heartbeat.

use super::labels::Labels;
use super::matcher::LabelMatcher;
use crate::base::secret::Secret;
use std::time::Duration;

/// Somebody or something that gets notifications.
#[derive(Clone, Debug, PartialEq)]
pub struct Receiver {
    /// Unique; routes name it.
    pub name: String,
    /// Whether it wants to hear that an alert resolved.
    pub send_resolved: bool,
    /// How to reach it.
    pub channel: Channel,
}

/// How to reach a receiver.
#[derive(Clone, Debug, PartialEq)]
pub enum Channel {
    /// POST of Alertmanager's webhook payload, version 4.
    Webhook {
        /// Where to; may carry a secret in its path or query.
        url: Secret,
        /// Extra headers, by name.
        headers: Vec<(String, Secret)>,
        /// Limit of one attempt.
        timeout: Duration,
    },
    /// POST to an Alertmanager's `/api/v2/alerts`.
    Alertmanager {
        /// Its base address.
        url: Secret,
        /// Extra headers, by name.
        headers: Vec<(String, Secret)>,
        /// Limit of one attempt.
        timeout: Duration,
    },
}

/// A node of the route tree. An alert goes to the first matching child, and on to its siblings when
/// that one says `continue`; to the node's own receiver when no child matches.
#[derive(Clone, Debug, Default)]
pub struct Route {
    /// Its receiver; inherited from the parent unless given. The root has one.
    pub receiver: Option<String>,
    /// All must match. The root has none.
    pub matchers: Vec<LabelMatcher>,
    /// Whether siblings after a match are tried too.
    pub goes_on: bool,
    /// Firing alerts are told again after this; never unless given.
    pub repeat_interval: Option<Duration>,
    /// Children, in order.
    pub routes: Vec<Self>,
}

/// The dead-man's switch: a message that tells that the daemon itself lives.
#[derive(Clone, Debug, PartialEq)]
pub struct Heartbeat {
    /// Who gets it.
    pub receiver: String,
    /// How often.
    pub every: Duration,
}

/// A receiver that an alert goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routed {
    /// Its name.
    pub receiver: String,
    /// How often a firing alert is told again.
    pub repeat_interval: Option<Duration>,
}

impl Route {
    /// The receivers of an alert, each once, in the order of the tree.
    #[must_use]
    pub fn receivers(&self, labels: &Labels) -> Vec<Routed> {
        let mut found = Vec::new();
        let _ = self.collect(labels, None, None, &mut found);
        found
    }

    fn collect(
        &self,
        labels: &Labels,
        inherited: Option<&str>,
        repeat: Option<Duration>,
        found: &mut Vec<Routed>,
    ) -> bool {
        if !self.matchers.iter().all(|matcher| matcher.matches(labels)) {
            return false;
        }
        let receiver = self.receiver.as_deref().or(inherited);
        let repeat = self.repeat_interval.or(repeat);
        let mut matched = false;
        for child in &self.routes {
            if child.collect(labels, receiver, repeat, found) {
                matched = true;
                if !child.goes_on {
                    break;
                }
            }
        }
        if let (false, Some(receiver)) = (matched, receiver)
            && !found.iter().any(|known| known.receiver == receiver)
        {
            found.push(Routed { receiver: receiver.to_owned(), repeat_interval: repeat });
        }
        true
    }

    /// Every receiver named anywhere in the tree.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let children = self.routes.iter().flat_map(Self::names);
        self.receiver.as_deref().into_iter().chain(children).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(receiver: Option<&str>, matcher: &str, goes_on: bool, routes: Vec<Route>) -> Route {
        let parsed = LabelMatcher::parse(matcher).ok();
        Route {
            receiver: receiver.map(str::to_owned),
            matchers: parsed.into_iter().collect(),
            goes_on,
            repeat_interval: None,
            routes,
        }
    }

    /// Guarantees Alertmanager's walk: first match wins, `continue` goes on, receivers inherit.
    #[test]
    fn routes_as_alertmanager_does() {
        let tree = route(
            Some("default"),
            "",
            false,
            vec![
                route(Some("log"), "severity=~.+", true, vec![]),
                route(
                    None,
                    "owner=chat",
                    false,
                    vec![route(Some("chat-page"), "severity=page", false, vec![])],
                ),
                route(Some("rest"), "owner=~.*", false, vec![]),
            ],
        );
        let check = |labels: &[(&str, &str)], expected: &[&str]| {
            let labels = Labels::new(labels.iter().copied());
            let got: Vec<_> = tree.receivers(&labels).into_iter().map(|r| r.receiver).collect();
            assert_eq!(got, expected, "{labels}");
        };
        check(&[("severity", "page"), ("owner", "chat")], &["log", "chat-page"]);
        check(&[("severity", "ticket"), ("owner", "chat")], &["log", "default"]);
        check(&[("severity", "page")], &["log", "rest"]);
    }
}
