//! What stands where there is nothing yet: how to change that.

use super::view::Endpoints;
use maud::{Markup, html};

/// No SLO: how to write one, on a probe that exists if there is one.
pub(super) fn slos(probe: Option<&str>) -> Markup {
    let probe = probe.unwrap_or("chat-echo");
    html! {
        div .teach {
            p { "No SLO yet. An SLO says which events are good and how many must be. Write one:" }
            pre { code {
                "# alerts/first.yaml\nslos:\n  - name: " (probe) "-fast\n    objective: 99.9%\n    window: 30d\n    latency: { probe: " (probe) ", under: 100ms }\n"
            } }
            p { code { "radiosonde check" } " tells what is wrong with it, with line, column and a hint." }
        }
    }
}

/// No probe: how to write one.
pub(super) fn probes() -> Markup {
    html! {
        div .teach {
            p { "No probe yet. A probe behaves like a phone and times what comes back. Write one:" }
            pre { code {
                "# probes/first.yaml\nprobes:\n  - name: chat-echo\n    every: 10s\n    timeout: 5s\n    websocket:\n      url: wss://chat.example.com/socket\n      send: '{\"type\":\"echo\",\"id\":\"${run.id}\"}'\n      expect: { json: { id: \"${run.id}\" }, within: 100ms }\n"
            } }
            p { code { "radiosonde probe chat-echo" } " runs it once and prints the waterfall." }
        }
    }
}

/// No phone: where to send to.
pub(super) fn phones(endpoints: &Endpoints) -> Markup {
    let example = match (&endpoints.http, &endpoints.grpc) {
        (Some(http), _) => Some((http, "http/protobuf")),
        (None, Some(grpc)) => Some((grpc, "grpc")),
        (None, None) => None,
    };
    html! {
        div .teach {
            p { "No phone has reported yet. Point any OpenTelemetry SDK here:" }
            @match example {
                Some((address, protocol)) => {
                    pre { code {
                        "OTEL_EXPORTER_OTLP_ENDPOINT=" (address) "\nOTEL_EXPORTER_OTLP_PROTOCOL=" (protocol) "\n"
                    } }
                    @if let (Some(_), Some(grpc)) = (&endpoints.http, &endpoints.grpc) {
                        p { "Or over gRPC: " code { (grpc) } }
                    }
                }
                None => { p { "The OTLP receivers are switched off in the configuration." } }
            }
        }
    }
}

/// Phones report, but no SLO looks at them.
pub(super) fn phone_slos() -> Markup {
    html! {
        div .teach {
            p { "Phones report, but no SLO counts what they send. For example:" }
            pre { code {
                "slos:\n  - name: send-message-on-phones\n    objective: 99%\n    window: 30d\n    latency: { http: \"POST /rooms/{id}/messages\", under: 300ms }\n"
            } }
        }
    }
}
