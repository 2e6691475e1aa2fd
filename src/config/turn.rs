//! The `turn:` block of a probe.
//!
//! ```yaml
//! turn:
//!   address: turn.example.com:3478
//!   transport: udp                       # tcp, or tls with tls: { ca_file: ca.pem }
//!   username: probe
//!   password: "${env.TURN_PASSWORD}"
//!   # secret: "${env.TURN_SECRET}"       # shared with the server (TURN REST): instead of the password
//!   echo: true                           # through the relay and back: the value is that round trip
//!   within: 200ms                        # its budget
//! ```

use super::fields::Fields;
use super::steps::Steps;
use super::tree::Node;
use crate::base::secret::Secret;
use crate::probe::spec::{TurnCredentials, TurnStep};

const EXAMPLE: &str = "turn.example.com:3478";

/// How the server is talked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum Transport {
    #[default]
    Udp,
    Tcp,
    Tls,
}

const TRANSPORTS: &[(&str, Transport)] =
    &[("udp", Transport::Udp), ("tcp", Transport::Tcp), ("tls", Transport::Tls)];

impl Steps<'_> {
    /// The block.
    pub(super) fn turn(&self, node: &Node) -> Option<TurnStep> {
        self.cx.fields(node, "a turn block", |fields| {
            let transport =
                fields.get("transport").and_then(|n| self.cx.choice(n, "transport", TRANSPORTS));
            let transport = transport.unwrap_or_default();
            let scheme = if transport == Transport::Tls { "turns" } else { "turn" };
            let address = fields.need("address", EXAMPLE);
            let url = address.and_then(|node| self.endpoint(node, scheme, EXAMPLE));
            let credentials = self.turn_credentials(fields);
            let echo = fields.flag("echo").unwrap_or(false);
            let within = self.within(fields, "within");
            if within.is_some() && !echo {
                let message = "`within` is the budget of the echo";
                let hint = "add echo: true; what allocating may take is for an SLO to say";
                self.cx.problems.wrong_hint(fields.at("within"), message, hint);
            }
            if fields.has("tls") && transport != Transport::Tls {
                let hint = "remove it, or add transport: tls";
                self.cx.problems.warn(fields.at("tls"), "`tls` has no effect without TLS", hint);
            }
            let tls = self.tls(fields, None);
            let tcp = transport != Transport::Udp;
            let echo = echo.then_some(within);
            Some(TurnStep { url: url?, tcp, credentials, echo, tls })
        })?
    }

    /// User name with password or secret; none of them for a server that asks nobody.
    fn turn_credentials(&self, fields: &mut Fields<'_>) -> Option<TurnCredentials> {
        let mut secret = |key| fields.get(key).and_then(|node| self.cx.secret(node, key));
        let (username, password, shared) =
            (secret("username"), secret("password"), secret("secret"));
        let wrong = |at, message: &str, hint: &str| self.cx.problems.wrong_hint(at, message, hint);
        if fields.has("password") && fields.has("secret") {
            let hint = "a shared secret makes a password for each run; remove the other";
            wrong(fields.at("secret"), "`password` and `secret` exclude each other", hint);
        } else if fields.has("password") && !fields.has("username") {
            wrong(fields.at("password"), "a password needs its `username`", "add username: probe");
        } else if fields.has("username") && !fields.has("password") && !fields.has("secret") {
            let hint = "add password: \"${env.TURN_PASSWORD}\"";
            wrong(fields.at("username"), "a user name needs its `password`, or a `secret`", hint);
        }
        match (username, password, shared) {
            (username, _, Some(secret)) => {
                let username = username.unwrap_or_else(|| Secret::new("radiosonde"));
                Some(TurnCredentials::Shared { username, secret })
            }
            (Some(username), Some(password), None) => {
                Some(TurnCredentials::LongTerm { username, password })
            }
            _ => None,
        }
    }
}
