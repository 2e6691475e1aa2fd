//! STUN on the wire (RFC 8489): messages taken apart, a binding request, and what answers it.
//!
//! A message is a header of 20 bytes, type, length, magic cookie and transaction id, and attributes
//! of type, length and value, padded to four bytes. Nothing here panics, whatever comes.

use flate2::Crc;
use std::net::{IpAddr, SocketAddr};

const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;
pub(super) const MAGIC_COOKIE: u32 = 0x2112_a442;
const MAPPED_ADDRESS: u16 = 0x0001;
pub(super) const ERROR_CODE: u16 = 0x0009;
pub(super) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
pub(super) const SOFTWARE: u16 = 0x8022;
pub(super) const FINGERPRINT: u16 = 0x8028;
/// `STUN`, so that the checksum of another protocol's does not pass.
const FINGERPRINT_XOR: u32 = 0x5354_554e;
/// Of every message.
pub(super) const HEADER: usize = 20;
/// A fingerprint with its own header.
pub(super) const FINGERPRINT_LENGTH: usize = 8;

/// By which an answer is known to be one of ours.
pub(super) type Transaction = [u8; 12];

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Where our datagrams come from, as the server sees it, and what it says it is.
    Mapped {
        /// None when it left that out.
        address: Option<SocketAddr>,
        /// The name and version of its software.
        software: Option<String>,
    },
    /// That it will not say so.
    Refused {
        /// 300–699.
        code: u16,
        /// In its words.
        reason: String,
    },
}

/// Why bytes are no answer of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    /// Of another protocol, or damaged.
    #[error("not a STUN message")]
    NotStun,
    /// The checksum in it is another.
    #[error("a STUN message with a wrong fingerprint")]
    Fingerprint,
    /// Not signed with our password, or not at all.
    #[error("a STUN message without the signature of who knows the password")]
    Signature,
    /// A request, or another method's.
    #[error("not an answer to our request")]
    NotAnAnswer,
    /// The answer to another request.
    #[error("an answer to another request")]
    Stranger,
    /// Its attributes do not add up, or one that must be read cannot be.
    #[error("a STUN message with malformed attributes")]
    Malformed,
}

/// A message of any method, whole and with a right fingerprint or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    /// Class and method.
    pub kind: u16,
    /// To which request it belongs.
    pub transaction: Transaction,
    /// All of it.
    pub bytes: &'a [u8],
    body: &'a [u8],
}

/// The attributes of a message, in order; ends at the first that is cut off.
struct Attributes<'a>(&'a [u8]);

/// A binding request from a client of that name.
pub(super) fn request(transaction: Transaction, software: &str) -> Vec<u8> {
    let mut software = software.as_bytes().to_vec();
    // The length of the value counts without its padding, that of the message with it.
    software.truncate(508);
    let length = software.len();
    software.resize(length.next_multiple_of(4), 0);
    let rest = 4 + software.len() + FINGERPRINT_LENGTH;

    let mut message = Vec::with_capacity(HEADER + rest);
    message.extend(BINDING_REQUEST.to_be_bytes());
    message.extend((rest as u16).to_be_bytes());
    message.extend(MAGIC_COOKIE.to_be_bytes());
    message.extend(transaction);
    message.extend(SOFTWARE.to_be_bytes());
    message.extend((length as u16).to_be_bytes());
    message.extend(software);
    let fingerprint = fingerprint(&message);
    message.extend(FINGERPRINT.to_be_bytes());
    message.extend(4_u16.to_be_bytes());
    message.extend(fingerprint.to_be_bytes());
    message
}

/// Takes a message apart.
///
/// # Errors
/// Why it is none.
pub(super) fn parse(bytes: &[u8]) -> Result<Message<'_>, Unfit> {
    let (kind, rest) = split_u16(bytes).ok_or(Unfit::NotStun)?;
    let (length, rest) = split_u16(rest).ok_or(Unfit::NotStun)?;
    let (cookie, rest) = rest.split_first_chunk::<4>().ok_or(Unfit::NotStun)?;
    let (transaction, body) = rest.split_first_chunk::<12>().ok_or(Unfit::NotStun)?;
    let is_whole = usize::from(length) == body.len() && length.is_multiple_of(4);
    if !is_whole || u32::from_be_bytes(*cookie) != MAGIC_COOKIE || kind & 0xc000 != 0 {
        return Err(Unfit::NotStun);
    }
    if !Attributes(body).add_up() {
        return Err(Unfit::Malformed);
    }
    if !fingerprint_holds(bytes) {
        return Err(Unfit::Fingerprint);
    }
    Ok(Message { kind, transaction: *transaction, bytes, body })
}

