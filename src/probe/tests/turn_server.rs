//! A TURN server for tests: real messages, real relays, and rules for what goes wrong. It shares no
//! code with what it tests.

use super::servers::acceptor;
use aws_lc_rs::hmac::{HMAC_SHA1_FOR_LEGACY_USE_ONLY, Key, sign};
use base64::Engine as _;
use md5::{Digest, Md5};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

/// Types of requests.
pub(super) const ALLOCATE: u16 = 3;
pub(super) const REFRESH: u16 = 4;
pub(super) const PERMIT: u16 = 8;
const SEND: u16 = 0x16;
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// What the server does.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    /// Serve everybody.
    pub open: bool,
    /// Reckon passwords from the user's name with this secret; otherwise there is `probe`, `hush`.
    pub secret: Option<&'static str>,
    /// Refuse requests of that type with that code.
    pub refuse: Option<(u16, u16)>,
    /// Find the nonce stale so often.
    pub stale: u32,
    /// Ignore so many requests.
    pub ignore: u32,
    /// Do not relay what the client sends.
    pub one_way: bool,
    /// Sign with another password.
    pub impostor: bool,
}

/// A server that lives until it is dropped.
pub(super) struct Turn {
    pub udp: SocketAddr,
    pub tcp: SocketAddr,
    pub tls: SocketAddr,
    pub pem: Arc<str>,
    shared: Arc<Shared>,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

struct Shared {
    rules: Mutex<Rules>,
    asked: Mutex<Vec<u16>>,
    software: Mutex<String>,
}

/// What the server keeps of a client.
struct Client {
    from: SocketAddr,
    out: mpsc::Sender<Vec<u8>>,
    permitted: Arc<Mutex<Vec<IpAddr>>>,
    relay: Option<(Arc<UdpSocket>, AbortOnDropHandle<()>)>,
}

impl Turn {
    pub(super) async fn start(rules: Rules) -> Self {
        let shared = Arc::new(Shared {
            rules: Mutex::new(rules),
            asked: Mutex::default(),
            software: Mutex::default(),
        });
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("a port"));
        let udp = socket.local_addr().expect("bound");
        let mut tasks = vec![spawn(serve_udp(socket, Arc::clone(&shared)))];
        let (acceptor, pem) = acceptor();
        let mut streams = Vec::new();
        for is_secure in [false, true] {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            streams.push(listener.local_addr().expect("bound"));
            let (shared, acceptor) = (Arc::clone(&shared), acceptor.clone());
            tasks.push(spawn(async move {
                while let Ok((stream, from)) = listener.accept().await {
                    let (shared, acceptor) = (Arc::clone(&shared), acceptor.clone());
                    drop(tokio::spawn(async move {
                        if !is_secure {
                            serve_stream(stream, from, shared).await;
                        } else if let Ok(stream) = acceptor.accept(stream).await {
                            serve_stream(stream, from, shared).await;
                        }
                    }));
                }
            }));
        }
        Self { udp, tcp: streams[0], tls: streams[1], pem, shared, _tasks: tasks }
    }

    /// The types of all requests so far.
    pub(super) fn asked(&self) -> Vec<u16> {
        self.shared.asked.lock().clone()
    }

    /// What the last client said it is.
    pub(super) fn software(&self) -> String {
        self.shared.software.lock().clone()
    }
}

fn spawn(task: impl Future<Output = ()> + Send + 'static) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(task))
}

async fn serve_udp(socket: Arc<UdpSocket>, shared: Arc<Shared>) {
    let mut clients: HashMap<SocketAddr, (Client, AbortOnDropHandle<()>)> = HashMap::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let (client, _) = clients.entry(from).or_insert_with(|| {
            let (out, mut outgoing) = mpsc::channel::<Vec<u8>>(64);
            let socket = Arc::clone(&socket);
            let pump = spawn(async move {
                while let Some(message) = outgoing.recv().await {
                    drop(socket.send_to(&message, from).await);
                }
            });
            (Client::new(from, out), pump)
        });
        client.take(&buffer[..length], &shared).await;
    }
}

