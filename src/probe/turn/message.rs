//! TURN on the wire (RFC 8656): requests with long-term credentials (RFC 8489, 9.2), and the
//! datagrams that a server relays. A message is built on that of STUN.

use super::super::stun_message::{
    FINGERPRINT, FINGERPRINT_LENGTH, HEADER, MAGIC_COOKIE, Message, SOFTWARE, Transaction,
    fingerprint, split_u16, unmask,
};
use crate::base::secret::Secret;
use aws_lc_rs::hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY};
use md5::{Digest, Md5};
use std::net::{IpAddr, SocketAddr};

/// Classes in the type of a message; a request has none.
const SUCCESS: u16 = 0x0100;
const ERROR: u16 = 0x0110;
/// A datagram for a peer, and one of a peer's.
const SEND_INDICATION: u16 = 0x0016;
const DATA_INDICATION: u16 = 0x0017;

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const LIFETIME: u16 = 0x000d;
const XOR_PEER_ADDRESS: u16 = 0x0012;
const DATA: u16 = 0x0013;
const REALM: u16 = 0x0014;
const NONCE: u16 = 0x0015;
pub(super) const XOR_RELAYED_ADDRESS: u16 = 0x0016;
const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
const REQUESTED_TRANSPORT: u16 = 0x0019;
const ALTERNATE_SERVER: u16 = 0x8023;
const UDP: u8 = 17;
const IPV6: u8 = 2;
/// A signature with its own header.
const INTEGRITY_LENGTH: usize = 24;
/// Names, realms and nonces are no longer, bytes.
pub(super) const MAX_TEXT: usize = 763;

/// What is asked of a server. The number is the method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// An address of the server's that relays for us.
    Allocate = 0x0003,
    /// A new lifetime of it; 0 gives it back.
    Refresh = 0x0004,
    /// Leave for a peer to send to us through it.
    CreatePermission = 0x0008,
}

/// What a request says besides who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Allocate, IPv6 where that is true.
    Relay(bool),
    /// Refresh with lifetime 0.
    Release,
    /// CreatePermission.
    Permit(IpAddr),
}

/// A realm's view of us: what each request must show and be signed with.
#[derive(Clone, Debug)]
pub(super) struct Session {
    username: Secret,
    realm: String,
    nonce: Vec<u8>,
    key: hmac::Key,
}

/// A message being written.
struct Draft(Vec<u8>);

// === impl Session ===

impl Session {
    /// What a challenge asks for; none when it is no whole one.
    pub(super) fn of(challenge: &Message<'_>, username: &Secret, password: &str) -> Option<Self> {
        let realm = challenge.text(REALM).filter(|realm| realm.len() <= MAX_TEXT)?;
        let digest = Md5::digest(format!("{}:{realm}:{password}", username.reveal()));
        let key = hmac::Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, &digest);
        Some(Self { username: username.clone(), realm, nonce: nonce(challenge)?, key })
    }

    /// Takes over the nonce of an answer; false when it has none.
    pub(super) fn renew(&mut self, answer: &Message<'_>) -> bool {
        let fresh = nonce(answer);
        let is_fresh = fresh.is_some();
        self.nonce = fresh.unwrap_or_default();
        is_fresh
    }

    /// To whom the credentials belong.
    pub(super) fn realm(&self) -> &str {
        &self.realm
    }

    /// Whether a message was signed by somebody who knows the password.
    pub(super) fn signed(&self, message: &Message<'_>) -> bool {
        let Some(signature) = message.attribute(MESSAGE_INTEGRITY) else { return false };
        let Some(before) = before_signature(message.bytes) else { return false };
        hmac::verify(&self.key, &before, signature).is_ok()
    }
}

fn nonce(message: &Message<'_>) -> Option<Vec<u8>> {
    let nonce = message.attribute(NONCE)?;
    (nonce.len() <= MAX_TEXT).then(|| nonce.to_vec())
}

