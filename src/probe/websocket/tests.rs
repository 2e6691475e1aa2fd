//! Frames and messages without a network: cut anywhere, compressed or not, and wrong in every way.

use super::MAX_MESSAGE_BYTES;
use super::deflate::{Agreed, Deflate, Deflater, Inflater, NotInflated, agree};
use super::frames::{Frame, Frames, Opcode, Violation, encode, mask};
use super::line::{BinaryText, Manner};
use super::messages::{Assembler, Incoming, Message};
use bytes::Bytes;
use proptest::prelude::*;

/// What both ends agree on when the server answers so.
fn agreed(parameters: &str) -> Agreed {
    let answer = format!("permessage-deflate{parameters}");
    let offer = Deflate::default();
    agree(Some(&offer), &answer).expect("allowed").expect("agreed")
}

/// Reads chunks as the reader does; what came up to the first violation.
fn read(chunks: &[&[u8]], agreed: Option<Agreed>) -> (Vec<Incoming>, Option<Violation>) {
    let mut frames = Frames::new(Bytes::new(), agreed.is_some());
    let mut messages = Assembler::new(agreed.map(Inflater::new));
    let mut came = Vec::new();
    for chunk in chunks {
        frames.room(chunk.len()).extend_from_slice(chunk);
        loop {
            let frame = match frames.next(messages.room()) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(violation) => return (came, Some(violation)),
            };
            match messages.take(frame) {
                Ok(incoming) => came.extend(incoming),
                Err(violation) => return (came, Some(violation)),
            }
        }
        let bound = MAX_MESSAGE_BYTES + chunk.len() + 14;
        assert!(frames.room(0).len() <= bound, "more is kept than one message");
    }
    (came, None)
}

fn frame(is_final: bool, opcode: Opcode, payload: &[u8]) -> Frame {
    let payload = Bytes::copy_from_slice(payload);
    Frame { is_final, is_compressed: false, opcode, payload }
}

/// A message as a server frames it: cut at these lengths, with these control frames in between.
fn framed(
    (is_text, body): &(bool, Vec<u8>),
    cuts: &[usize],
    controls: &[Frame],
    deflater: Option<&mut Deflater>,
    out: &mut Vec<u8>,
) {
    let mut is_compressed = deflater.is_some();
    let mut rest = match deflater {
        Some(deflater) => Bytes::from(deflater.deflate(body)),
        None => Bytes::copy_from_slice(body),
    };
    let mut opcode = if *is_text { Opcode::Text } else { Opcode::Binary };
    let mut controls = controls.iter();
    for length in cuts.iter().copied().chain([usize::MAX]) {
        let payload = rest.split_to(rest.len().min(length));
        let is_final = length == usize::MAX;
        encode(&Frame { is_final, is_compressed, opcode, payload }, None, out);
        (opcode, is_compressed) = (Opcode::Continuation, false);
        if let Some(control) = controls.next().filter(|_| !is_final) {
            encode(control, None, out);
        }
    }
}

fn message() -> impl Strategy<Value = (bool, Vec<u8>)> {
    let text = "\\PC{0,200}".prop_map(|text: String| (true, text.into_bytes()));
    let data = prop::collection::vec(any::<u8>(), 0..300).prop_map(|data| (false, data));
    let long = (any::<u8>(), 0_usize..100_000).prop_map(|(byte, n)| (false, vec![byte; n]));
    prop_oneof![4 => text, 4 => data, 1 => long]
}

fn control() -> impl Strategy<Value = Frame> {
    let payload = prop::collection::vec(any::<u8>(), 0..=125);
    (any::<bool>(), payload).prop_map(|(is_ping, payload)| {
        frame(true, if is_ping { Opcode::Ping } else { Opcode::Pong }, &payload)
    })
}

fn plan() -> impl Strategy<Value = ((bool, Vec<u8>), Vec<usize>, Vec<Frame>)> {
    let cuts = prop::collection::vec(0_usize..80, 0..6);
    (message(), cuts, prop::collection::vec(control(), 0..4))
}