async fn serve_stream(
    stream: impl AsyncRead + AsyncWrite + Send + 'static,
    from: SocketAddr,
    shared: Arc<Shared>,
) {
    let (mut read, mut write) = tokio::io::split(stream);
    let (out, mut outgoing) = mpsc::channel::<Vec<u8>>(64);
    let _pump = spawn(async move {
        while let Some(message) = outgoing.recv().await {
            // In two parts, so that the client has to put them together.
            let (first, second) = message.split_at(7);
            drop(write.write_all(first).await);
            drop(write.flush().await);
            drop(write.write_all(second).await);
            drop(write.flush().await);
        }
    });
    let mut client = Client::new(from, out);
    let mut header = [0; 20];
    while read.read_exact(&mut header).await.is_ok() {
        let mut body = vec![0; usize::from(u16::from_be_bytes([header[2], header[3]]))];
        if read.read_exact(&mut body).await.is_err() {
            return;
        }
        client.take(&[&header[..], &body].concat(), &shared).await;
    }
}

impl Client {
    fn new(from: SocketAddr, out: mpsc::Sender<Vec<u8>>) -> Self {
        Self { from, out, permitted: Arc::default(), relay: None }
    }

    async fn take(&mut self, message: &[u8], shared: &Shared) {
        let kind = u16::from_be_bytes([message[0], message[1]]);
        if kind == SEND {
            let peer = unmasked(attribute(message, 0x12).expect("a peer"));
            let data = attribute(message, 0x13).expect("data");
            let is_permitted = self.permitted.lock().contains(&peer.ip());
            let (relay, _) = self.relay.as_ref().expect("an allocation");
            if is_permitted && !shared.rules.lock().one_way {
                drop(relay.send_to(data, peer).await);
            }
            return;
        }
        shared.asked.lock().push(kind);
        if let Some(software) = attribute(message, 0x8022) {
            *shared.software.lock() = String::from_utf8_lossy(software).into_owned();
        }
        if let Some(answer) = self.answer(kind, message, shared).await {
            drop(self.out.send(answer).await);
        }
    }

    async fn answer(&mut self, kind: u16, message: &[u8], shared: &Shared) -> Option<Vec<u8>> {
        let rules = {
            let mut rules = shared.rules.lock();
            if rules.ignore > 0 {
                rules.ignore -= 1;
                return None;
            }
            rules.clone()
        };
        let key = match judge(message, &rules) {
            Ok(key) => key,
            Err(code) => {
                let mut rules = shared.rules.lock();
                rules.stale -= u32::from(code == 438);
                let nonce = format!("nonce {}", rules.stale);
                let attributes =
                    [(9, error(code)), (0x14, b"test realm".to_vec()), (0x15, nonce.into_bytes())];
                return Some(build(kind | 0x110, message, &attributes, None));
            }
        };
        if let Some((_, code)) = rules.refuse.filter(|(refused, _)| *refused == kind) {
            return Some(build(kind | 0x110, message, &[(9, error(code))], key));
        }
        let attributes = match kind {
            ALLOCATE => self.allocate().await,
            PERMIT => {
                let peer = unmasked(attribute(message, 0x12).expect("a peer"));
                self.permitted.lock().push(peer.ip());
                Vec::new()
            }
            _ => {
                assert_eq!(attribute(message, 0x0d), Some(&[0; 4][..]), "given back");
                self.relay = None;
                vec![(0x0d, vec![0; 4])]
            }
        };
        Some(build(kind | 0x100, message, &attributes, key))
    }

    async fn allocate(&mut self) -> Vec<(u16, Vec<u8>)> {
        let relay = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("a port"));
        let address = relay.local_addr().expect("bound");
        let (socket, out) = (Arc::clone(&relay), self.out.clone());
        let permitted = Arc::clone(&self.permitted);
        let pump = spawn(async move {
            let mut buffer = vec![0; 1 << 16];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let attributes = [(0x12, masked(from)), (0x13, buffer[..length].to_vec())];
                let is_permitted = permitted.lock().contains(&from.ip());
                if is_permitted {
                    drop(out.send(build(0x17, &[0; 20], &attributes, None)).await);
                }
            }
        });
        self.relay = Some((relay, pump));
        vec![
            (0x16, masked(address)),
            (0x20, masked(self.from)),
            (0x0d, 600_u32.to_be_bytes().to_vec()),
            (0x8022, b"test turn".to_vec()),
        ]
    }
}

