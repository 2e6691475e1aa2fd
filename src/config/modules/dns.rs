//! `dns:` of a module.

use super::super::fields::{Context, Fields};
use super::super::scalar::quoted;
use super::super::tree::Node;
use crate::probe::blackbox::{DnsModule, RecordRules, literal};
use crate::probe::dns::{DnsStep, DnsTransport, is_name, parse_rcode, parse_record_type};

/// The type that is asked about unless given: ANY.
const ANY: u16 = 255;

impl Context<'_> {
    pub(super) fn dns_module(&self, fields: &mut Fields<'_>) -> Option<DnsModule> {
        self.refuse(fields, &["source_ip_address"], "queries leave by the system's choice");
        let name = fields.need("query_name", "www.example.com");
        let name = name.and_then(|node| self.query_name(node));
        let record_type = fields.get("query_type").map(|node| self.query_type(node));
        let class = fields.get("query_class").and_then(|node| self.text(node, "query_class"));
        if class.is_some_and(|class| class != "IN") {
            self.unsupported(fields, "query_class", "queries are of the class IN");
        }
        let words = [("udp", DnsTransport::Udp), ("tcp", DnsTransport::Tcp)];
        let key = "transport_protocol";
        let transport = fields.get(key).and_then(|node| self.choice(node, key, &words));
        let mut transport = transport.unwrap_or_default();
        if fields.flag("dns_over_tls").unwrap_or(false) {
            if transport == DnsTransport::Udp {
                let hint = "write transport_protocol: tcp";
                let at = fields.at("dns_over_tls");
                self.problems.wrong_hint(at, "DNS over TLS goes over TCP", hint);
            }
            transport = DnsTransport::Tls;
        }
        let recursion = fields.flag("recursion_desired").unwrap_or(true);
        let rcodes = fields.get("valid_rcodes").map(|node| self.rcodes(node));
        let sections = ["validate_answer_rrs", "validate_authority_rrs", "validate_additional_rrs"]
            .map(|key| fields.get(key).map(|node| self.record_rules(node)).unwrap_or_default());
        let tls = self.tls_config(fields);
        Some(DnsModule {
            step: DnsStep {
                server: String::new(),
                name: literal(&name?),
                record_type: record_type.unwrap_or(Some(ANY))?,
                transport,
                recursion,
                rcodes: rcodes.unwrap_or_default(),
                accept_truncated: true,
                answers: Vec::new(),
                min_answers: Some(0),
                tls,
            },
            sections,
        })
    }

    fn query_name(&self, node: &Node) -> Option<String> {
        let text = self.raw_text(node, "query_name")?;
        if !is_name(text) {
            let message = format!("`{}` is not a name of the DNS", quoted(text));
            self.problems.wrong(node.at, message);
            return None;
        }
        Some(text.to_owned())
    }

    fn query_type(&self, node: &Node) -> Option<u16> {
        let text = self.text(node, "query_type")?;
        let number = parse_record_type(text);
        if number.is_none() {
            let message = format!("there is no record type `{}`", quoted(text));
            self.problems.wrong_hint(node.at, message, "for example A, AAAA, SOA or MX");
        }
        number
    }

    fn rcodes(&self, node: &Node) -> Vec<u16> {
        let one = |node: &Node| {
            let text = self.text(node, "valid_rcodes")?;
            let code = parse_rcode(text);
            if code.is_none() {
                let message = format!("there is no code `{}`", quoted(text));
                self.problems.wrong_hint(node.at, message, "for example NOERROR or NXDOMAIN");
            }
            code
        };
        self.one_or_many(node).into_iter().filter_map(one).collect()
    }

    fn record_rules(&self, node: &Node) -> RecordRules {
        let read = self.fields(node, "rules for records", |fields| RecordRules {
            fail_if_matches: self.regexes(fields, "fail_if_matches_regexp"),
            fail_if_all_match: self.regexes(fields, "fail_if_all_match_regexp"),
            fail_if_not_matches: self.regexes(fields, "fail_if_not_matches_regexp"),
            fail_if_none_matches: self.regexes(fields, "fail_if_none_matches_regexp"),
        });
        read.unwrap_or_default()
    }
}
