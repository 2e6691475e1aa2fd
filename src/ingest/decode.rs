//! From plain bytes to an export request.
//!
//! JSON goes through the serde mapping of `opentelemetry-proto`. What that mapping refuses though
//! it is valid, or wrong in one item alone, is mended and tried once more. What it drops without a
//! word (points without a value, metrics without data) the validation finds.

use super::mend::mend;
use super::problem::Problem;
use super::request::{DecodedRequest, Encoding};
use crate::wire::otlp::Signal;
use bytes::Bytes;
use prost::Message;
use serde::de::DeserializeOwned;

/// A larger JSON body is not mended: the tree for it takes some twenty times its size.
const MENDED_BYTES: usize = 4 * 1024 * 1024;
/// The byte order mark that some writers put before JSON.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Decodes `plain`.
///
/// # Errors
/// When it is not such a request.
pub(super) fn decode(
    signal: Signal,
    encoding: Encoding,
    plain: Bytes,
) -> Result<DecodedRequest, Problem> {
    Ok(match signal {
        Signal::Traces => DecodedRequest::Traces(one(encoding, plain)?),
        Signal::Metrics => DecodedRequest::Metrics(one(encoding, plain)?),
        Signal::Logs => DecodedRequest::Logs(one(encoding, plain)?),
    })
}

fn one<T: Message + Default + DeserializeOwned>(
    encoding: Encoding,
    plain: Bytes,
) -> Result<T, Problem> {
    match encoding {
        Encoding::Protobuf => T::decode(plain)
            .map_err(|error| Problem::Undecodable(format!("the protobuf is not OTLP: {error}"))),
        Encoding::Json => from_json(&plain),
    }
}

fn from_json<T: DeserializeOwned>(plain: &[u8]) -> Result<T, Problem> {
    let text = plain.strip_prefix(BYTE_ORDER_MARK).unwrap_or(plain);
    // serde would take an array for the fields of a message in their order.
    if text.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
        let words = "an OTLP request in JSON is an object".to_owned();
        return Err(Problem::Undecodable(words));
    }
    let error = match serde_json::from_slice(text) {
        Ok(request) => return Ok(request),
        Err(error) => error,
    };
    let refused =
        |error: serde_json::Error| Problem::Undecodable(format!("the JSON is not OTLP: {error}"));
    if !error.is_data() || text.len() > MENDED_BYTES {
        return Err(refused(error));
    }
    let mut tree = serde_json::from_slice(text).map_err(refused)?;
    mend(&mut tree);
    // The first error has line and column, the second would have neither.
    serde_json::from_value(tree).map_err(|_| refused(error))
}