proptest! {
    /// Guarantees that messages come out as they went in, however they are fragmented, compressed,
    /// interleaved with control frames, and cut by the network.
    #[test]
    fn messages_survive_any_cut(
        plans in prop::collection::vec(plan(), 1..6),
        parameters in prop::option::of(prop::sample::select(vec![
            "", "; server_no_context_takeover; client_no_context_takeover",
            "; client_max_window_bits=8",
            "; client_max_window_bits=9; client_no_context_takeover",
        ])),
        chunks in prop::collection::vec(1_usize..3_000, 1..20),
    ) {
        let agreed = parameters.map(agreed);
        let mut deflater = agreed.map(Deflater::new);
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for (message, cuts, controls) in &plans {
            framed(message, cuts, controls, deflater.as_mut(), &mut bytes);
            expected.push(message.clone());
        }
        let (mut rest, mut pieces) = (&bytes[..], Vec::new());
        for length in chunks.iter().cycle() {
            let (piece, after) = rest.split_at(rest.len().min(*length));
            pieces.push(piece);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        // Whoever forgets more than was agreed on is understood all the same.
        let (came, violation) = read(&pieces, agreed);
        prop_assert_eq!(violation, None);
        let found: Vec<(bool, Vec<u8>)> = came
            .iter()
            .filter_map(|incoming| match incoming {
                Incoming::Message(Message { is_text, body, .. }) => Some((*is_text, body.to_vec())),
                _ => None,
            })
            .collect();
        prop_assert_eq!(found, expected);
        let sent: usize = plans.iter().map(|(_, cuts, controls)| cuts.len().min(controls.len())).sum();
        prop_assert_eq!(came.len() - plans.len(), sent, "control frames");
    }

    /// Guarantees that no bytes make the reader panic or keep more than its bound.
    #[test]
    fn any_bytes_are_read(
        chunks in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            // Heads that are right, so that more than the first bytes are looked at.
            (prop::sample::select(vec![0x81_u8, 0x01, 0xC1, 0x82, 0x00, 0x80, 0x88, 0x89, 0x41]), 0_u8..128, any::<[u8; 8]>())
                .prop_map(|(first, second, rest)| [&[first, second][..], &rest].concat()),
        ], 0..12),
        compresses in any::<bool>(),
    ) {
        let pieces: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        drop(read(&pieces, compresses.then(|| agreed(""))));
    }

    /// Guarantees that a mask is its own inverse, at every length, and masks byte by byte.
    #[test]
    fn masks_undo_themselves(payload in prop::collection::vec(any::<u8>(), 0..70), key in any::<[u8; 4]>()) {
        let mut masked = payload.clone();
        mask(&mut masked, key);
        for (at, byte) in payload.iter().enumerate() {
            prop_assert_eq!(masked[at], byte ^ key[at % 4]);
        }
        mask(&mut masked, key);
        prop_assert_eq!(masked, payload);
    }
}

/// Guarantees what is told of each thing that a server must not do, and the code it is told.
#[test]
fn wrong_frames_have_a_code_and_words() {
    let check = |bytes: &[u8], compresses: bool, code: u16, part: &str| {
        let (_, violation) = read(&[bytes], compresses.then(|| agreed("")));
        let violation = violation.expect("it is wrong");
        assert_eq!(violation.code, code, "{}", violation.words);
        assert!(violation.words.contains(part), "{}", violation.words);
    };
    check(b"\x83\x00", false, 1002, "opcode 3");
    check(b"\x8B\x00", false, 1002, "opcode 11");
    check(b"\xA1\x00", true, 1002, "reserved bits");
    check(b"\x91\x00", false, 1002, "reserved bits");
    check(b"\xC1\x00", false, 1002, "compression was not agreed on");
    check(b"\xC9\x00", true, 1002, "begins no message");
    check(b"\x01\x00\xC0\x00", true, 1002, "begins no message");
    check(b"\x81\x80\x00\x00\x00\x00", false, 1002, "masked");
    check(b"\x09\x00", false, 1002, "control frame in fragments");
    check(b"\x89\x7E\x00\x7E", false, 1002, "more than 125 bytes");
    check(b"\x81\x7E\x00\x05", false, 1002, "more bytes than it takes");
    check(b"\x81\x7F\x00\x00\x00\x00\x00\x00\xFF\xFF", false, 1002, "more bytes than it takes");
    check(b"\x80\x00", false, 1002, "never began");
    check(b"\x01\x01a\x81\x01b", false, 1002, "before the end of the one before");
    check(b"\x88\x01\x03", false, 1002, "half a code");
    check(b"\x88\x02\x03\xED", false, 1002, "code 1005");
    check(b"\x88\x02\x00\x00", false, 1002, "code 0");
    check(b"\x88\x02\x0B\xB7", false, 1002, "code 2999");
    check(b"\x88\x02\x13\x88", false, 1002, "code 5000");
    check(b"\x88\x03\x03\xE8\xFF", false, 1007, "reason is not UTF-8");
    check(b"\x81\x01\xFF", false, 1007, "not UTF-8");
    check(b"\x01\x01\xC3\x80\x01\x28", false, 1007, "not UTF-8");
    check(b"\xC1\x03\xFF\xFF\xFF", true, 1007, "cannot be inflated");
}

