//! The `dns:` block of a probe.
//!
//! ```yaml
//! dns:
//!   server: 10.0.0.53            # name or address; port 53, or 853 over TLS, unless given
//!   name: chat.example.com       # for PTR an address may stand here
//!   type: A                      # AAAA CNAME MX NS SOA SRV TXT PTR CAA …, or a number
//!   transport: udp               # tcp or tls
//!   truncated: retry             # over TCP; accept: take what came
//!   recursion: true
//!   rcode: NOERROR               # or a list of these, [ NOERROR, NXDOMAIN ]
//!   expect: { answers: { contains: 192.0.2. }, min_answers: 1 }
//!   tls: { server_name: dns.example.com }      # with transport: tls
//! ```
//!
//! `answers` may be a list of checks: for each of them one record of the answer must hold. Unless
//! `min_answers` is given, NOERROR needs a record of the asked type.

use super::fields::Fields;
use super::scalar::quoted;
use super::steps::Steps;
use super::template::{Secrets, specimen};
use super::tree::Node;
use crate::probe::dns::{
    DnsStep, DnsTransport, is_name, parse_rcode, parse_record_type, parse_server,
};
use crate::probe::spec::TextCheck;

/// The type that is asked for unless one is given: A.
const DEFAULT_TYPE: u16 = 1;

const TRANSPORTS: &[(&str, DnsTransport)] =
    &[("udp", DnsTransport::Udp), ("tcp", DnsTransport::Tcp), ("tls", DnsTransport::Tls)];
const TRUNCATED: &[(&str, bool)] = &[("retry", false), ("accept", true)];

impl Steps<'_> {
    /// The block.
    pub(super) fn dns(&self, node: &Node) -> Option<DnsStep> {
        self.cx.fields(node, "a dns block", |fields| {
            let server = fields.need("server", "127.0.0.1:53").and_then(|node| self.server(node));
            let name =
                fields.need("name", "chat.example.com").and_then(|node| self.domain_name(node));
            let record_type = fields.get("type").map(|node| self.record_type(node));
            let transport =
                fields.get("transport").and_then(|n| self.cx.choice(n, "transport", TRANSPORTS));
            let transport = transport.unwrap_or_default();
            let truncated =
                fields.get("truncated").and_then(|n| self.cx.choice(n, "truncated", TRUNCATED));
            let recursion = fields.flag("recursion").unwrap_or(true);
            let rcodes = fields.get("rcode").map(|node| self.rcodes(node));
            let expect = fields.get("expect").map(|node| self.dns_answer(node));
            let (answers, min_answers) = expect.unwrap_or_default();
            if transport != DnsTransport::Tls && fields.has("tls") {
                let hint = "remove it, or write transport: tls";
                self.cx.problems.warn(fields.at("tls"), "`tls` has no effect without TLS", hint);
            }
            Some(DnsStep {
                server: server?,
                name: name?,
                record_type: record_type.unwrap_or(Some(DEFAULT_TYPE))?,
                transport,
                recursion,
                rcodes: rcodes.unwrap_or_default(),
                accept_truncated: truncated.unwrap_or(false),
                answers,
                min_answers,
                tls: self.tls(fields, None),
            })
        })?
    }

    fn server(&self, node: &Node) -> Option<String> {
        let text = self.run_filled(node, "server")?;
        if parse_server(&specimen(&text)).is_some() {
            return Some(text);
        }
        let message = format!("`{}` is not the name or address of a server", quoted(&text));
        let hint = "for example 127.0.0.1:53, [::1]:53 or dns.example.com";
        self.cx.problems.wrong_hint(node.at, message, hint);
        None
    }

    fn domain_name(&self, node: &Node) -> Option<String> {
        let text = self.run_filled(node, "name")?;
        if is_name(&specimen(&text)) {
            return Some(text);
        }
        let message = format!("`{}` is not a name of the DNS", quoted(&text));
        let hint = "for example chat.example.com or _sip._tcp.example.com";
        self.cx.problems.wrong_hint(node.at, message, hint);
        None
    }

    /// A text that is shown and that each run completes.
    fn run_filled(&self, node: &Node, key: &str) -> Option<String> {
        let text = self.cx.raw_text(node, key)?.trim();
        let filled = self.cx.run_text(node.at, text, &self.scope, Secrets::Refused)?;
        Some(filled.text)
    }

    fn record_type(&self, node: &Node) -> Option<u16> {
        let text = self.cx.text(node, "type")?;
        let number = parse_record_type(text);
        if number.is_none() {
            let message = format!("`{}` is not a type of records that can be asked", quoted(text));
            let hint = "A, AAAA, CNAME, MX, NS, SOA, SRV, TXT, PTR, CAA or a number";
            self.cx.problems.wrong_hint(node.at, message, hint);
        }
        number
    }

    fn rcodes(&self, node: &Node) -> Vec<u16> {
        let one = |node: &Node| {
            let text = self.cx.text(node, "rcode")?;
            let code = parse_rcode(text);
            if code.is_none() {
                let message = format!("`{}` is not a code of an answer", quoted(text));
                let hint = "NOERROR, NXDOMAIN, SERVFAIL, REFUSED and so on, or a number";
                self.cx.problems.wrong_hint(node.at, message, hint);
            }
            code
        };
        self.cx.one_or_many(node).into_iter().filter_map(one).collect()
    }

    /// `expect: { answers, min_answers }`.
    fn dns_answer(&self, node: &Node) -> (Vec<TextCheck>, Option<u16>) {
        let read =
            self.cx.fields(node, "the expectation of an answer", |fields: &mut Fields<'_>| {
                let answers = fields.get("answers").map(|node| {
                    let checks = self.cx.one_or_many(node).into_iter();
                    checks.filter_map(|node| self.text_check(node, "answers")).collect()
                });
                let least = fields.integer("min_answers", 0..=100);
                (answers.unwrap_or_default(), least.and_then(|least| u16::try_from(least).ok()))
            });
        read.unwrap_or_default()
    }
}
