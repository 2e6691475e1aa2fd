//! The metric families of a run, by blackbox_exporter's names and labels: those of every prober here,
//! those of HTTP in `http_families`.
//!
//! Its rules hold here: a phase that was not reached is 0, where our own series would leave it out.

use super::gauges::{Gauges, Labels};
use super::{Report, http_families};
use crate::model::attribute::AttributeValue;
use crate::model::probe::{Phase, ProbeRun};
use crate::probe::blackbox::{Exchange, Prober};
use crate::probe::inspection::SeenHandshake;
use std::net::IpAddr;

const SERVING: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];

/// All families as text.
///
/// # Errors
/// When a family cannot be made, which is a fault of ours.
pub(super) fn text(report: &Report<'_>) -> Result<String, prometheus::Error> {
    let mut gauges = Gauges::default();
    common(report, &mut gauges);
    match &report.module.prober {
        Prober::Http(_) => http_families::add(report, &mut gauges),
        Prober::Tcp(module) => {
            let pattern = flag(report.verdict.failed_by_pattern);
            gauges.set("probe_failed_due_to_regex", &[], pattern);
            gauges.set("probe_failed_due_to_bytes", &[], 0.0);
            expect_info(report, &module.dialogue, &mut gauges);
            let last = report.seen.handshakes.last();
            last.iter().for_each(|handshake| tls(handshake, &mut gauges));
        }
        Prober::Dns(_) => dns(report, &mut gauges),
        Prober::Icmp(_) => icmp(report, &mut gauges),
        Prober::Grpc(_) => grpc(report, &mut gauges),
        Prober::WebSocket(module) => {
            websocket(report, &mut gauges);
            expect_info(report, &module.dialogue, &mut gauges);
        }
    }
    gauges.text()
}

fn common(report: &Report<'_>, gauges: &mut Gauges) {
    gauges.set("probe_success", &[], flag(report.verdict.success));
    gauges.set("probe_duration_seconds", &[], seconds(report.run.duration_ns));
    gauges.set("probe_timeout_seconds", &[], report.timeout.as_secs_f64());
    gauges.set("probe_dns_lookup_time_seconds", &[], phases(report.run, &[Phase::Resolve]));
    let address = report.seen.addresses.first();
    let version = address.map_or(0.0, |address| if address.is_ipv4() { 4.0 } else { 6.0 });
    gauges.set("probe_ip_protocol", &[], version);
    let hash = address.map_or(0, |address| hash(*address));
    gauges.set("probe_ip_addr_hash", &[], f64::from(hash));
}

/// FNV-1a of 32 bits over the bytes of an address.
fn hash(address: IpAddr) -> u32 {
    let fnv = |bytes: &[u8]| {
        bytes.iter().fold(0x811c_9dc5, |hash: u32, byte| {
            (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
        })
    };
    match address {
        IpAddr::V4(v4) => fnv(&v4.octets()),
        IpAddr::V6(v6) => fnv(&v6.octets()),
    }
}

/// What is told of TLS for every prober.
pub(super) fn tls(handshake: &SeenHandshake, gauges: &mut Gauges) {
    let expiries = handshake.chain.iter().map(|certificate| certificate.not_after);
    if let Some(first) = expiries.min() {
        gauges.set("probe_ssl_earliest_cert_expiry", &[], first as f64);
        gauges.set("probe_ssl_last_chain_expiry_timestamp_seconds", &[], first as f64);
    }
    if let Some(own) = handshake.chain.first() {
        let names = own.names.join(",");
        let labels: Labels<'_> = &[
            ("fingerprint_sha256", &own.fingerprint),
            ("subject", &own.subject),
            ("issuer", &own.issuer),
            ("subjectalternative", &names),
            ("serialnumber", &own.serial),
        ];
        gauges.set("probe_ssl_last_chain_info", labels, 1.0);
    }
    gauges.set("probe_tls_version_info", &[("version", handshake.version)], 1.0);
}

/// `probe_expect_info`, with the labels of the first turn that has some and whose line came.
fn expect_info(report: &Report<'_>, dialogue: &[Exchange], gauges: &mut Gauges) {
    let turns = dialogue.iter().filter_map(|turn| Some((turn, turn.expect.as_ref()?)));
    for ((turn, pattern), line) in turns.zip(&report.seen.lines) {
        let Some(groups) = pattern.captures(line).filter(|_| !turn.labels.is_empty()) else {
            continue;
        };
        let filled = turn.labels.iter().map(|(name, template)| {
            let mut value = String::new();
            groups.expand(template, &mut value);
            (name.as_str(), value)
        });
        let filled: Vec<(&str, String)> = filled.collect();
        let labels: Vec<(&str, &str)> =
            filled.iter().map(|(name, value)| (*name, value.as_str())).collect();
        gauges.set("probe_expect_info", &labels, 1.0);
        return;
    }
}

