//! The sample name server: UDP and TCP, authoritative for `chat.demo.`, where the other names of the
//! world do not exist.
//!
//! Datagrams are answered one after another; connections are limited in number and in patience.
//! What is no question gets no answer, or one that says so.

use super::sockets::TwinSockets;
use crate::base::shutdown::Shutdown;
use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tracing::warn;

/// Where the shipped probes expect the name server.
pub const NAMES_ADDRESS: &str = "127.0.0.1:7073";

/// The one zone.
const ZONE: &str = "chat.demo.";
/// Its serial number.
const SERIAL: u32 = 2_026_010_101;
/// How long its records may be kept, seconds.
const TTL: u32 = 60;
/// Connections at a time.
const MAX_CONNECTIONS: usize = 32;
/// A connection that asks nothing for so long is closed.
const IDLE: Duration = Duration::from_secs(10);
/// No query is longer.
const MAX_QUERY: usize = 4_096;
/// Answers questions until `shutdown` begins.
pub async fn start_names(sockets: TwinSockets, shutdown: Shutdown) {
    let TwinSockets { datagrams, listener, .. } = sockets;
    tokio::select! {
        () = shutdown.begun() => {}
        () = answer_datagrams(&datagrams) => {}
        () = answer_connections(&listener, &shutdown) => {}
    }
}

async fn answer_datagrams(socket: &UdpSocket) {
    let mut query = vec![0; MAX_QUERY];
    loop {
        // An error is that of an earlier answer, whose asker is gone.
        let Ok((length, asker)) = socket.recv_from(&mut query).await else { continue };
        let answered = query.get(..length).and_then(answer);
        if let Some(answered) = answered {
            drop(socket.send_to(&answered, asker).await);
        }
    }
}

async fn answer_connections(listener: &TcpListener, shutdown: &Shutdown) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let signal = shutdown.clone();
                shutdown.spawn(async move {
                    let _held = place;
                    tokio::select! {
                        () = signal.begun() => {}
                        // Whoever asks may leave at any time.
                        done = converse(stream) => drop(done),
                    }
                });
            }
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Each message has its length in front.
async fn converse(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let read = tokio::time::timeout(IDLE, async {
            let length = usize::from(stream.read_u16().await?);
            let mut query = vec![0; length.min(MAX_QUERY)];
            stream.read_exact(&mut query).await?;
            Ok::<_, io::Error>(query)
        });
        let query = read.await.map_err(|_| io::ErrorKind::TimedOut)??;
        let Some(answered) = answer(&query) else { return Ok(()) };
        let length = u16::try_from(answered.len()).unwrap_or(u16::MAX);
        stream.write_all(&[&length.to_be_bytes(), answered.as_slice()].concat()).await?;
    }
}

/// The answer to a message; none when it is not a query.
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let Ok(query) = Message::from_vec(query) else { return not_understood(query) };
    if query.metadata.message_type != MessageType::Query {
        return None;
    }
    let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    let code = match (query.metadata.op_code, query.queries.as_slice()) {
        (OpCode::Query, [question]) => {
            let _ = reply.add_query(question.clone());
            reply.metadata.authoritative = true;
            fill(&mut reply, question.name(), question.query_type())
        }
        (OpCode::Query, _) => ResponseCode::FormErr,
        _ => ResponseCode::NotImp,
    };
    reply.metadata.response_code = code;
    reply.to_vec().ok()
}

/// Only the id of the query is known.
fn not_understood(query: &[u8]) -> Option<Vec<u8>> {
    let (id, [flags, ..]) = query.split_first_chunk::<2>()? else { return None };
    let is_query = flags & 0x80 == 0;
    let reply = is_query.then(|| {
        Message::error_msg(u16::from_be_bytes(*id), OpCode::Query, ResponseCode::FormErr)
    })?;
    reply.to_vec().ok()
}

/// Adds the records of a name. Where there are none the zone's SOA says so, for those who keep it.
fn fill(reply: &mut Message, name: &Name, record_type: RecordType) -> ResponseCode {
    let Ok(zone) = Name::from_ascii(ZONE) else { return ResponseCode::ServFail };
    let soa = Record::from_rdata(zone.clone(), TTL, RData::SOA(soa(&zone)));
    let data = match record_type {
        _ if *name != zone => None,
        RecordType::A => Some(RData::A(A(Ipv4Addr::LOCALHOST))),
        RecordType::AAAA => Some(RData::AAAA(AAAA(Ipv6Addr::LOCALHOST))),
        RecordType::TXT => Some(RData::TXT(TXT::new(vec!["region=eu-west".to_owned()]))),
        RecordType::SOA => Some(soa.data.clone()),
        _ => None,
    };
    let _ = match data {
        Some(data) => reply.add_answer(Record::from_rdata(zone.clone(), TTL, data)),
        None => reply.add_authority(soa),
    };
    if *name == zone { ResponseCode::NoError } else { ResponseCode::NXDomain }
}