/// What of a message is signed: all before the signature, with a length that ends behind it.
fn before_signature(message: &[u8]) -> Option<Vec<u8>> {
    let mut at = HEADER;
    loop {
        let (kind, rest) = split_u16(message.get(at..)?)?;
        if kind == MESSAGE_INTEGRITY {
            let mut before = message.get(..at)?.to_vec();
            set_length(&mut before, at + INTEGRITY_LENGTH);
            return Some(before);
        }
        let (length, _) = split_u16(rest)?;
        at += 4 + usize::from(length).next_multiple_of(4);
    }
}

// === requests and indications ===

/// A request; with a session it says who asks, and is signed.
pub(super) fn request(
    wish: Wish,
    transaction: Transaction,
    software: &str,
    session: Option<&Session>,
) -> Vec<u8> {
    let mut draft = Draft::new(wish.method() as u16, transaction);
    match wish {
        Wish::Relay(is_ipv6) => {
            draft.attribute(REQUESTED_TRANSPORT, &[UDP, 0, 0, 0]);
            if is_ipv6 {
                draft.attribute(REQUESTED_ADDRESS_FAMILY, &[IPV6, 0, 0, 0]);
            }
        }
        Wish::Release => draft.attribute(LIFETIME, &[0; 4]),
        Wish::Permit(peer) => draft.peer(SocketAddr::new(peer, 0), transaction),
    }
    draft.attribute(SOFTWARE, software.as_bytes());
    if let Some(session) = session {
        draft.attribute(USERNAME, session.username.reveal().as_bytes());
        draft.attribute(REALM, session.realm.as_bytes());
        draft.attribute(NONCE, &session.nonce);
        draft.sign(&session.key);
    }
    draft.finish()
}

/// A datagram for a peer, to go through the relay.
pub(super) fn send_indication(transaction: Transaction, peer: SocketAddr, data: &[u8]) -> Vec<u8> {
    let mut draft = Draft::new(SEND_INDICATION, transaction);
    draft.peer(peer, transaction);
    draft.attribute(DATA, data);
    draft.finish()
}

/// A datagram that a peer sent to the relayed address; none when the message is something else.
pub(super) fn relayed<'a>(message: &Message<'a>) -> Option<(SocketAddr, &'a [u8])> {
    let is_data = message.kind == DATA_INDICATION;
    let peer = message.address(XOR_PEER_ADDRESS).filter(|_| is_data)?;
    Some((peer, message.attribute(DATA)?))
}

/// How many seconds an allocation lasts.
pub(super) fn lifetime(message: &Message<'_>) -> Option<u32> {
    let value = message.attribute(LIFETIME)?;
    <[u8; 4]>::try_from(value).ok().map(u32::from_be_bytes)
}

/// Where a server sends us instead. Not masked.
pub(super) fn alternate(message: &Message<'_>) -> Option<SocketAddr> {
    message.address(ALTERNATE_SERVER).map(|address| unmask(address, message.transaction))
}

/// A TURN REST password: what a server that shares the secret reckons from the name.
pub(super) fn timed_password(secret: &str, username: &str) -> String {
    use base64::Engine as _;
    let key = hmac::Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    let signature = hmac::sign(&key, username.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(signature.as_ref())
}

// === impl Method, Wish ===

impl Method {
    /// As the standard calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Allocate => "Allocate",
            Self::Refresh => "Refresh",
            Self::CreatePermission => "CreatePermission",
        }
    }

    /// Whether a message is an answer to it: success, or an error.
    pub(super) const fn answered_by(self, kind: u16) -> Option<bool> {
        let method = self as u16;
        if kind == method | SUCCESS {
            Some(true)
        } else if kind == method | ERROR {
            Some(false)
        } else {
            None
        }
    }
}

impl Wish {
    /// The request that carries it.
    pub(super) const fn method(self) -> Method {
        match self {
            Self::Relay(_) => Method::Allocate,
            Self::Release => Method::Refresh,
            Self::Permit(_) => Method::CreatePermission,
        }
    }
}

// === impl Draft ===

impl Draft {
    fn new(kind: u16, transaction: Transaction) -> Self {
        let mut message = Vec::with_capacity(512);
        message.extend(kind.to_be_bytes());
        message.extend([0; 2]);
        message.extend(MAGIC_COOKIE.to_be_bytes());
        message.extend(transaction);
        Self(message)
    }