/// The key of who asks, or the code with which that is refused.
fn judge(message: &[u8], rules: &Rules) -> Result<Option<Key>, u16> {
    if rules.open {
        return Ok(None);
    }
    let username = attribute(message, 6).ok_or(401_u16)?;
    if attribute(message, 0x15) != Some(format!("nonce {}", rules.stale).as_bytes()) {
        return Err(438);
    }
    let username = String::from_utf8_lossy(username).into_owned();
    let password = match rules.secret {
        None if username == "probe" => "hush".to_owned(),
        None => return Err(401),
        Some(secret) => {
            let key = Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
            let signature = sign(&key, username.as_bytes());
            base64::engine::general_purpose::STANDARD.encode(signature.as_ref())
        }
    };
    let key = |password: &str| {
        let digest = Md5::digest(format!("{username}:test realm:{password}"));
        Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, &digest)
    };
    let right = key(&password);
    let at = message.windows(4).position(|four| four == [0, 8, 0, 20]).ok_or(401_u16)?;
    let mut before = message[..at].to_vec();
    before[2..4].copy_from_slice(&((at + 4) as u16).to_be_bytes());
    let is_right = sign(&right, &before).as_ref() == &message[at + 4..at + 24];
    // Finds the nonce stale although it is the last one.
    match rules.stale {
        _ if !is_right => Err(401),
        0 => Ok(Some(if rules.impostor { key("another") } else { right })),
        _ => Err(438),
    }
}

fn attribute(message: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut rest = &message[20..];
    while let [a, b, c, d, values @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*c, *d]));
        if u16::from_be_bytes([*a, *b]) == wanted {
            return Some(&values[..length]);
        }
        rest = &values[length.next_multiple_of(4)..];
    }
    None
}

/// A message of that transaction, signed if there is a key.
fn build(kind: u16, asked: &[u8], attributes: &[(u16, Vec<u8>)], key: Option<Key>) -> Vec<u8> {
    let mut message = [&kind.to_be_bytes()[..], &[0; 2], &COOKIE, &asked[8..20]].concat();
    let add = |message: &mut Vec<u8>, kind: u16, value: &[u8]| {
        message.extend(kind.to_be_bytes());
        message.extend((value.len() as u16).to_be_bytes());
        message.extend(value);
        message.resize(message.len().next_multiple_of(4), 0);
    };
    attributes.iter().for_each(|(kind, value)| add(&mut message, *kind, value));
    let signature = if key.is_some() { 24 } else { 0 };
    let length = (message.len() - 20 + signature) as u16;
    message[2..4].copy_from_slice(&length.to_be_bytes());
    if let Some(key) = key {
        let signature = sign(&key, &message);
        add(&mut message, 8, signature.as_ref());
    }
    message
}

fn error(code: u16) -> Vec<u8> {
    [&[0, 0, (code / 100) as u8, (code % 100) as u8], &b"because"[..]].concat()
}

fn masked(address: SocketAddr) -> Vec<u8> {
    let SocketAddr::V4(address) = address else { unreachable!("all is on 127.0.0.1") };
    let port = address.port() ^ 0x2112;
    let ip = u32::from(*address.ip()) ^ u32::from_be_bytes(COOKIE);
    [&[0, 1], &port.to_be_bytes()[..], &ip.to_be_bytes()].concat()
}

fn unmasked(value: &[u8]) -> SocketAddr {
    let port = u16::from_be_bytes([value[2], value[3]]) ^ 0x2112;
    let ip = [value[4], value[5], value[6], value[7]];
    let ip = Ipv4Addr::from(u32::from_be_bytes(ip) ^ u32::from_be_bytes(COOKIE));
    SocketAddrV4::new(ip, port).into()
}