fn soa(zone: &Name) -> SOA {
    let below = |label: &str| zone.prepend_label(label).unwrap_or_else(|_| zone.clone());
    SOA::new(below("ns"), below("hostmaster"), SERIAL, 3_600, 600, 86_400, TTL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Clock;
    use crate::probe::{Context, SlotStart, run_once};
    use crate::telemetry::Telemetry;
    use hickory_proto::op::Query;
    use std::net::SocketAddr;

    fn query(name: &str, record_type: RecordType) -> Vec<u8> {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        let name = Name::from_ascii(name).unwrap();
        let _ = message.add_query(Query::query(name, record_type));
        message.to_vec().unwrap()
    }

    /// Guarantees what the zone holds, what it does not, and what is said to anything else.
    #[test]
    fn the_zone_answers() {
        let check = |query: &[u8], code: ResponseCode, text: &str| {
            let reply = Message::from_vec(&answer(query).unwrap()).unwrap();
            let records: Vec<String> = reply.answers.iter().map(|r| r.data.to_string()).collect();
            assert_eq!((reply.metadata.response_code, records.join(",").as_str()), (code, text));
        };
        let soa = "ns.chat.demo. hostmaster.chat.demo. 2026010101 3600 600 86400 60";
        check(&query("chat.demo.", RecordType::A), ResponseCode::NoError, "127.0.0.1");
        check(&query("CHAT.demo.", RecordType::AAAA), ResponseCode::NoError, "::1");
        check(&query("chat.demo.", RecordType::TXT), ResponseCode::NoError, "region=eu-west");
        check(&query("chat.demo.", RecordType::SOA), ResponseCode::NoError, soa);
        check(&query("chat.demo.", RecordType::MX), ResponseCode::NoError, "");
        check(&query("gone.demo.", RecordType::A), ResponseCode::NXDomain, "");
        check(&[0, 7, 0, 0, 0, 1], ResponseCode::FormErr, "");
        assert_eq!(answer(&[]), None);
        let mut response = query("chat.demo.", RecordType::A);
        response[2] |= 0x80;
        assert_eq!(answer(&response), None, "answers are not answered");
    }

    /// Guarantees both transports on one port, and that the server ends with the shutdown.
    #[tokio::test]
    async fn it_serves_until_the_shutdown() {
        let sockets = TwinSockets::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let (address, shutdown) = (sockets.address(), Shutdown::new());
        shutdown.spawn(start_names(sockets, shutdown.clone()));
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let asked = query("chat.demo.", RecordType::A);
        let _ = socket.send_to(&asked, address).await.unwrap();
        let mut datagram = [0; MAX_QUERY];
        let length = socket.recv(&mut datagram).await.unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let length_of_query = u16::try_from(asked.len()).unwrap().to_be_bytes();
        stream.write_all(&[&length_of_query, asked.as_slice()].concat()).await.unwrap();
        let mut message = vec![0; usize::from(stream.read_u16().await.unwrap())];
        let _ = stream.read_exact(&mut message).await.unwrap();
        assert_eq!(message, datagram[..length]);
        assert!(shutdown.drain(Duration::from_secs(30)).await, "the name server ends");
    }

    /// Guarantees that the shipped probes of names pass here.
    #[tokio::test]
    async fn the_shipped_probes_pass() {
        let sockets = TwinSockets::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let (address, shutdown) = (sockets.address().to_string(), Shutdown::new());
        shutdown.spawn(start_names(sockets, shutdown.clone()));
        let text = include_str!("../../../probes/dns.yaml").replace(NAMES_ADDRESS, &address);
        let loaded = crate::config::load_embedded(&[("probes/dns.yaml", &text)], &|_| true);
        let context = Context::new(Clock::system(), Telemetry::new());
        for probe in loaded.settings.expect("no mistakes").probes {
            let run = run_once(&probe, SlotStart::now(&context.clock), &context).await;
            assert!(run.succeeded(), "{}: {:?}", probe.name, run.failure);
        }
        assert!(shutdown.drain(Duration::from_secs(30)).await, "the name server ends");
    }
}