fn dns(report: &Report<'_>, gauges: &mut Gauges) {
    let run = report.run;
    let lengths = [
        ("resolve", phases(run, &[Phase::Resolve])),
        ("connect", phases(run, &[Phase::Connect, Phase::Tls])),
        ("request", phases(run, &[Phase::Send, Phase::Wait, Phase::Receive])),
    ];
    by_phase("probe_dns_duration_seconds", &lengths, gauges);
    let sections = report.seen.dns.clone().unwrap_or_default();
    for (name, records) in [
        ("probe_dns_answer_rrs", sections.answer.len()),
        ("probe_dns_authority_rrs", sections.authority.len()),
        ("probe_dns_additional_rrs", sections.additional.len()),
    ] {
        gauges.set(name, &[], records as f64);
    }
    gauges.set("probe_dns_query_succeeded", &[], flag(report.verdict.query_succeeded));
    let serial = whole(run, "dns.serial");
    if let Some(serial) = serial {
        gauges.set("probe_dns_serial", &[], serial);
    }
}

fn icmp(report: &Report<'_>, gauges: &mut Gauges) {
    let run = report.run;
    let step = run.steps.first();
    // Making a socket lies between the name and the echo.
    let resolved = step.map(|step| {
        let resolve = step.phases.iter().find(|timing| timing.phase == Phase::Resolve);
        resolve.map_or(step.offset_ns, |timing| timing.offset_ns + timing.duration_ns)
    });
    let sent = step.and_then(|step| step.phases.iter().find(|timing| timing.phase == Phase::Send));
    let setup = sent.map_or(0, |sent| sent.offset_ns.saturating_sub(resolved.unwrap_or_default()));
    let trip = step.and_then(|step| step.message_latency_ns).unwrap_or_default();
    let lengths = [
        ("resolve", phases(run, &[Phase::Resolve])),
        ("setup", seconds(setup)),
        ("rtt", seconds(trip)),
    ];
    by_phase("probe_icmp_duration_seconds", &lengths, gauges);
    if let Some(limit) = whole(run, "icmp.ttl") {
        gauges.set("probe_icmp_reply_hop_limit", &[], limit);
    }
}

fn grpc(report: &Report<'_>, gauges: &mut Gauges) {
    let (run, seen) = (report.run, report.seen);
    let resolve = phases(run, &[Phase::Resolve]);
    let lengths = [("resolve", resolve), ("check", seconds(run.duration_ns) - resolve)];
    by_phase("probe_grpc_duration_seconds", &lengths, gauges);
    let status = run.steps.first().and_then(|step| step.status);
    // What never got a status is what gRPC calls UNAVAILABLE.
    gauges.set("probe_grpc_status_code", &[], f64::from(status.unwrap_or(14)));
    gauges.set("probe_grpc_ssl", &[], flag(!seen.handshakes.is_empty()));
    let answer: Option<serde_json::Value> =
        seen.grpc.as_ref().and_then(|json| serde_json::from_slice(json).ok());
    let health = answer.as_ref().and_then(|answer| answer.get("status")?.as_str());
    for name in SERVING {
        let value = flag(health == Some(name));
        gauges.set("probe_grpc_healthcheck_response", &[("serving_status", name)], value);
    }
    match seen.handshakes.last() {
        Some(handshake) => tls(handshake, gauges),
        None => gauges.set("probe_ssl_earliest_cert_expiry", &[], 0.0),
    }
}

fn websocket(report: &Report<'_>, gauges: &mut Gauges) {
    let (run, seen) = (report.run, report.seen);
    let status = run.steps.first().and_then(|step| step.status).unwrap_or_default();
    gauges.set("probe_websocket_status_code", &[], f64::from(status));
    gauges.set("probe_websocket_connection_upgraded", &[], flag(status == 101));
    let pattern = flag(report.verdict.failed_by_pattern);
    gauges.set("probe_websocket_failed_due_to_regex", &[], pattern);
    let lengths = [
        ("resolve", phases(run, &[Phase::Resolve])),
        ("connect", phases(run, &[Phase::Connect])),
        ("processing", phases(run, &[Phase::Tls, Phase::Upgrade])),
        ("transfer", phases(run, &[Phase::Send, Phase::Message])),
    ];
    by_phase("probe_websocket_duration_seconds", &lengths, gauges);
    seen.handshakes.last().iter().for_each(|handshake| tls(handshake, gauges));
}

// === what families are made of ===

pub(super) fn by_phase(name: &'static str, lengths: &[(&str, f64)], gauges: &mut Gauges) {
    for (phase, length) in lengths {
        gauges.set(name, &[("phase", phase)], *length);
    }
}

/// The summed length of phases; 0 where none was reached.
pub(super) fn phases(run: &ProbeRun, phases: &[Phase]) -> f64 {
    seconds(phases.iter().filter_map(|phase| run.phase_ns(*phase)).sum())
}

pub(super) fn flag(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

fn whole(run: &ProbeRun, name: &str) -> Option<f64> {
    let mut attributes = run.steps.iter().flat_map(|step| &step.attributes);
    match attributes.find(|(known, _)| known == name)? {
        (_, AttributeValue::Integer(number)) => Some(*number as f64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees the hash that blackbox_exporter 0.23 gives for this address.
    #[test]
    fn addresses_have_their_hash() {
        assert_eq!(hash(IpAddr::from([127, 0, 0, 1])), 3_668_918_509);
    }
}