/// Guarantees that what is right at its edges is taken: a code point across fragments, the codes
/// of applications, empty messages and farewells.
#[test]
fn edges_are_taken() {
    let texts = |bytes: &[u8]| match read(&[bytes], None) {
        (came, None) => came,
        (_, violation) => unreachable!("{violation:?}"),
    };
    let message = |body: &'static str, frames| {
        let wire_bytes = body.len();
        Incoming::Message(Message { is_text: true, body: body.into(), wire_bytes, frames })
    };
    assert_eq!(texts(b"\x01\x01\xC3\x80\x01\xA9"), [message("\u{e9}", 2)]);
    assert_eq!(texts(b"\x81\x00"), [message("", 1)]);
    assert_eq!(texts(b"\x01\x00\x00\x00\x80\x00"), [message("", 3)]);
    assert_eq!(texts(b"\x88\x00"), [Incoming::Close(None)]);
    for code in [1000, 1001, 1003, 1007, 1011, 1014, 3000, 4999_u16] {
        let bytes = [&[0x88, 4][..], &code.to_be_bytes(), b"ok"].concat();
        assert_eq!(texts(&bytes), [Incoming::Close(Some((code, "ok".to_owned())))]);
    }
}

/// Guarantees that a message that is too long is refused by its head, in one frame or in many, and
/// that the longest is taken.
#[test]
fn too_long_messages_are_refused_by_their_heads() {
    let head = |first: u8, length: u64| [&[first, 127][..], &length.to_be_bytes()].concat();
    let most = MAX_MESSAGE_BYTES as u64;
    let too_long = |chunks: &[&[u8]]| read(chunks, None).1.map(|violation| violation.code);
    assert_eq!(too_long(&[&head(0x82, most + 1)]), Some(1009));
    assert_eq!(too_long(&[&head(0x82, u64::MAX)]), Some(1009));
    let half = vec![0; MAX_MESSAGE_BYTES / 2];
    let first = [head(0x02, most / 2), half].concat();
    assert_eq!(too_long(&[&first, &head(0x80, most / 2 + 1)]), Some(1009));
    let whole = [head(0x82, most), vec![0; MAX_MESSAGE_BYTES]].concat();
    assert_eq!(read(&[&whole], None).0.len(), 1);
}

// === deflate ===

/// Guarantees that a bomb is defused: of what is beyond the bound nothing is inflated, while a
/// message just within is whole.
#[test]
fn bombs_are_defused() {
    let agreed = agreed("");
    let inflate = |length: usize| {
        let packed = Deflater::new(agreed).deflate(&vec![0; length]);
        assert!(packed.len() < length / 500);
        Inflater::new(agreed).inflate(&packed, MAX_MESSAGE_BYTES).map(|body| body.len())
    };
    assert_eq!(inflate(MAX_MESSAGE_BYTES), Ok(MAX_MESSAGE_BYTES));
    assert_eq!(inflate(MAX_MESSAGE_BYTES + 1), Err(NotInflated::TooLong));
    assert_eq!(inflate(100 * MAX_MESSAGE_BYTES), Err(NotInflated::TooLong));
    let bomb = Deflater::new(agreed).deflate(&vec![0; 2 * MAX_MESSAGE_BYTES]);
    let payload = Bytes::from(bomb);
    let frame = Frame { is_final: true, is_compressed: true, opcode: Opcode::Text, payload };
    let mut bytes = Vec::new();
    encode(&frame, None, &mut bytes);
    let violation = read(&[&bytes], Some(agreed)).1.expect("refused");
    assert_eq!(violation.code, 1009);
    assert!(violation.words.contains("inflated it has more than"), "{}", violation.words);
}

