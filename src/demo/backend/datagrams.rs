//! Datagrams on the back end's own address: STUN binding requests are answered, everything else
//! comes back as it is.
//!
//! Who sends a datagram can lie about where it comes from. So this serves loopback alone, and no
//! answer but STUN's is longer than what it answers.

use crate::base::error::Chain;
use crate::base::shutdown::Shutdown;
use flate2::Crc;
use std::io;
use std::net::{IpAddr, SocketAddr};
use tokio::net::UdpSocket;
use tracing::warn;

/// Longer datagrams are not answered.
const MAX_DATAGRAM: usize = 1_200;
const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
const BINDING_SUCCESS: [u8; 2] = [0x01, 0x01];
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const XOR_MAPPED_ADDRESS: [u8; 2] = [0x00, 0x20];
const FINGERPRINT: [u8; 4] = [0x80, 0x28, 0x00, 0x04];
const FINGERPRINT_XOR: u32 = 0x5354_554e;

/// Serves datagrams at the address of the back end until `shutdown` begins.
pub(super) async fn serve_datagrams(backend: io::Result<SocketAddr>, shutdown: Shutdown) {
    let served = async {
        let address = backend?;
        if !address.ip().is_loopback() {
            return Ok(());
        }
        serve(&UdpSocket::bind(address).await?, address).await
    };
    tokio::select! {
        served = served => if let Err(cause) = served {
            warn!(error = %Chain(&cause), "the sample back end takes no datagrams");
        },
        () = shutdown.begun() => {}
    }
}

async fn serve(socket: &UdpSocket, own: SocketAddr) -> io::Result<()> {
    let mut buffer = [0; MAX_DATAGRAM + 1];
    loop {
        // That an answer of ours found nobody is told here, and no reason to stop.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let datagram = buffer.get(..length).unwrap_or_default();
        // Answering ourselves would never end.
        if datagram.len() > MAX_DATAGRAM || from == own {
            continue;
        }
        let answer = binding_answer(datagram, from).unwrap_or_else(|| datagram.to_vec());
        let _ = socket.send_to(&answer, from).await;
    }
}

/// What answers a STUN binding request; none when it is something else.
fn binding_answer(datagram: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
    let (kind, rest) = datagram.split_first_chunk::<2>()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (cookie, rest) = rest.split_first_chunk::<4>()?;
    let (transaction, rest) = rest.split_first_chunk::<12>()?;
    let is_whole = usize::from(u16::from_be_bytes(*length)) == rest.len();
    if *kind != BINDING_REQUEST || *cookie != MAGIC_COOKIE || !is_whole {
        return None;
    }
    let mask: Vec<u8> = cookie.iter().chain(transaction).copied().collect();
    let (family, ip) = match from.ip() {
        IpAddr::V4(ip) => (1, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, ip.octets().to_vec()),
    };
    let masked = |bytes: &[u8]| bytes.iter().zip(&mask).map(|(a, b)| a ^ b).collect::<Vec<u8>>();
    let value = [&[0, family], &*masked(&from.port().to_be_bytes()), &*masked(&ip)].concat();
    let attribute =
        [&XOR_MAPPED_ADDRESS, &*(value.len() as u16).to_be_bytes().to_vec(), &*value].concat();
    let body = (attribute.len() + FINGERPRINT.len() + 4) as u16;
    let mut answer =
        [&BINDING_SUCCESS, &*body.to_be_bytes().to_vec(), cookie, transaction, &*attribute]
            .concat();
    let mut crc = Crc::new();
    crc.update(&answer);
    answer.extend(FINGERPRINT);
    answer.extend((crc.sum() ^ FINGERPRINT_XOR).to_be_bytes());
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::probe::Outcome;
    use crate::probe::spec::ProbeSpec;
    use crate::probe::{Context, SlotStart, run_once};
    use std::sync::Arc;
    use std::time::Duration;

    /// Nothing here takes a fraction of it, unless something hangs.
    const CEILING: Duration = Duration::from_secs(30);

    fn probes(address: SocketAddr) -> Vec<Arc<ProbeSpec>> {
        let text =
            crate::demo::aimed_at(&[(crate::demo::backend::DEFAULT_ADDRESS, address)]).into_iter();
        let text = text.filter(|(path, _)| path == "probes/udp.yaml").map(|(_, text)| text);
        let text: String = text.collect();
        let loaded = crate::config::load_embedded(&[("probes.yaml", &text)], &|_| true);
        loaded.settings.expect("the file is fine").probes
    }

    /// Guarantees that the shipped probes pass, STUN's with our own address, and that the end is
    /// the shutdown's.
    #[tokio::test]
    async fn the_shipped_probes_pass() {
        // Taken for a moment, to know one that is free.
        let address = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let shutdown = Shutdown::new();
        shutdown.spawn(serve_datagrams(Ok(address), shutdown.clone()));
        let context = Context::new(crate::base::clock::Clock::system(), Default::default());
        let mut runs = Vec::new();
        for probe in probes(address) {
            let passes = async {
                loop {
                    let run = run_once(&probe, SlotStart::now(&context.clock), &context).await;
                    // The socket may not be there yet.
                    if run.outcome == Outcome::Success {
                        return run;
                    }
                }
            };
            runs.push(tokio::time::timeout(CEILING, passes).await.expect("passes"));
        }
        let seen = runs.iter().flat_map(|run| &run.steps).flat_map(|step| &step.attributes);
        let seen = seen.filter(|(name, _)| name == "stun.mapped_address");
        let seen: Vec<String> = seen.map(|(_, address)| address.to_string()).collect();
        assert_eq!(seen.len(), 1, "{runs:#?}");
        assert!(seen[0].starts_with("127.0.0.1:"), "{seen:?}");
        assert!(shutdown.drain(CEILING).await, "it ends");
    }

    /// Guarantees that nothing is answered that is too long, and that what is nearly STUN comes back.
    #[tokio::test]
    async fn answers_are_bounded() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.connect(address).await.unwrap();
        let nearly = [0, 1, 0, 4, 0x21, 0x12, 0xa4, 0x42];
        let talk = async {
            for text in [&[b'x'; MAX_DATAGRAM + 1][..], &nearly, b"end"] {
                client.send(text).await.unwrap();
            }
            let mut buffer = [0; 2_000];
            for expected in [&nearly[..], b"end"] {
                let length = client.recv(&mut buffer).await.unwrap();
                assert_eq!(&buffer[..length], expected);
            }
        };
        tokio::select! {
            served = serve(&server, address) => unreachable!("{served:?}"),
            told = tokio::time::timeout(CEILING, talk) => told.expect("both come back"),
        }
    }
}
