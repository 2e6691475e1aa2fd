//! Whether a run of a module is a success: what the engine found, and then what blackbox_exporter
//! checks besides.

use super::{Compression, HttpModule, Module, Prober, RecordRules};
use crate::model::probe::{FailureReason, ProbeRun};
use crate::probe::inspection::{Seen, SeenAnswer};
use ::http::{HeaderMap, Version};
use flate2::read::{GzDecoder, ZlibDecoder};
use regex::Regex;
use std::io::Read;

/// An inflated body is not looked at beyond this.
const MAX_INFLATED: u64 = 4 << 20;

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// `probe_success`.
    pub success: bool,
    /// A pattern decided against it.
    pub failed_by_pattern: bool,
    /// How long the last body was once inflated.
    pub inflated_length: u64,
    /// The answer to a query was what it must be.
    pub query_succeeded: bool,
    /// What was found, in order, for people; the last may be why it failed.
    pub log: Vec<String>,
}

/// A body as far as it can be looked at.
struct Body {
    text: String,
    length: u64,
    is_whole: bool,
}

impl Module {
    /// Judges a run by what was seen.
    #[must_use]
    pub fn judge(&self, run: &ProbeRun, seen: &Seen) -> Verdict {
        let mut verdict = Verdict { success: run.succeeded(), ..Verdict::default() };
        verdict.query_succeeded = seen.dns.is_some();
        if let Some(failure) = &run.failure {
            verdict.log.push(failure.message.clone());
        }
        match &self.prober {
            Prober::Http(module) => judge_http(module, seen, &mut verdict),
            Prober::Dns(module) if verdict.success => {
                let sections = seen.dns.clone().unwrap_or_default();
                let records = [sections.answer, sections.authority, sections.additional];
                let names = ["answer", "authority", "additional"];
                for ((rules, records), name) in module.sections.iter().zip(records).zip(names) {
                    if let Err(why) = rules.judge(&records) {
                        verdict.fail(format!("the {name} section: {why}"));
                        break;
                    }
                }
            }
            Prober::Tcp(_) | Prober::WebSocket(_) => {
                // A line that never came, before the end or the deadline, is a pattern that failed.
                let unmatched = run.steps.iter().flat_map(|step| &step.checks);
                let reason = run.failure.as_ref().map(|failure| failure.reason);
                verdict.failed_by_pattern = unmatched.into_iter().any(|check| !check.passed)
                    && !matches!(reason, Some(FailureReason::Timeout | FailureReason::Status));
            }
            _ => {}
        }
        verdict
    }
}

impl Verdict {
    fn fail(&mut self, why: String) {
        self.success = false;
        self.log.push(why);
    }

    fn fail_by_pattern(&mut self, why: String) {
        self.failed_by_pattern = true;
        self.fail(why);
    }
}

// === http ===

fn judge_http(module: &HttpModule, seen: &Seen, verdict: &mut Verdict) {
    let Some(answer) = seen.answers.last() else { return };
    let body = Body::of(module.compression, answer);
    verdict.inflated_length = body.length;
    let ranges = module.valid_statuses.iter();
    let status_fits = if module.valid_statuses.is_empty() {
        (200..300).contains(&answer.status)
    } else {
        ranges.clone().any(|range| (range.first..=range.last).contains(&answer.status))
    };
    if !status_fits {
        verdict.fail(format!("the status {} is not valid", answer.status));
    }
    if verdict.success
        && let Err(why) = judge_headers(module, &answer.headers)
    {
        verdict.fail_by_pattern(why);
    }
    if verdict.success
        && let Err(why) = judge_body(module, &body)
    {
        verdict.fail_by_pattern(why);
    }
    if module.body_size_limit.is_some_and(|limit| body.length > limit) {
        verdict.fail("the body is longer than body_size_limit".to_owned());
    }
    let version = proto(answer.version);
    if !module.valid_versions.is_empty() && !module.valid_versions.iter().any(|v| v == version) {
        verdict.fail(format!("the version {version} is not valid"));
    }
    if module.fail_if_ssl && answer.tls {
        verdict.fail("the last answer came over TLS".to_owned());
    }
    if module.fail_if_not_ssl && !answer.tls {
        verdict.fail("the last answer did not come over TLS".to_owned());
    }
}