    /// Its value is bounded by who calls: far less than 64 KiB in all.
    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.0.extend(kind.to_be_bytes());
        self.0.extend((value.len() as u16).to_be_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn peer(&mut self, peer: SocketAddr, transaction: Transaction) {
        let masked = unmask(peer, transaction);
        let (family, ip) = match masked.ip() {
            IpAddr::V4(ip) => (1, ip.octets().to_vec()),
            IpAddr::V6(ip) => (IPV6, ip.octets().to_vec()),
        };
        let value = [&[0, family], masked.port().to_be_bytes().as_slice(), &ip].concat();
        self.attribute(XOR_PEER_ADDRESS, &value);
    }

    fn sign(&mut self, key: &hmac::Key) {
        let length = self.0.len() + INTEGRITY_LENGTH;
        set_length(&mut self.0, length);
        let signature = hmac::sign(key, &self.0);
        self.attribute(MESSAGE_INTEGRITY, signature.as_ref());
    }

    fn finish(mut self) -> Vec<u8> {
        let length = self.0.len() + FINGERPRINT_LENGTH;
        set_length(&mut self.0, length);
        let fingerprint = fingerprint(&self.0);
        self.attribute(FINGERPRINT, &fingerprint.to_be_bytes());
        self.0
    }
}

/// Writes into the header how long the whole message is.
fn set_length(message: &mut [u8], whole: usize) {
    let length = (whole.saturating_sub(HEADER) as u16).to_be_bytes();
    message.iter_mut().skip(2).zip(length).for_each(|(to, from)| *to = from);
}

#[cfg(test)]
mod tests {
    use super::super::super::stun_message::parse;
    use super::*;

    /// RFC 5769, 2.4: a request with long-term credentials, of another implementation.
    const SAMPLE: &str = "00010060 2112a442 78ad3433 c6ad72c0 29da412e 00060012 e3839ee3 8388e383 aae38383 e382afe3 \
         82b90000 0015001c 662f2f34 39396b39 35346436 4f4c3334 6f4c3946 53547679 36347341 0014000b \
         6578616d 706c652e 6f726700 00080014 f6702465 6dd64a3e 02b8e071 2e85c9a2 8ca89666";

    /// Guarantees key and signature: the standard's sample verifies, what we sign does, and neither
    /// with another password or another byte.
    #[test]
    fn what_is_signed_is_verified() {
        let challenge = |realm: &[u8], nonce: &[u8]| {
            let mut draft = Draft::new(0x0113, [7; 12]);
            draft.attribute(REALM, realm);
            draft.attribute(NONCE, nonce);
            draft.finish()
        };
        let bytes = challenge(b"example.org", b"f//499k954d6OL34oL9FSTvy64sA");
        let challenge = parse(&bytes).expect("a message");
        let digits: Vec<u32> = SAMPLE.chars().filter_map(|c| c.to_digit(16)).collect();
        let sample: Vec<u8> = digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect();
        for (password, expected) in [("TheMatrIX", true), ("TheMatrix", false)] {
            let session =
                Session::of(&challenge, &Secret::new("マトリックス"), password).expect("whole");
            assert_eq!(session.signed(&parse(&sample).expect("a message")), expected);
        }
        let probe = Secret::new("probe");
        let session = Session::of(&challenge, &probe, "hush").expect("a whole challenge");
        let other = Session::of(&challenge, &probe, "hash").expect("a whole challenge");
        let bytes = request(Wish::Relay(false), [9; 12], "radiosonde", Some(&session));
        let message = parse(&bytes).expect("a message");
        assert!(session.signed(&message) && !other.signed(&message));
        let mut changed = bytes.clone();
        changed[24] ^= 1;
        // With its fingerprint mended, so that only the signature tells.
        let end = changed.len() - FINGERPRINT_LENGTH;
        let mended = fingerprint(&changed[..end]).to_be_bytes();
        changed[end + 4..].copy_from_slice(&mended);
        assert!(!session.signed(&parse(&changed).expect("a message")));
    }
}
