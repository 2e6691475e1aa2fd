//! Queries and answers as bytes. hickory-proto reads and writes them; nothing of it leaves here.
//!
//! A query carries EDNS(0) with the payload size that resolvers agreed on in 2020, so that an answer
//! is truncated when it would be for them. No bytes of a server panic: what cannot be read is a
//! failure, and what is not an answer to the question is passed over.

use super::DnsStep;
use crate::model::probe::FailureReason;
use crate::probe::failure::{Attempt, failure};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::str::FromStr as _;

/// The size of datagrams that pass everywhere without being cut up (DNS flag day 2020).
const UDP_PAYLOAD: u16 = 1_232;
/// Of an answer no more records are kept.
const MAX_RECORDS: usize = 200;
/// Of a record no more characters are kept.
const MAX_RECORD_CHARS: usize = 4_096;

/// Codes by the names that everybody uses.
const RCODES: [(&str, u16); 13] = [
    ("NOERROR", 0),
    ("FORMERR", 1),
    ("SERVFAIL", 2),
    ("NXDOMAIN", 3),
    ("NOTIMP", 4),
    ("REFUSED", 5),
    ("YXDOMAIN", 6),
    ("YXRRSET", 7),
    ("NXRRSET", 8),
    ("NOTAUTH", 9),
    ("NOTZONE", 10),
    ("BADVERS", 16),
    ("BADCOOKIE", 23),
];
/// Types that are no question about records: OPT, TSIG and the transfers of zones.
const NOT_ASKED: [u16; 5] = [0, 41, 250, 251, 252];

/// A question that can be asked.
#[derive(Clone, Debug)]
pub(super) struct Question {
    id: u16,
    name: Name,
    record_type: RecordType,
    recursion: bool,
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The code, extended by EDNS.
    pub rcode: u16,
    /// Whether something was left out.
    pub truncated: bool,
    /// Whether the server itself answers for the name.
    pub authoritative: bool,
    /// The records of the answer section.
    pub records: Vec<AnswerRecord>,
    /// Of the first SOA record.
    pub serial: Option<u32>,
    /// All sections.
    pub sections: Sections,
}

/// The records of an answer as zone files write them: name, TTL, class, type and data, with tabs
/// between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sections {
    /// What was asked for.
    pub answer: Vec<String>,
    /// Who knows.
    pub authority: Vec<String>,
    /// What else may be of use; the OPT record of EDNS among them.
    pub additional: Vec<String>,
}

/// A record of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AnswerRecord {
    /// As in a zone file; with its type in front when that is not the asked one.
    pub text: String,
    /// How long it may be kept, seconds.
    pub ttl: u32,
    /// Whether it is of the asked type.
    pub is_asked: bool,
}

/// The number of a record type, by its name or as a number: `AAAA`, `28`, `TYPE28`.
#[must_use]
pub fn parse_record_type(text: &str) -> Option<u16> {
    let upper = text.to_ascii_uppercase();
    let digits = upper.strip_prefix("TYPE").unwrap_or(&upper);
    let number = digits.parse().ok().or_else(|| RecordType::from_str(&upper).ok().map(u16::from));
    number.filter(|number| !NOT_ASKED.contains(number))
}

/// The number of a code, by its name or as a number: `NXDOMAIN`, `3`.
#[must_use]
pub fn parse_rcode(text: &str) -> Option<u16> {
    let by_name = RCODES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    by_name.map(|(_, code)| *code).or_else(|| text.parse().ok().filter(|code| *code < 4_096))
}

/// The name of a code, or its number.
pub(super) fn rcode_name(code: u16) -> String {
    let named = RCODES.iter().find(|(_, number)| *number == code);
    named.map_or_else(|| code.to_string(), |(name, _)| (*name).to_owned())
}

/// Whether a text can be asked about.
#[must_use]
pub fn is_name(text: &str) -> bool {
    parse_name(text, RecordType::A).is_some()
}

/// A name from the root, whether it ends with a dot or not. For PTR an address stands for its
/// reverse name.
fn parse_name(text: &str, record_type: RecordType) -> Option<Name> {
    if let (RecordType::PTR, Ok(address)) = (record_type, text.parse::<IpAddr>()) {
        return Some(Name::from(address));
    }
    let mut name = Name::from_str_relaxed(text).ok().filter(|_| !text.is_empty())?;
    name.set_fqdn(true);
    // What is too long is found in writing only.
    let question = Question { id: 0, name, record_type, recursion: false };
    question.encode().is_ok().then_some(question.name)
}

// === impl Question ===

impl Question {
    /// The question of a step about this name, with an id of its own.
    ///
    /// # Errors
    /// A local failure when nothing can be asked about that name.
    pub(super) fn new(name: &str, step: &DnsStep) -> Attempt<Self> {
        let record_type = RecordType::from(step.record_type);
        let name = parse_name(name, record_type)
            .ok_or_else(|| failure(FailureReason::Local, "the name is not one of the DNS"))?;
        Ok(Self { id: rand::random(), name, record_type, recursion: step.recursion })
    }

