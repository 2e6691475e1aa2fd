//! Gauges of one run, and what they mean.

use prometheus::TextEncoder;
use prometheus::proto::{Gauge, LabelPair, Metric, MetricFamily, MetricType};
use std::collections::BTreeMap;

/// Names and values.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// Every family, and its help text.
const HELP: [(&str, &str); 39] = [
    ("probe_dns_additional_rrs", "Records in the additional section."),
    ("probe_dns_answer_rrs", "Records in the answer section."),
    ("probe_dns_authority_rrs", "Records in the authority section."),
    ("probe_dns_duration_seconds", "Time that the query took by phase."),
    ("probe_dns_lookup_time_seconds", "Time that resolving the target's name took."),
    ("probe_dns_query_succeeded", "Whether the query was answered."),
    ("probe_dns_serial", "Serial number of the zone."),
    ("probe_duration_seconds", "Time that the run took."),
    ("probe_expect_info", "What came, by the labels of the module."),
    ("probe_failed_due_to_bytes", "Whether bytes decided against the run."),
    ("probe_failed_due_to_cel", "Whether an expression decided against the run."),
    ("probe_failed_due_to_regex", "Whether a pattern decided against the run."),
    ("probe_grpc_duration_seconds", "Time that the health check took by phase."),
    ("probe_grpc_healthcheck_response", "The health that was answered."),
    ("probe_grpc_ssl", "Whether the call went over TLS."),
    ("probe_grpc_status_code", "Status code of the call."),
    ("probe_http_content_length", "Length of the body as the head says it, -1 where it does not."),
    ("probe_http_duration_seconds", "Time that the requests took by phase, over all redirects."),
    ("probe_http_last_modified_timestamp_seconds", "Last-Modified as Unix time."),
    ("probe_http_redirects", "Redirects that were received."),
    ("probe_http_ssl", "Whether the last answer came over TLS."),
    ("probe_http_status_code", "Status of the last answer."),
    ("probe_http_uncompressed_body_length", "Length of the last body once inflated."),
    ("probe_http_version", "HTTP version of the last answer."),
    ("probe_icmp_duration_seconds", "Time that the echo took by phase."),
    ("probe_icmp_reply_hop_limit", "Hop limit of the answer."),
    ("probe_ip_addr_hash", "Hash of the address that was talked to."),
    ("probe_ip_protocol", "Whether that address is IPv4 or IPv6."),
    ("probe_ssl_earliest_cert_expiry", "Unix time at which the first certificate expires."),
    ("probe_ssl_last_chain_expiry_timestamp_seconds", "Unix time at which the chain expires."),
    ("probe_ssl_last_chain_info", "The server's own certificate."),
    ("probe_success", "Whether the probe was a success."),
    ("probe_timeout_seconds", "Time that the run might take."),
    ("probe_tls_cipher_info", "Cipher suite of the last connection."),
    ("probe_tls_version_info", "TLS version of the last connection."),
    ("probe_websocket_connection_upgraded", "Whether the connection became a WebSocket."),
    ("probe_websocket_duration_seconds", "Time that the WebSocket took by phase."),
    ("probe_websocket_failed_due_to_regex", "Whether a pattern decided against the run."),
    ("probe_websocket_status_code", "Status of the answer to the upgrade."),
];

/// Gauges by family.
#[derive(Debug, Default)]
pub(super) struct Gauges(BTreeMap<&'static str, Vec<Metric>>);

impl Gauges {
    /// Adds one.
    pub(super) fn set(&mut self, name: &'static str, labels: Labels<'_>, value: f64) {
        let pair = |(name, value): &(&str, &str)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        };
        let mut pairs: Vec<LabelPair> = labels.iter().map(pair).collect();
        pairs.sort_by(|a, b| a.name().cmp(b.name()));
        let mut metric = Metric::from_label(pairs);
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
        self.0.entry(name).or_default().push(metric);
    }

    /// All of them as Prometheus reads them.
    ///
    /// # Errors
    /// When one cannot be written, which is a fault of ours.
    pub(super) fn text(self) -> Result<String, prometheus::Error> {
        let family = |(name, metrics): (&'static str, Vec<Metric>)| {
            let help = HELP.iter().find(|(known, _)| *known == name).map_or("", |(_, help)| help);
            let mut family = MetricFamily::default();
            family.set_name(name.to_owned());
            family.set_help(help.to_owned());
            family.set_field_type(MetricType::GAUGE);
            family.set_metric(metrics);
            family
        };
        let families: Vec<MetricFamily> = self.0.into_iter().map(family).collect();
        TextEncoder::new().encode_to_string(&families)
    }
}
