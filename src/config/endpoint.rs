//! `host:port`, where protocols go that have no URLs of their own.

use super::scalar::quoted;
use super::steps::Steps;
use super::template::{Secrets, is_target, specimen};
use super::tree::Node;
use url::{Host, Url};

impl Steps<'_> {
    /// `host:port` as the URL by which the probe knows it, `scheme://host:port`. Each run may
    /// complete it.
    pub(super) fn endpoint(&self, node: &Node, scheme: &str, example: &str) -> Option<String> {
        let text = self.cx.raw_text(node, "address")?.trim();
        let filled = self.cx.run_text(node.at, text, &self.scope, Secrets::Refused)?;
        let wrong = |message: String, hint: String| {
            self.cx.problems.wrong_hint(node.at, message, hint);
            None
        };
        if text.contains("://") {
            let message = format!("`address` is no URL: `{}`", quoted(text));
            let inner = Url::parse(text).ok();
            let place = inner.and_then(|url| {
                Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?))
            });
            let place = place.unwrap_or_else(|| example.to_owned());
            return wrong(message, format!("write host:port: {}", quoted(&place)));
        }
        if !is_target(&filled.text) && !is_endpoint(&specimen(&filled.text)) {
            let message = format!("`{}` is not host and port", quoted(text));
            return wrong(message, format!("for example {example}"));
        }
        // Names know no case; variables do.
        let is_plain = !filled.text.contains("${");
        let address = if is_plain { filled.text.to_lowercase() } else { filled.text };
        Some(format!("{scheme}://{address}"))
    }
}

/// Whether a text is a host, an IPv6 address in brackets, and a port that can be connected to.
fn is_endpoint(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit())
        && port.parse::<u16>().is_ok_and(|port| port > 0);
    let is_url = Url::parse(&format!("any://{text}")).is_ok_and(|url| url.port().is_some());
    is_port && is_url && Host::parse(host).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees what passes for host and port: names and addresses, nothing before or after them.
    #[test]
    fn endpoints_are_host_and_port() {
        for text in ["chat.example.com:25", "127.0.0.1:7070", "[::1]:3478", "a_b.internal:65535"] {
            assert!(is_endpoint(text), "{text}");
        }
        for text in [
            "",
            ":1",
            "chat.example.com",
            "a:0",
            "a:65536",
            "a:+1",
            "a:smtp",
            "::1:80",
            "[::1]",
            "me@a:1",
            "a/b:1",
            "a:1/b",
            "a b:1",
            "a?x:1",
            "a#x:1",
            "[::1]x:1",
        ] {
            assert!(!is_endpoint(text), "{text}");
        }
    }
}
