//! Which spans can be counted.

use super::{Reason, Tally, is_id};
use crate::wire::otlp::{ExportTraceServiceRequest, Span};

/// Takes invalid spans out.
pub(super) fn validate(traces: &mut ExportTraceServiceRequest, tally: &mut Tally) {
    let scopes = traces.resource_spans.iter_mut().flat_map(|group| &mut group.scope_spans);
    for scope in scopes {
        scope.spans.retain(|span| tally.keep(check(span), 1));
    }
}

fn check(span: &Span) -> Result<(), Reason> {
    if !is_id(&span.trace_id, 16) {
        return Err(Reason::TraceId);
    }
    if !is_id(&span.span_id, 8) {
        return Err(Reason::SpanId);
    }
    if !span.parent_span_id.is_empty() && span.parent_span_id.len() != 8 {
        return Err(Reason::ParentSpanId);
    }
    if span.start_time_unix_nano == 0 {
        return Err(Reason::NoStart);
    }
    if span.end_time_unix_nano < span.start_time_unix_nano {
        return Err(Reason::EndBeforeStart);
    }
    Ok(())
}