/// Reads an answer to the request of that transaction.
///
/// # Errors
/// Why it is none.
pub(super) fn answer(bytes: &[u8], transaction: Transaction) -> Result<Answer, Unfit> {
    let message = parse(bytes)?;
    if message.kind != BINDING_SUCCESS && message.kind != BINDING_ERROR {
        return Err(Unfit::NotAnAnswer);
    }
    if message.transaction != transaction {
        return Err(Unfit::Stranger);
    }
    if message.kind == BINDING_ERROR {
        let (code, reason) = message.refusal().ok_or(Unfit::Malformed)?;
        return Ok(Answer::Refused { code, reason });
    }
    // Servers of before 2008 know the plain form alone.
    let address = match (message.attribute(XOR_MAPPED_ADDRESS), message.attribute(MAPPED_ADDRESS)) {
        (Some(_), _) => Some(message.address(XOR_MAPPED_ADDRESS).ok_or(Unfit::Malformed)?),
        (None, Some(value)) => Some(address(value).ok_or(Unfit::Malformed)?),
        (None, None) => None,
    };
    Ok(Answer::Mapped { address, software: message.text(SOFTWARE) })
}

/// Family, port, and address, as they stand there.
fn address(value: &[u8]) -> Option<SocketAddr> {
    let (&[_, family], rest) = value.split_first_chunk::<2>()?;
    let (port, rest) = split_u16(rest)?;
    let ip = match family {
        0x01 => IpAddr::from(<[u8; 4]>::try_from(rest).ok()?),
        0x02 => IpAddr::from(<[u8; 16]>::try_from(rest).ok()?),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// Masks an address, or undoes it: so it is safe from routers that rewrite what looks like one.
pub(super) fn unmask(masked: SocketAddr, transaction: Transaction) -> SocketAddr {
    let port = masked.port() ^ (MAGIC_COOKIE >> 16) as u16;
    let ip = match masked.ip() {
        IpAddr::V4(ip) => IpAddr::V4((u32::from(ip) ^ MAGIC_COOKIE).into()),
        IpAddr::V6(ip) => {
            let mut mask = [0; 16];
            let bytes = MAGIC_COOKIE.to_be_bytes().into_iter().chain(transaction);
            mask.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
            IpAddr::V6((u128::from(ip) ^ u128::from_be_bytes(mask)).into())
        }
    };
    SocketAddr::new(ip, port)
}

/// Of all that comes before it in the message, whose length counts it already.
pub(super) fn fingerprint(before: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(before);
    crc.sum() ^ FINGERPRINT_XOR
}

/// Whether a message ends in a fingerprint that is right, or in none.
fn fingerprint_holds(message: &[u8]) -> bool {
    let Some((before, last)) = message.split_last_chunk::<FINGERPRINT_LENGTH>() else {
        return true;
    };
    let is_fingerprint = before.len() >= HEADER
        && Attributes(before.get(HEADER..).unwrap_or_default()).add_up()
        && split_u16(last).is_some_and(|(kind, _)| kind == FINGERPRINT);
    let found = last.last_chunk::<4>().map(|value| u32::from_be_bytes(*value));
    !is_fingerprint || found == Some(fingerprint(before))
}

pub(super) fn split_u16(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (first, rest) = bytes.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*first), rest))
}

// === impl Message ===

impl<'a> Message<'a> {
    /// The value of the first attribute of that type.
    pub(super) fn attribute(&self, wanted: u16) -> Option<&'a [u8]> {
        Attributes(self.body).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
    }

    /// The same as text.
    pub(super) fn text(&self, wanted: u16) -> Option<String> {
        self.attribute(wanted).map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// The same as an address that was masked.
    pub(super) fn address(&self, wanted: u16) -> Option<SocketAddr> {
        self.attribute(wanted).and_then(address).map(|masked| unmask(masked, self.transaction))
    }

    /// The code of an error: the class in three bits, the number in eight; and words.
    pub(super) fn refusal(&self) -> Option<(u16, String)> {
        let (&[_, _, class, number], reason) =
            self.attribute(ERROR_CODE)?.split_first_chunk::<4>()?;
        let code = u16::from(class & 0x07) * 100 + u16::from(number);
        Some((code, String::from_utf8_lossy(reason).into_owned()))
    }
}

// === impl Attributes ===

