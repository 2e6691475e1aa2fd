//! How a step fails: classes for machines, words for people.
//!
//! A failed step is a result, not an error of the daemon, so the engine carries `model`'s
//! [`Failure`] through `?` instead of an error type of its own. Everything that goes wrong on the
//! way to a target is classified here; a fault of our own machine is never blamed on the target.

use crate::base::error::Chain;
use crate::model::probe::{Failure, FailureReason};
use std::error::Error as _;
use std::io;

/// What a step or a part of it comes to.
pub(super) type Attempt<T> = Result<T, Failure>;

/// No text of the target is kept beyond this many characters.
const MAX_QUOTE_CHARS: usize = 200;

/// Error numbers without a stable [`io::ErrorKind`]: too many open files in the process or the
/// system, and no buffer space (Linux, then BSD and macOS).
const LOCAL_ERRNOS: [i32; 4] = [24, 23, 105, 55];

/// A failure of that class.
pub(super) fn failure(reason: FailureReason, message: impl Into<String>) -> Failure {
    Failure { reason, message: message.into() }
}

/// Whether an error of the operating system is our own machine's fault.
pub(super) fn is_local(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrNotAvailable, OutOfMemory, PermissionDenied};
    matches!(error.kind(), AddrNotAvailable | OutOfMemory | PermissionDenied)
        || error.raw_os_error().is_some_and(|code| LOCAL_ERRNOS.contains(&code))
}

/// An error of the operating system while `doing` something: ours, a closed connection, or else
/// `otherwise`.
pub(super) fn of_io(error: &io::Error, otherwise: FailureReason, doing: &str) -> Failure {
    let reason = if is_local(error) { FailureReason::Local } else { otherwise };
    failure(reason, format!("{doing}: {}", Chain(error)))
}

/// An error on an established connection: ours, the peer's closing it, TLS, or the protocol.
pub(super) fn of_stream(error: &io::Error, doing: &str) -> Failure {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof,
    };
    let tls = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
    let otherwise = match error.kind() {
        BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof => {
            FailureReason::Closed
        }
        _ if tls => FailureReason::Tls,
        _ => FailureReason::Protocol,
    };
    of_io(error, otherwise, doing)
}

/// An error of the HTTP engine.
pub(super) fn of_hyper(error: &hyper::Error, doing: &str) -> Failure {
    if let Some(io) = crate::base::error::cause::<io::Error>(error) {
        return of_stream(io, doing);
    }
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return failure(
            FailureReason::Closed,
            format!("{doing}: the server closed the connection"),
        );
    }
    let detail =
        error.source().map_or_else(|| error.to_string(), |source| Chain(source).to_string());
    failure(FailureReason::Protocol, format!("{doing}: {detail}"))
}

/// A text of the target, cut to a length that may be kept and shown, on one line.
pub(super) fn quote(text: &str) -> String {
    let mut quoted: String =
        text.chars().take(MAX_QUOTE_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(MAX_QUOTE_CHARS).is_some() {
        quoted.push('…');
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that exhausted descriptors, ports and permissions are never the target's fault.
    #[test]
    fn our_own_shortages_are_local() {
        let check = |error: io::Error, reason: FailureReason| {
            assert_eq!(of_io(&error, FailureReason::Connect, "connecting").reason, reason);
        };
        check(io::Error::from_raw_os_error(24), FailureReason::Local);
        check(io::ErrorKind::AddrNotAvailable.into(), FailureReason::Local);
        check(io::ErrorKind::PermissionDenied.into(), FailureReason::Local);
        check(io::ErrorKind::ConnectionRefused.into(), FailureReason::Connect);
    }

    /// Guarantees that quotes stay short and on one line, whatever the target sends.
    #[test]
    fn quotes_are_short() {
        assert_eq!(quote("a\nb"), "a b");
        assert_eq!(quote(&"ü".repeat(500)).chars().count(), MAX_QUOTE_CHARS + 1);
    }
}