/// As Go writes it.
fn proto(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

fn judge_headers(module: &HttpModule, headers: &HeaderMap) -> Result<(), String> {
    let values = |name: &str| -> Vec<String> {
        let all = headers.get_all(name).iter();
        all.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
    };
    let rules = module.headers_must_not_match.iter().map(|rule| (rule, false));
    for (rule, must) in rules.chain(module.headers_must_match.iter().map(|rule| (rule, true))) {
        let values = values(&rule.header);
        if values.is_empty() && rule.allow_missing {
            continue;
        }
        if values.is_empty() {
            return Err(format!("there is no header {}", rule.header));
        }
        if values.iter().any(|value| rule.pattern.is_match(value)) != must {
            let how = if must { "does not match" } else { "matches" };
            return Err(format!("the header {} {how} /{}/", rule.header, rule.pattern));
        }
    }
    Ok(())
}

fn judge_body(module: &HttpModule, body: &Body) -> Result<(), String> {
    if let Some(found) = module.body_must_not_match.iter().find(|p| p.is_match(&body.text)) {
        return Err(format!("the body matches /{found}/"));
    }
    if !module.body_must_not_match.is_empty() && !body.is_whole {
        return Err("the body is too long to tell that a pattern does not match it".to_owned());
    }
    match module.body_must_match.iter().find(|pattern| !pattern.is_match(&body.text)) {
        Some(missing) => Err(format!("the body does not match /{missing}/")),
        None => Ok(()),
    }
}

impl Body {
    fn of(compression: Option<Compression>, answer: &SeenAnswer) -> Self {
        let encoding = answer.headers.get(::http::header::CONTENT_ENCODING);
        let encoding = encoding.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kept: &[u8] = &answer.body;
        let inflated = match compression {
            Some(Compression::Gzip) if encoding.eq_ignore_ascii_case("gzip") => {
                Some(inflate(GzDecoder::new(kept)))
            }
            Some(Compression::Deflate) if encoding.eq_ignore_ascii_case("deflate") => {
                Some(inflate(ZlibDecoder::new(kept)))
            }
            _ => None,
        };
        let is_kept = answer.length == kept.len() as u64;
        let (bytes, is_whole) = inflated.unwrap_or_else(|| (kept.to_vec(), true));
        let length = if is_kept || compression.is_some() && !encoding.is_empty() {
            bytes.len() as u64
        } else {
            answer.length
        };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Self { text, length, is_whole: is_whole && is_kept }
    }
}

/// As much as may be looked at, and whether that is all.
fn inflate(from: impl Read) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let read = from.take(MAX_INFLATED).read_to_end(&mut bytes);
    (bytes.clone(), read.is_ok() && (bytes.len() as u64) < MAX_INFLATED)
}

// === dns ===

impl RecordRules {
    fn judge(&self, records: &[String]) -> Result<(), String> {
        let required =
            !self.fail_if_not_matches.is_empty() || !self.fail_if_none_matches.is_empty();
        if records.is_empty() && required {
            return Err("there is no record to match".to_owned());
        }
        let any = |patterns: &[Regex], record: &str| patterns.iter().any(|p| p.is_match(record));
        for record in records {
            if any(&self.fail_if_matches, record) {
                return Err(format!("a record matches: {record}"));
            }
            if !self.fail_if_not_matches.iter().all(|pattern| pattern.is_match(record)) {
                return Err(format!("a record does not match: {record}"));
            }
        }
        let all = |pattern: &Regex| records.iter().all(|record| pattern.is_match(record));
        // Not what the name says, but what blackbox_exporter does: rules that hold there must hold here.
        if !self.fail_if_all_match.iter().all(all) {
            return Err("not all records match fail_if_all_match_regexp".to_owned());
        }
        let none = !records.iter().any(|record| any(&self.fail_if_none_matches, record));
        if !self.fail_if_none_matches.is_empty() && none {
            return Err("no record matches".to_owned());
        }
        Ok(())
    }
}