    /// The name that is asked about, as it travels.
    pub(super) fn name(&self) -> String {
        self.name.to_ascii()
    }

    /// The query.
    ///
    /// # Errors
    /// A local failure: the name cannot be written.
    pub(super) fn encode(&self) -> Attempt<Vec<u8>> {
        let mut message = Message::new(self.id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = self.recursion;
        let _ = message.add_query(Query::query(self.name.clone(), self.record_type));
        let mut edns = Edns::new();
        let _ = edns.set_max_payload(UDP_PAYLOAD).set_version(0);
        let _ = message.set_edns(edns);
        message.to_vec().map_err(|error| {
            failure(FailureReason::Local, format!("the query cannot be written: {error}"))
        })
    }

    /// What these bytes answer; `None` when they are not an answer to this question.
    ///
    /// # Errors
    /// A protocol failure when they are, but cannot be read.
    pub(super) fn read(&self, bytes: &[u8]) -> Attempt<Option<Answer>> {
        let Some((id, [flags, ..])) = bytes.split_first_chunk::<2>() else { return Ok(None) };
        let is_response = flags & 0x80 != 0;
        if u16::from_be_bytes(*id) != self.id || !is_response {
            return Ok(None);
        }
        let message = Message::from_vec(bytes).map_err(|error| {
            failure(FailureReason::Protocol, format!("the answer cannot be read: {error}"))
        })?;
        let rcode = u16::from(message.metadata.response_code);
        let is_ours = match message.queries.as_slice() {
            [query] => query.name() == &self.name && query.query_type() == self.record_type,
            // A server that could not read the question cannot repeat it.
            [] => rcode != super::NOERROR,
            _ => false,
        };
        Ok(is_ours.then(|| self.answer(&message, rcode)))
    }

    fn answer(&self, message: &Message, rcode: u16) -> Answer {
        let records = message.answers.iter().take(MAX_RECORDS).map(|record| self.record(record));
        Answer {
            rcode,
            truncated: message.metadata.truncation,
            authoritative: message.metadata.authoritative,
            records: records.collect(),
            serial: message.answers.iter().find_map(|record| match &record.data {
                RData::SOA(soa) => Some(soa.serial),
                _ => None,
            }),
            sections: Sections::of(message),
        }
    }

    fn record(&self, record: &Record) -> AnswerRecord {
        let record_type = record.record_type();
        let is_asked = record_type == self.record_type || self.record_type == RecordType::ANY;
        let mut text = String::new();
        if record_type != self.record_type {
            let _ = write!(text, "{record_type} ");
        }
        // Some data has no text at all: then the type alone is shown.
        let _ = write!(text, "{}", record.data);
        let text = text.chars().take(MAX_RECORD_CHARS).collect();
        AnswerRecord { text, ttl: record.ttl, is_asked }
    }
}

// === impl Sections ===

impl Sections {
    fn of(message: &Message) -> Self {
        let texts = |records: &[Record]| {
            records.iter().take(MAX_RECORDS).map(zone_text).collect::<Vec<_>>()
        };
        let mut additional = texts(&message.additionals);
        additional.extend(message.edns.as_ref().map(|_| ";; OPT".to_owned()));
        Self { answer: texts(&message.answers), authority: texts(&message.authorities), additional }
    }
}

fn zone_text(record: &Record) -> String {
    let (kind, class) = (record.record_type(), record.dns_class);
    let text = format!("{}\t{}\t{class}\t{kind}\t{}", record.name, record.ttl, record.data);
    text.chars().take(MAX_RECORD_CHARS).collect()
}

// === impl Answer ===

impl Answer {
    /// All records on one line.
    pub(super) fn text(&self) -> String {
        if self.records.is_empty() {
            return "none".to_owned();
        }
        let texts: Vec<&str> = self.records.iter().map(|record| record.text.as_str()).collect();
        texts.join(", ")
    }

    /// How many records are of the asked type.
    pub(super) fn count(&self) -> usize {
        self.records.iter().filter(|record| record.is_asked).count()
    }