impl Attributes<'_> {
    /// Whether they end where the bytes do, none of them cut off.
    fn add_up(mut self) -> bool {
        while self.next().is_some() {}
        self.0.is_empty()
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (kind, rest) = split_u16(self.0)?;
        let (length, rest) = split_u16(rest)?;
        let length = usize::from(length);
        let (padded, rest) = rest.split_at_checked(length.next_multiple_of(4))?;
        self.0 = rest;
        Some((kind, padded.get(..length)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The transaction of the samples in RFC 5769.
    const SAMPLE: Transaction =
        [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
        digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
    }

    /// RFC 5769, 2.2: an answer with an IPv4 address.
    fn sample_v4() -> Vec<u8> {
        bytes(
            "0101003c 2112a442 b7e7a701 bc34d686 fa87dfae 8022000b 74657374 20766563 746f7220 \
             00200008 0001a147 e112a643 00080014 2b91f599 fd9e90c3 8c7489f9 2af9ba53 f06be7d7 \
             80280004 c07d4c96",
        )
    }

    /// RFC 5769, 2.3: an answer with an IPv6 address.
    fn sample_v6() -> Vec<u8> {
        bytes(
            "01010048 2112a442 b7e7a701 bc34d686 fa87dfae 8022000b 74657374 20766563 746f7220 \
             00200014 0002a147 0113a9fa a5d3f179 bc25f4b5 bed2b9d9 00080014 a382954e 4be67bf1 \
             1784c97c 8292c275 bfe3ed41 80280004 c8fb0b4c",
        )
    }

    /// Guarantees the samples of RFC 5769: addresses of both families, and the fingerprint.
    #[test]
    fn the_samples_of_the_standard_are_read() {
        let check = |sample: Vec<u8>, expected: &str| {
            let software = Some("test vector".to_owned());
            let address = Some(expected.parse().expect("an address"));
            assert_eq!(answer(&sample, SAMPLE), Ok(Answer::Mapped { address, software }));
            assert_eq!(answer(&sample, [0; 12]), Err(Unfit::Stranger));
            // With its type damaged, the fingerprint is an attribute that may be passed over.
            for at in (0..sample.len()).filter(|at| !matches!(sample.len() - at, 7 | 8)) {
                let mut damaged = sample.clone();
                damaged[at] ^= 0x04;
                assert!(answer(&damaged, SAMPLE).is_err(), "damaged at {at}");
            }
        };
        check(sample_v4(), "192.0.2.1:32853");
        check(sample_v6(), "[2001:db8:1234:5678:11:2233:4455:6677]:32853");
    }

    /// Guarantees a request that is whole, marked, and no answer to itself.
    #[test]
    fn a_request_is_whole() {
        for software in ["", "radiosonde/0.1", &"x".repeat(2_000)] {
            let message = request(SAMPLE, software);
            assert_eq!(
                message[..8],
                [[0, 1], message[2..4].try_into().unwrap(), [0x21, 0x12], [0xa4, 0x42]].concat()
            );
            assert_eq!(usize::from(message[2]) * 256 + usize::from(message[3]) + 20, message.len());
            assert!(fingerprint_holds(&message) && Attributes(&message[20..]).add_up());
            assert_eq!(answer(&message, SAMPLE), Err(Unfit::NotAnAnswer));
            let mut damaged = message.clone();
            *damaged.last_mut().unwrap() ^= 1;
            assert_eq!(answer(&damaged, SAMPLE), Err(Unfit::Fingerprint));
        }
    }

    /// Guarantees error codes with their words, and the address of old servers.
    #[test]
    fn refusals_and_old_servers_are_understood() {
        let head = |kind: u16, body: &[u8]| {
            let mut message = kind.to_be_bytes().to_vec();
            message.extend((body.len() as u16).to_be_bytes());
            message.extend(MAGIC_COOKIE.to_be_bytes());
            message.extend(SAMPLE);
            message.extend(body);
            message
        };
        let refused = head(BINDING_ERROR, &bytes("0009 0007 0000 0414 6e6f2100"));
        let expected = Answer::Refused { code: 420, reason: "no!".to_owned() };
        assert_eq!(answer(&refused, SAMPLE), Ok(expected));
        let old = head(BINDING_SUCCESS, &bytes("0001 0008 0001 1f90 7f000001"));
        let address = Some("127.0.0.1:8080".parse().unwrap());
        assert_eq!(answer(&old, SAMPLE), Ok(Answer::Mapped { address, software: None }));
        let none = Answer::Mapped { address: None, software: None };
        assert_eq!(answer(&head(BINDING_SUCCESS, &[]), SAMPLE), Ok(none));
        let family = head(BINDING_SUCCESS, &bytes("0020 0008 0003 1f90 7f000001"));
        assert_eq!(answer(&family, SAMPLE), Err(Unfit::Malformed));
        assert_eq!(answer(&head(BINDING_ERROR, &[]), SAMPLE), Err(Unfit::Malformed));
    }

    proptest! {
        /// Guarantees that no bytes make reading panic, be they random or nearly an answer.
        #[test]
        fn any_bytes_may_come(
            random: Vec<u8>,
            at in 0..100_usize,
            with: u8,
            kind in prop_oneof![Just(BINDING_SUCCESS), Just(BINDING_ERROR), any::<u16>()],
        ) {
            drop(answer(&random, SAMPLE));
            let mut near = sample_v4();
            let at = at % near.len();
            near[at] = with;
            near.truncate(near.len() - FINGERPRINT_LENGTH);
            near[..2].copy_from_slice(&kind.to_be_bytes());
            let length = near.len() as u16 - 20;
            near[2..4].copy_from_slice(&length.to_be_bytes());
            drop(answer(&near, SAMPLE));
            let mut headed = near[..20].to_vec();
            headed.extend(&random);
            headed.resize(headed.len().next_multiple_of(4), 0);
            let length = headed.len() as u16 - 20;
            headed[2..4].copy_from_slice(&length.to_be_bytes());
            drop(answer(&headed, SAMPLE));
        }
    }
}
