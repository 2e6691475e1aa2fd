//! The `tls:` block of a probe. (Within the block of another protocol, `tls:` stands for the
//! options in the second line here alone.)
//!
//! ```yaml
//! tls:
//!   address: api.example.com:443
//!   server_name: api.internal          # as which it must prove itself; with ca_file: ca.pem
//!   valid_for: 14d                     # every certificate it presents, for so long at least
//!   names: [ api.example.com, "*.example.com" ]
//!   min_version: 1.3                   # 1.2 or 1.3
//!   alpn: [ h2, http/1.1 ]             # it must choose one of them
//! ```

use super::scalar::{YEAR, quoted};
use super::steps::Steps;
use super::tree::Node;
use crate::probe::spec::{NameCheck, TlsStep, TlsVersion};
use std::time::Duration;

/// Names, and protocols, of one probe.
const MAX_LIST: usize = 100;
/// Bytes of a protocol's name (RFC 7301).
const MAX_PROTOCOL_NAME: usize = 255;
const EXAMPLE: &str = "api.example.com:443";
const VERSIONS: &[(&str, TlsVersion)] = &[("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)];

impl Steps<'_> {
    /// The block.
    pub(super) fn tls_handshake(&self, node: &Node) -> Option<TlsStep> {
        self.cx.fields(node, "a tls block", |fields| {
            let address = fields.need("address", EXAMPLE);
            let url = address.and_then(|node| self.endpoint(node, "tls", EXAMPLE));
            let alpn = fields.get("alpn").map(|node| self.protocol_names(node));
            let min_version =
                fields.get("min_version").and_then(|n| self.cx.choice(n, "min_version", VERSIONS));
            let valid_for = fields.duration("valid_for", Duration::from_secs(60)..=YEAR);
            let names = fields.get("names").map(|node| self.certificate_names(node));
            let tls = self.tls_options(fields);
            Some(TlsStep {
                url: url?,
                tls,
                alpn: alpn.unwrap_or_default(),
                min_version,
                valid_for,
                names: names.unwrap_or_default(),
            })
        })?
    }

    fn protocol_names(&self, node: &Node) -> Vec<String> {
        let one = |node: &Node| {
            let text = self.cx.text(node, "alpn")?;
            if text.len() > MAX_PROTOCOL_NAME {
                let message = format!("`{}` is not a protocol", quoted(text));
                let hint = "for example h2, http/1.1 or mqtt";
                self.cx.problems.wrong_hint(node.at, message, hint);
                return None;
            }
            Some(text.to_owned())
        };
        self.bounded(node, "alpn").into_iter().filter_map(one).collect()
    }

    fn certificate_names(&self, node: &Node) -> Vec<NameCheck> {
        let one = |node: &Node| {
            let text = self.cx.text(node, "names")?;
            let name = NameCheck::parse(text);
            if name.is_none() {
                let message = format!("`{}` is not a name of a certificate", quoted(text));
                let hint = "for example api.example.com, *.example.com or 10.0.0.5";
                self.cx.problems.wrong_hint(node.at, message, hint);
            }
            name
        };
        self.bounded(node, "names").into_iter().filter_map(one).collect()
    }

    fn bounded<'t>(&self, node: &'t Node, key: &str) -> Vec<&'t Node> {
        let mut items = self.cx.one_or_many(node);
        if items.len() > MAX_LIST {
            let message = format!("`{key}` has more than {MAX_LIST} entries");
            self.cx.problems.wrong(node.at, message);
            items.truncate(MAX_LIST);
        }
        items
    }
}