    /// How long the whole answer may be kept, seconds.
    pub(super) fn min_ttl(&self) -> Option<u32> {
        self.records.iter().map(|record| record.ttl).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::rdata::{A, CNAME, TXT};
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn question(name: &str, record_type: RecordType) -> Question {
        let name = parse_name(name, record_type).expect(name);
        Question { id: 7, name, record_type, recursion: true }
    }

    /// A response to the question with these records.
    fn response(to: &Question, records: Vec<RData>) -> Vec<u8> {
        let mut message = Message::response(to.id, OpCode::Query);
        let _ = message.add_query(Query::query(to.name.clone(), to.record_type));
        for (data, ttl) in records.into_iter().zip([60, 30, 90]) {
            let _ = message.add_answer(Record::from_rdata(to.name.clone(), ttl, data));
        }
        message.to_vec().expect("can be written")
    }

    /// Guarantees the names and numbers of types and codes.
    #[test]
    fn types_and_codes_have_names_and_numbers() {
        let check = |text: &str, expected: Option<u16>| {
            assert_eq!(parse_record_type(text), expected, "{text}");
        };
        check("A", Some(1));
        check("aaaa", Some(28));
        check("CAA", Some(257));
        check("65", Some(65));
        check("TYPE64", Some(64));
        check("AXFR", None);
        check("70000", None);
        check("B", None);
        assert_eq!((parse_rcode("nxdomain"), parse_rcode("23")), (Some(3), Some(23)));
        assert_eq!((parse_rcode("NX"), parse_rcode("4096")), (None, None));
        assert_eq!((rcode_name(2), rcode_name(99)), ("SERVFAIL".to_owned(), "99".to_owned()));
    }

    /// Guarantees how names travel: IDN as punycode, addresses reversed, all from the root.
    #[test]
    fn names_are_made_fit_to_travel() {
        let check = |text: &str, record_type, expected: Option<&str>| {
            let name = parse_name(text, record_type).map(|name| name.to_ascii());
            assert_eq!(name.as_deref(), expected, "{text}");
        };
        check("chat.demo", RecordType::A, Some("chat.demo."));
        check("bücher.example.", RecordType::A, Some("xn--bcher-kva.example."));
        check("_sip._tcp.example.com", RecordType::SRV, Some("_sip._tcp.example.com."));
        check("192.0.2.1", RecordType::PTR, Some("1.2.0.192.in-addr.arpa."));
        check(".", RecordType::NS, Some("."));
        check(&"a".repeat(64), RecordType::A, None);
        check(&"abcd.".repeat(60), RecordType::A, None);
        check("a b", RecordType::A, None);
        check("", RecordType::A, None);
    }

    /// Guarantees what an answer says, and that records of other types are told by their type.
    #[test]
    fn answers_are_rendered() {
        let asked = question("chat.demo", RecordType::A);
        let alias = Name::from_ascii("edge.chat.demo.").expect("valid");
        let records = vec![RData::CNAME(CNAME(alias)), RData::A(A(Ipv4Addr::new(192, 0, 2, 1)))];
        let answer = asked.read(&response(&asked, records)).expect("readable").expect("ours");
        assert_eq!(answer.text(), "CNAME edge.chat.demo., 192.0.2.1");
        assert_eq!((answer.count(), answer.min_ttl(), answer.rcode), (1, Some(30), 0));
        let asked = question("chat.demo", RecordType::TXT);
        let records = vec![RData::TXT(TXT::new(vec!["v=1; ".to_owned(), "x".to_owned()]))];
        let answer = asked.read(&response(&asked, records)).expect("readable").expect("ours");
        assert_eq!(answer.text(), "v=1; x");
    }

    /// Guarantees that another id, another question and a query are not taken for an answer.
    #[test]
    fn what_was_not_asked_for_is_passed_over() {
        let asked = question("chat.demo", RecordType::A);
        let check = |other: &Question| {
            assert_eq!(asked.read(&response(other, Vec::new())), Ok(None), "{other:?}");
        };
        check(&Question { id: 8, ..asked.clone() });
        check(&question("other.demo", RecordType::A));
        check(&question("chat.demo", RecordType::AAAA));
        assert_eq!(asked.read(&asked.encode().expect("valid")), Ok(None));
        assert_eq!(asked.read(&[]), Ok(None));
        let own = response(&question("CHAT.demo", RecordType::A), Vec::new());
        assert!(asked.read(&own).is_ok_and(|answer| answer.is_some()), "case does not matter");
    }

    proptest! {
        /// Guarantees that no bytes after a matching id make the reader panic.
        #[test]
        fn garbage_does_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let asked = question("chat.demo", RecordType::A);
            let mut answer = vec![0, 7, 0x80];
            answer.extend(&bytes);
            drop(asked.read(&answer));
        }

        /// Guarantees that no damage to an answer makes the reader panic.
        #[test]
        fn damage_does_not_panic(at in 2_usize..60, byte: u8, cut in 0_usize..60) {
            let asked = question("chat.demo", RecordType::TXT);
            let records = vec![RData::TXT(TXT::new(vec!["text".to_owned()]))];
            let mut bytes = response(&asked, records);
            let length = bytes.len();
            bytes[at % length] = byte;
            bytes.truncate(length - cut % length);
            if let Ok(Some(answer)) = asked.read(&bytes) {
                drop(answer.text());
            }
        }
    }
}
