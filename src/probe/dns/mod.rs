//! The DNS step: one question to one server, and what its answer must be.
//!
//! `message` makes the query and reads the answer, `exchange` carries them over UDP, TCP or TLS. A
//! truncated answer is noted and asked again over TCP, as resolvers do. The value is the time from
//! the query to the answer, asking again included; making a connection is part of it only then.

mod exchange;
mod message;

use super::check::{Check, FilledText};
use super::dial::StepContext;
use super::failure::{Attempt, failure};
use super::record::StepRecord;
use super::spec::{TextCheck, TlsOptions};
use super::target::{Target, url_host};
use super::template::check_text;
use crate::model::probe::FailureReason;
use bytes::Bytes;
use exchange::{Exchanged, over_stream, over_udp};
use message::{Answer, Question};
use serde_json::json;

pub use message::{Sections, is_name, parse_rcode, parse_record_type};

/// The answer's code when all is well.
const NOERROR: u16 = 0;

/// A question to a server.
#[derive(Clone, Debug, PartialEq)]
pub struct DnsStep {
    /// Name or address of the server, and its port where that is not the transport's own.
    pub server: String,
    /// What is asked about; an IDN as it is read, an address for PTR as it is written.
    pub name: String,
    /// The number of the record type, 1 for A.
    pub record_type: u16,
    /// How to ask.
    pub transport: DnsTransport,
    /// Whether the server is to ask others.
    pub recursion: bool,
    /// Codes that pass; empty means NOERROR.
    pub rcodes: Vec<u16>,
    /// Take a truncated answer for what it is, instead of asking again over TCP.
    pub accept_truncated: bool,
    /// For each of these, one record of the answer must hold.
    pub answers: Vec<TextCheck>,
    /// Records of the asked type that the answer must have at least. Unless given, NOERROR needs one.
    pub min_answers: Option<u16>,
    /// TLS of the connection.
    pub tls: TlsOptions,
}

/// How a question travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DnsTransport {
    /// A datagram.
    #[default]
    Udp,
    /// A connection.
    Tcp,
    /// A connection over TLS (RFC 7858).
    Tls,
}

/// Name or address, as a URL writes it, and port of a server: `dns.example.com`, `10.0.0.1:5353`,
/// `[::1]:53`. `None` when it is none.
#[must_use]
pub fn parse_server(text: &str) -> Option<(String, Option<u16>)> {
    if let Some(host) = url_host(text) {
        return Some((host, None));
    }
    let (host, port) = text.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = port.parse().ok().filter(|port| *port != 0)?;
    Some((url_host(host)?, Some(port)))
}