/// Guarantees the examples of RFC 7692, section 7.2.3.
#[test]
fn the_standard_s_examples_are_inflated() {
    let payloads: [&[u8]; 4] = [
        &[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00],
        // No compression, and a block that ends for good.
        &[0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00],
        &[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00],
        // Two blocks.
        &[0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00],
    ];
    for payload in payloads {
        let hello = Inflater::new(agreed("")).inflate(payload, 100);
        assert_eq!(hello.as_deref(), Ok(&b"Hello"[..]), "{payload:x?}");
    }
    // The second message refers back to the first.
    let mut inflater = Inflater::new(agreed(""));
    let first = [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];
    let second = [0xF2, 0x00, 0x11, 0x00, 0x00];
    for payload in [&first[..], &second] {
        assert_eq!(inflater.inflate(payload, 100).as_deref(), Ok(&b"Hello"[..]));
    }
    assert_eq!(inflater.inflate(&[0x00], 100).as_deref(), Ok(&b""[..]));
    assert_eq!(Deflater::new(agreed("")).deflate(b""), [0]);
}

/// Guarantees that nothing refers back further than the window, within a message or to one before,
/// and to none before without context takeover.
#[test]
fn windows_are_kept_to() {
    let noise: Vec<u8> = {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        std::iter::repeat_with(&mut next).take(2_000).collect()
    };
    let twice = [&noise[..], &noise].concat();
    for bits in 8..=15_u8 {
        let sees_it = 1_usize << bits >= 4_000;
        let agreed = agreed(&format!("; client_max_window_bits={bits}"));
        let mut deflater = Deflater::new(agreed);
        let within = deflater.deflate(&twice);
        assert_eq!(within.len() < 2_500, sees_it, "{bits} bits: {} bytes", within.len());
        let again = deflater.deflate(&noise);
        assert_eq!(again.len() < 500, 1_usize << bits >= 6_000, "{bits} bits: {}", again.len());
        let mut inflater = Inflater::new(agreed);
        assert_eq!(inflater.inflate(&within, 10_000).as_deref(), Ok(&twice[..]));
        assert_eq!(inflater.inflate(&again, 10_000).as_deref(), Ok(&noise[..]));
    }
    let mut deflater = Deflater::new(agreed("; client_no_context_takeover"));
    assert_eq!(deflater.deflate(&noise), deflater.deflate(&noise));
}

/// Guarantees that zlib inflates what is sent with a window of just that size, and that what zlib sends
/// is inflated, message after message, with context and without.
#[test]
#[ignore = "needs python3, whose zlib it asks"]
fn zlib_understands_and_is_understood() {
    let words = ["alpha ", "beta ", "gamma ", "delta "];
    let message = |n: usize| -> Vec<u8> {
        let pick = |at: usize| words[(at * at + n * at / 3 + n) % 4].bytes();
        (0..500 * n).flat_map(pick).chain(n.to_string().bytes()).collect()
    };
    let messages: Vec<Vec<u8>> = (1..6).map(message).collect();
    for bits in 8..=15_u8 {
        for alone in ["", "; client_no_context_takeover; server_no_context_takeover"] {
            let agreed = agreed(&format!("; client_max_window_bits={bits}{alone}"));
            let (mut deflater, mut inflater) = (Deflater::new(agreed), Inflater::new(agreed));
            let mut script = ZLIB.replace("BITS", &bits.to_string());
            script = script.replace("ALONE", if alone.is_empty() { "False" } else { "True" });
            for message in &messages {
                let packed = deflater.deflate(message);
                script.push_str(&format!("exchange('{}', '{}')\n", hex(message), hex(&packed)));
            }
            let python = std::process::Command::new("python3").args(["-c", &script]).output();
            let python = python.expect("python3");
            assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
            let answers = String::from_utf8(python.stdout).expect("hex");
            for (answer, message) in answers.lines().zip(&messages) {
                let packed = BinaryText::Hex.decode(answer).expect("hex");
                let inflated = inflater.inflate(&packed, MAX_MESSAGE_BYTES);
                assert_eq!(inflated.as_deref(), Ok(&message[..]), "{bits} bits");
            }
            assert_eq!(answers.lines().count(), messages.len());
        }
    }
}

/// Inflates what we sent and compares it; prints the message as zlib packs it.
const ZLIB: &str = "
import zlib
bits, alone = BITS, ALONE
def fresh():
    return zlib.decompressobj(-bits), zlib.compressobj(9, zlib.DEFLATED, -max(bits, 9))
into, out = fresh()
def exchange(message, packed):
    global into, out
    if alone:
        into, out = fresh()
    message = bytes.fromhex(message)
    assert into.decompress(bytes.fromhex(packed) + b'\\0\\0\\xff\\xff') == message
    answer = out.compress(message) + out.flush(zlib.Z_SYNC_FLUSH)
    print(answer[:-4].hex())
