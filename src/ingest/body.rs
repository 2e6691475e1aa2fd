//! Takes in request bodies: bounded in size, in time, and by the budget that all share.

use super::budget::Reservation;
use super::problem::Problem;
use ::http::HeaderMap;
use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;
use std::time::Duration;
use tokio::time::timeout;

/// A body arrives within this time, slow links included.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two pieces of a body no more time than this passes.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an unwanted body is thrown away before the answer. A connection closed over unread
/// bytes is reset, and the reset overtakes the answer.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// How the bytes of a message are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    /// Not at all.
    Identity,
    /// RFC 1952, one or several members.
    Gzip,
    /// RFC 8878, one or several frames.
    Zstd,
}

impl Compression {
    /// Those that are understood, as headers list them.
    pub(super) const ACCEPTED: &'static str = "identity,gzip,zstd";

    /// What the header `name` says.
    ///
    /// # Errors
    /// When it names anything else, or several.
    pub(super) fn from_header(headers: &HeaderMap, name: &str) -> Result<Self, Problem> {
        let mut values = headers.get_all(name).iter();
        let value = values.next().map_or(Ok("identity"), |value| value.to_str());
        match (value.unwrap_or("not text").trim(), values.next()) {
            ("", None) => Ok(Self::Identity),
            (one, None) if one.eq_ignore_ascii_case("identity") => Ok(Self::Identity),
            (one, None) if one.eq_ignore_ascii_case("gzip") => Ok(Self::Gzip),
            (one, None) if one.eq_ignore_ascii_case("x-gzip") => Ok(Self::Gzip),
            (one, None) if one.eq_ignore_ascii_case("zstd") => Ok(Self::Zstd),
            (other, _) => Err(Problem::Compression(other.chars().take(40).collect())),
        }
    }
}

/// The whole body, at most `limit` bytes. `reservation` grows with it, piece by piece: what a
/// header announces is not believed.
///
/// # Errors
/// When it is too large, too slow, breaks off, or there is no room for it.
pub(super) async fn collect<B>(
    body: &mut B,
    limit: usize,
    reservation: &mut Reservation,
) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(Problem::TooLarge { limit });
    }
    let pieces = pieces(body, limit, reservation);
    timeout(BODY_TIMEOUT, pieces).await.map_err(|_| Problem::TooSlow)?
}

async fn pieces<B>(
    body: &mut B,
    limit: usize,
    reservation: &mut Reservation,
) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) =
        timeout(IDLE_TIMEOUT, body.frame()).await.map_err(|_| Problem::TooSlow)?
    {
        let Ok(piece) = frame.map_err(|_| Problem::Interrupted)?.into_data() else { continue };
        let length = first.len() + all.len() + piece.len();
        if length > limit {
            return Err(Problem::TooLarge { limit });
        }
        reservation.grow_to(length)?;
        if first.is_empty() && all.is_empty() {
            first = piece;
        } else {
            all.extend_from_slice(&std::mem::take(&mut first));
            all.extend_from_slice(&piece);
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// Throws away what is left of a body that nobody wants, for a moment.
pub(super) async fn discard<B>(body: &mut B)
where
    B: Body<Data = Bytes> + Unpin,
{
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    // Whether the rest came in time or not, the answer is sent now.
    drop(timeout(LINGER_TIMEOUT, rest).await);
}

#[cfg(test)]
mod tests {
    use super::super::budget::Budget;
    use super::*;
    use http_body::Frame;
    use http_body_util::StreamBody;
    use std::convert::Infallible;

    async fn taken(pieces: &[&'static str], limit: usize, budget: usize) -> Result<Bytes, Problem> {
        let frames: Vec<Result<_, Infallible>> = pieces
            .iter()
            .map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes()))))
            .collect();
        let mut body = StreamBody::new(futures::stream::iter(frames));
        let budget = Budget::new(budget);
        let mut reservation = budget.enter(0, Duration::ZERO).await.expect("room for nothing");
        collect(&mut body, limit, &mut reservation).await
    }

    /// Guarantees that a body without announced length is whole, in order, and bounded both by
    /// its limit and by the budget.
    #[tokio::test]
    async fn bodies_are_whole_and_bounded() {
        assert_eq!(taken(&[], 10, 10).await.ok(), Some(Bytes::new()));
        assert_eq!(taken(&["", "abc"], 10, 10).await.ok(), Some(Bytes::from_static(b"abc")));
        let three = taken(&["abc", "", "de", "f"], 6, 10).await;
        assert_eq!(three.ok(), Some(Bytes::from_static(b"abcdef")));
        assert!(matches!(taken(&["abc", "def"], 5, 10).await, Err(Problem::TooLarge { limit: 5 })));
        assert!(matches!(taken(&["abc"], 5, 0).await, Err(Problem::Overloaded)));
    }

    /// Guarantees that encodings are recognised whatever their case, and unknown ones refused.
    #[test]
    fn encodings_are_recognised() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            let _ = headers.insert("content-encoding", value.parse().expect("a header"));
            Compression::from_header(&headers, "content-encoding").ok()
        };
        assert_eq!(of("GZIP"), Some(Compression::Gzip));
        assert_eq!(of(" zstd "), Some(Compression::Zstd));
        assert_eq!(of(""), Some(Compression::Identity));
        assert_eq!(of("br"), None);
        assert_eq!(of("gzip, gzip"), None);
    }
}