/// Carries out the step; hands back the answer as JSON, from which values may be captured:
/// `{ "rcode": "NOERROR", "answers": [ "192.0.2.1" ], "ttl": 300 }`, for SOA with `serial`.
pub(super) async fn run(
    step: &DnsStep,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Option<Bytes>> {
    let question = Question::new(&with.variables.fill(&step.name)?, step)?;
    let target = target(&with.variables.fill(&step.server)?, step.transport)?;
    record.talks("dns", target.to_string());
    record.attribute("dns.question.name", question.name());
    let (first, server) = match step.transport {
        DnsTransport::Udp => {
            let (first, server) = over_udp(&question, &target, with, record).await?;
            (first, Some(server))
        }
        DnsTransport::Tcp | DnsTransport::Tls => {
            (over_stream(&question, &target, &step.tls, with, record).await?, None)
        }
    };
    let (asked, truncated) = (first.asked, first.answer.truncated);
    record.sent = Some(asked);
    let Exchanged { answer, arrived, .. } = match server {
        Some(server) if truncated && !step.accept_truncated => {
            let again = Target::parse(&format!("tcp://{server}"), ["tcp", "tls"])?;
            over_stream(&question, &again, &step.tls, with, record).await?
        }
        _ => first,
    };
    note(&answer, truncated, record);
    if let Some(inspection) = &with.context.inspection {
        inspection.resolved(answer.sections.clone());
    }
    judge(step, &answer, with, record)?;
    record.value(arrived.since(asked));
    Ok(Some(answer_json(&answer)))
}

/// Where a step with that server goes.
pub(super) fn url(server: &str, transport: DnsTransport) -> Option<url::Url> {
    target(server, transport).ok().map(|target| target.url().clone())
}

/// Where a server is, as a URL: `udp://127.0.0.1:53`.
fn target(server: &str, transport: DnsTransport) -> Attempt<Target> {
    let (host, port) = parse_server(server).ok_or_else(|| {
        failure(FailureReason::Local, "the server is neither a name nor an address")
    })?;
    let (scheme, usual_port) = match transport {
        DnsTransport::Udp => ("udp", 53),
        DnsTransport::Tcp => ("tcp", 53),
        DnsTransport::Tls => ("tls", 853),
    };
    let plain = if transport == DnsTransport::Udp { "udp" } else { "tcp" };
    Target::parse(&format!("{scheme}://{host}:{}", port.unwrap_or(usual_port)), [plain, "tls"])
}

fn note(answer: &Answer, truncated: bool, record: &mut StepRecord) {
    record.status(answer.rcode);
    record.attribute("dns.answers", answer.text());
    if let Some(ttl) = answer.min_ttl() {
        record.attribute("dns.ttl_seconds", ttl);
    }
    if let Some(serial) = answer.serial {
        record.attribute("dns.serial", serial);
    }
    record.attribute("dns.truncated", truncated);
    record.attribute("dns.authoritative", answer.authoritative);
}

/// Makes all checks, so that a report shows everything that is wrong at once.
fn judge(
    step: &DnsStep,
    answer: &Answer,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<()> {
    let wanted: &[u16] = if step.rcodes.is_empty() { &[NOERROR] } else { &step.rcodes };
    let names: Vec<String> = wanted.iter().map(|code| message::rcode_name(*code)).collect();
    let code = Check::new(
        format!("rcode is {}", names.join(" or ")),
        wanted.contains(&answer.rcode),
        || message::rcode_name(answer.rcode),
    );
    let wrong_code = code.complaint();
    let mut checks = vec![code];
    let usual = u16::from(answer.rcode == NOERROR && !answer.truncated);
    let (least, found) = (usize::from(step.min_answers.unwrap_or(usual)), answer.count());
    if least > 0 {
        let name = format!("at least {least} answer{}", if least == 1 { "" } else { "s" });
        checks.push(Check::new(name, found >= least, || format!("{found}: {}", answer.text())));
    }
    for check in &step.answers {
        let text = FilledText::fill(check, with.variables)?;
        let holds = answer.records.iter().any(|record| text.holds(&record.text));
        checks.push(Check::new(format!("an answer {text}"), holds, || answer.text()));
    }
    let complaint = checks.iter().find_map(Check::complaint);
    for Check { name, found } in checks {
        record.check(name, found);
    }
    match (wrong_code, complaint) {
        (Some(complaint), _) => Err(failure(FailureReason::Status, complaint)),
        (None, Some(complaint)) => Err(failure(FailureReason::Check, complaint)),
        (None, None) => Ok(()),
    }
}

fn answer_json(answer: &Answer) -> Bytes {
    let answers: Vec<&str> = answer.records.iter().map(|record| record.text.as_str()).collect();
    let rcode = message::rcode_name(answer.rcode);
    let mut json = json!({ "rcode": rcode, "answers": answers, "ttl": answer.min_ttl() });
    if let (Some(serial), Some(members)) = (answer.serial, json.as_object_mut()) {
        members.insert("serial".to_owned(), serial.into());
    }
    json.to_string().into()
}

// === impl DnsStep ===

impl DnsStep {
    /// The texts that a run fills in.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        [self.server.as_str(), self.name.as_str()]
            .into_iter()
            .chain(self.answers.iter().filter_map(check_text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees how servers are written: names and addresses, with a port or without.
    #[test]
    fn servers_are_names_or_addresses() {
        let check = |text: &str, expected: Option<(&str, Option<u16>)>| {
            let found = parse_server(text);
            assert_eq!(found.as_ref().map(|(h, p)| (h.as_str(), *p)), expected, "{text}");
        };
        check("127.0.0.1", Some(("127.0.0.1", None)));
        check("127.0.0.1:53", Some(("127.0.0.1", Some(53))));
        check("::1", Some(("[::1]", None)));
        check("[::1]:5353", Some(("[::1]", Some(5353))));
        check("dns.example.com:853", Some(("dns.example.com", Some(853))));
        check("bücher.example", Some(("xn--bcher-kva.example", None)));
        check("127.0.0.1:0", None);
        check("dns.example.com:dns", None);
        check("udp://127.0.0.1", None);
        check("", None);
    }

    /// Guarantees how targets are shown, and the port of each transport.
    #[test]
    fn each_transport_has_its_port() {
        let check = |server: &str, transport, expected: &str| {
            assert_eq!(target(server, transport).expect(server).to_string(), expected);
        };
        check("10.0.0.1", DnsTransport::Udp, "udp://10.0.0.1:53");
        check("10.0.0.1:54", DnsTransport::Tcp, "tcp://10.0.0.1:54");
        check("::1", DnsTransport::Tls, "tls://[::1]:853");
    }
}
