//! The HTTP step: one request, redirects where they are asked for, and checks on the answer.
//!
//! Every hop dials anew, so that a run measures what a cold client sees. The checks are made on the
//! last answer, all of them, so that a report shows everything that is wrong at once.

use super::check::{self, Body, Check};
use super::dial::{StepContext, dial};
use super::failure::{Attempt, failure, quote};
use super::http_exchange::{Answer, Ask, Flow, Whole, alpn, exchange};
use super::http3;
use super::limits::pace;
use super::record::StepRecord;
use super::spec::{FlowChecks, HeaderText, HttpStep, HttpVersion};
use super::target::Target;
use super::writes;
use crate::model::probe::FailureReason;
use ::http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, LOCATION};
use ::http::{HeaderName, Method, StatusCode};
use bytes::Bytes;

/// Carries out the step; hands back the body, from which values may be captured.
pub(super) async fn run(
    step: &HttpStep,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Bytes> {
    let mut target = Target::parse(&with.variables.fill(&step.url)?, ["http", "https"])?;
    record.talks("http", target.to_string());
    let mut ask = first_ask(step, &target, with)?;
    let mut hops = 0;
    loop {
        admit_write(&ask, &target, hops, with)?;
        if !writes::is_reading(ask.method.as_str()) {
            pace(&target, 1, with, record).await?;
        }
        let answer = fetch(step, &target, ask.clone(), with, record).await?;
        if let Some(inspection) = &with.context.inspection {
            let body = (&answer.body.kept, answer.body.length);
            inspection.answered(&answer.head, body, target.tls);
        }
        match redirect(&answer).filter(|_| hops < step.max_redirects) {
            Some(location) => {
                let next = target.redirected(&location)?;
                ask = next_ask(ask, step, answer.head.status, &target, &next);
                target = next;
                hops += 1;
            }
            None => return judge(step, answer, with, record),
        }
    }
}

/// One hop: a connection, the request, and the whole answer.
async fn fetch(
    step: &HttpStep,
    target: &Target,
    ask: Ask,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Whole> {
    if step.version == HttpVersion::Http3 {
        return http3::fetch(target, &step.tls, ask, with, record).await;
    }
    let connection = dial(target, &step.tls, alpn(step.version), with, record).await?;
    let mut answer = exchange(connection, target, step.version, ask, with, record).await?;
    let body = answer.read_body(with, record).await?;
    let Answer { head, asked, began, .. } = answer;
    Ok(Whole { head, body, asked, began })
}

fn first_ask(step: &HttpStep, target: &Target, with: StepContext<'_>) -> Attempt<Ask> {
    let method = Method::from_bytes(step.method.as_bytes()).map_err(|_| {
        failure(FailureReason::Local, format!("`{}` is not a method", quote(&step.method)))
    })?;
    let headers = with.mark.headers(&step.headers, with.variables, target.authorization())?;
    let body = step.body.as_deref().map(|text| with.variables.fill(text)).transpose()?;
    Ok(Ask { method, headers, body: body.unwrap_or_default().into() })
}

/// A request that writes goes to targets of the allow-list only, wherever redirects lead.
fn admit_write(ask: &Ask, target: &Target, hops: u8, with: StepContext<'_>) -> Attempt<()> {
    if writes::is_reading(ask.method.as_str()) {
        return Ok(());
    }
    writes::admit(target, with.writes).map_err(|mut failure| {
        if hops > 0 {
            // Where to go was the server's word, not ours.
            failure.reason = FailureReason::Protocol;
            failure.message = format!("the redirect is unusable: {}", failure.message);
        }
        failure
    })
}

fn redirect(answer: &Whole) -> Option<String> {
    let moved = matches!(answer.head.status.as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = answer.head.headers.get(LOCATION).filter(|_| moved)?;
    location.to_str().ok().map(str::to_owned)
}

/// The request of the next hop, as browsers make it: credentials and secrets stay with their
/// origin, and what is not repeated becomes a GET.
fn next_ask(mut ask: Ask, step: &HttpStep, status: StatusCode, from: &Target, to: &Target) -> Ask {
    if !to.same_origin(from) {
        let secrets = step
            .headers
            .iter()
            .filter(|(_, text)| matches!(text, HeaderText::Secret(_)))
            .filter_map(|(name, _)| HeaderName::from_bytes(name.as_bytes()).ok());
        for name in secrets.chain([AUTHORIZATION, COOKIE, HOST]) {
            ask.headers.remove(name);
        }
    }
    let becomes_get = match status.as_u16() {
        303 => ask.method != Method::HEAD,
        301 | 302 => ask.method == Method::POST,
        _ => false,
    };
    if becomes_get {
        ask.method = Method::GET;
        ask.body = Bytes::new();
        ask.headers.remove(CONTENT_TYPE);
    }
    ask
}

fn judge(
    step: &HttpStep,
    answer: Whole,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Bytes> {
    let body = &answer.body;
    let status = check::status(&step.status, answer.head.status.as_u16());
    let wrong_status = status.complaint().map(|complaint| {
        let mut message = complaint;
        if let Some(location) = redirect(&answer) {
            message.push_str(&format!("; it redirects to {}", quote(&location)));
        }
        if !body.kept.is_empty() {
            let said = String::from_utf8_lossy(&body.kept);
            message.push_str(&format!("; it says: {}", quote(&said)));
        }
        failure(FailureReason::Status, message)
    });
    let mut checks = vec![status];
    for wanted in &step.header_checks {
        checks.push(check::header(wanted, &answer.head.headers, with.variables)?);
    }
    let of = Body { kept: &body.kept, length: body.length };
    for wanted in &step.body_checks {
        checks.push(check::body(wanted, of, with.variables)?);
    }
    let first_byte = answer.began.since(answer.asked);
    checks.extend(check::flow(&step.flow_checks, first_byte, &body.flow));
    note_flow(step, &body.flow, record);
    let complaint = checks.iter().find_map(Check::complaint);
    for Check { name, found } in checks {
        record.check(name, found);
    }
    match (wrong_status, complaint) {
        (Some(failure), _) => Err(failure),
        (None, Some(complaint)) => Err(failure(FailureReason::Check, complaint)),
        (None, None) => Ok(answer.body.kept),
    }
}

/// What a body that streams is known by.
fn note_flow(step: &HttpStep, flow: &Flow, record: &mut StepRecord) {
    if flow.chunks > 1 || step.flow_checks != FlowChecks::default() {
        record.attribute("http.response.chunks", flow.chunks);
        record.attribute("http.response.max_gap_ns", flow.max_gap);
    }
}
