//! `tls_config:` of a module.

use super::super::fields::{Context, Fields};
use super::super::scalar::quoted;
use super::super::tree::Node;
use crate::probe::spec::TlsOptions;
use std::sync::Arc;

const OLD: [(&str, bool); 4] =
    [("TLS10", true), ("TLS11", true), ("TLS12", true), ("TLS13", false)];

impl Context<'_> {
    pub(super) fn tls_config(&self, fields: &mut Fields<'_>) -> TlsOptions {
        let Some(node) = fields.get("tls_config") else { return TlsOptions::default() };
        let read = self.fields(node, "tls_config", |fields| {
            let own = ["cert", "cert_file", "cert_ref", "key", "key_file", "key_ref"];
            self.refuse(fields, &own, "there are no certificates of clients");
            let min = fields.get("min_version").and_then(|n| self.choice(n, "min_version", &OLD));
            if min == Some(false) {
                let hint = "write a tls: probe with min_version: 1.3";
                self.unsupported(fields, "min_version", hint);
            }
            self.refuse(fields, &["max_version"], "TLS 1.2 and 1.3 are offered");
            let given = fields.get("ca").and_then(|node| self.authorities(node, "ca"));
            let file = fields.get("ca_file").and_then(|node| self.authorities(node, "ca_file"));
            let name = fields.get("server_name").and_then(|n| self.literal_text(n, "server_name"));
            TlsOptions {
                ca_pem: given.or(file),
                server_name: name.filter(|name| !name.is_empty()),
                insecure_skip_verify: fields.flag("insecure_skip_verify").unwrap_or(false),
            }
        });
        read.unwrap_or_default()
    }

    /// Certificates of authorities, in place or from a file.
    fn authorities(&self, node: &Node, key: &str) -> Option<Arc<str>> {
        let pem = if key == "ca" { self.literal_text(node, key) } else { self.file(node, key) }?;
        match crate::probe::check_authorities(&pem) {
            Ok(()) => Some(pem.into()),
            Err(why) => {
                let message = format!("`{key}` holds no authorities: {}", quoted(&why));
                self.problems.wrong(node.at, message);
                None
            }
        }
    }
}