";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Guarantees what is offered, and which answers are one to go on with.
#[test]
fn extensions_are_negotiated() {
    let plain = Deflate::default();
    let full = Deflate {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: Some(10),
        client_max_window_bits: Some(9),
        required: false,
    };
    assert_eq!(plain.offer(), "permessage-deflate; client_max_window_bits");
    assert_eq!(
        full.offer(),
        "permessage-deflate; client_max_window_bits=9; server_max_window_bits=10; \
         server_no_context_takeover; client_no_context_takeover"
    );
    let check = |offered: Option<&Deflate>, answer: &str, expected: &str| {
        let found = match agree(offered, answer) {
            Ok(None) => "declined".to_owned(),
            Ok(Some(_)) => "agreed".to_owned(),
            Err(words) => words,
        };
        assert!(found.contains(expected), "{answer}: {found}");
    };
    check(Some(&plain), "", "declined");
    check(None, "", "declined");
    check(None, "permessage-deflate", "was not offered");
    check(Some(&plain), "permessage-deflate", "agreed");
    check(Some(&plain), "PERMESSAGE-DEFLATE;client_max_window_bits=\"8\"", "agreed");
    check(Some(&plain), "permessage-deflate; server_max_window_bits=8", "agreed");
    check(Some(&plain), "x-webkit-deflate-frame", "was not offered");
    check(Some(&plain), "permessage-deflate, permessage-deflate", "a second extension");
    check(Some(&plain), "permessage-deflate; mux", "the unknown parameter `mux`");
    check(Some(&plain), "permessage-deflate; client_max_window_bits", "no window");
    for bits in ["7", "16", "08", "+8", "", "1e1"] {
        let answer = format!("permessage-deflate; client_max_window_bits={bits}");
        check(Some(&plain), &answer, "no window of 8 to 15 bits");
    }
    let twice = "permessage-deflate; server_no_context_takeover; server_no_context_takeover";
    check(Some(&plain), twice, "a second `server_no_context_takeover`");
    let valued = "permessage-deflate; server_no_context_takeover=1";
    check(Some(&plain), valued, "a value where none may be");
    let rest = "permessage-deflate; server_no_context_takeover; server_max_window_bits";
    check(Some(&full), &format!("{rest}=10"), "agreed");
    check(Some(&full), &format!("{rest}=11"), "no `server_max_window_bits` of 10 or less");
    check(Some(&full), "permessage-deflate; server_no_context_takeover", "of 10 or less");
    check(Some(&full), "permessage-deflate; server_max_window_bits=8", "was asked for");
    check(Some(&full), &format!("{rest}=8; client_max_window_bits=10"), "above the 9");
}

// === sending ===

/// Guarantees the frames of a message that is sent: masked, in fragments, the first one alone with
/// the kind and the mark of compression.
#[test]
fn messages_are_sent_in_fragments() {
    let manner = |fragment, binary| Manner {
        deflater: None,
        fragment: std::num::NonZeroU32::new(fragment),
        binary,
    };
    let sent = manner(2, None).frames("hello".to_owned()).expect("fine");
    let heads: Vec<[u8; 2]> = vec![[0x01, 0x82], [0x00, 0x82], [0x80, 0x81]];
    let mut rest = &sent[..];
    let mut said = Vec::new();
    for head in heads {
        assert_eq!(rest[..2], head);
        let (key, length) = (rest[2..6].try_into().expect("four"), usize::from(head[1] & 0x7F));
        let mut payload = rest[6..6 + length].to_vec();
        mask(&mut payload, key);
        said.extend(payload);
        rest = &rest[6 + length..];
    }
    assert_eq!((said.as_slice(), rest.len()), (&b"hello"[..], 0));
    let data = manner(0, Some(BinaryText::Hex)).frames("0a FF".to_owned()).expect("fine");
    assert_eq!(data[..2], [0x82, 0x82]);
    assert!(manner(0, Some(BinaryText::Hex)).frames("0aF".to_owned()).is_err());
    assert_eq!(manner(0, None).frames(String::new()).expect("fine").len(), 6);
    let long = manner(0, None).frames("x".repeat(70_000)).expect("fine");
    assert_eq!(long[..2], [0x81, 0xFF]);
    assert_eq!(BinaryText::Base64.decode(" AP8= "), Some(vec![0, 255]));
    assert_eq!(BinaryText::Base64.decode("AP8"), None);
    assert_eq!(BinaryText::Hex.decode("zz"), None);
}
