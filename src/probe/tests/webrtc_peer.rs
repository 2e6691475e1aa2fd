//! A peer that answers offers over HTTP and talks over UDP, or does one of these things wrong.

use super::servers::{Server, http, https};
use crate::base::clock::Clock;
use ::http::{HeaderMap, StatusCode};
use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, post};
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use str0m::change::SdpOffer;
use str0m::channel::{ChannelConfig, ChannelId};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc};
use tokio::net::UdpSocket;
use tokio::sync::Notify;

/// What the peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Everything right: each message comes back.
    Echo,
    /// It does not take the offer.
    Refuse,
    /// It answers with something else than SDP.
    Talk,
    /// It answers with more than anybody needs.
    Babble,
    /// It answers, and is not there.
    Mute,
    /// It is there, and does not speak DTLS.
    Plain,
    /// It names another certificate than it shows.
    Disguise,
    /// It takes messages and says nothing.
    Swallow,
    /// Each message comes back so many milliseconds later.
    Dawdle(u64),
    /// It closes the channel at the first message.
    CloseChannel,
    /// It closes the connection at the first message.
    CloseAll,
}

/// What was seen of its clients.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Headers of the offers.
    pub offers: Vec<HeaderMap>,
    /// Channels that were opened.
    pub channels: Vec<ChannelConfig>,
    /// Sessions that were deleted.
    pub deleted: Vec<String>,
    /// How many connections were closed by their clients.
    pub closed: u32,
}

/// The peer, which lives until it is dropped.
pub(super) struct Peer {
    server: Server,
    world: Arc<World>,
    /// Its certificate, where it has one.
    pub pem: Option<Arc<str>>,
}

struct World {
    manner: Manner,
    seen: Mutex<Seen>,
    changed: Notify,
    clock: Clock,
}

impl Peer {
    pub(super) async fn start(manner: Manner) -> Self {
        let world = World::new(manner);
        let server = http(router(&world)).await;
        Self { server, world, pem: None }
    }

    /// The same, asked over TLS.
    pub(super) async fn start_secure(manner: Manner) -> Self {
        let world = World::new(manner);
        let (server, pem) = https(router(&world)).await;
        Self { server, world, pem: Some(pem) }
    }

    pub(super) fn url(&self) -> String {
        let scheme = if self.pem.is_some() { "https" } else { "http" };
        self.server.url(scheme, "/whip")
    }

    pub(super) fn seen<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.world.seen.lock())
    }

    /// Waits until that was seen.
    pub(super) async fn until(&self, holds: impl Fn(&Seen) -> bool) {
        let wait = async {
            while !self.seen(&holds) {
                self.world.changed.notified().await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), wait).await;
        assert!(waited.is_ok(), "{:?}", self.world.seen.lock());
    }
}

impl World {
    fn new(manner: Manner) -> Arc<Self> {
        let (seen, changed) = (Mutex::default(), Notify::new());
        Arc::new(Self { manner, seen, changed, clock: Clock::system() })
    }

    fn see(&self, see: impl FnOnce(&mut Seen)) {
        see(&mut self.seen.lock());
        self.changed.notify_one();
    }

    fn now(&self) -> Instant {
        self.clock.instant_of(self.clock.monotonic()).expect("the system's clock")
    }
}

fn router(world: &Arc<World>) -> Router {
    let router = Router::new().route("/whip", post(offered)).route("/whip/{id}", delete(left));
    router.with_state(Arc::clone(world))
}

async fn left(State(world): State<Arc<World>>, Path(id): Path<String>) -> StatusCode {
    world.see(|seen| seen.deleted.push(id));
    StatusCode::OK
}

async fn offered(State(world): State<Arc<World>>, headers: HeaderMap, offer: String) -> Response {
    world.see(|seen| seen.offers.push(headers));
    match world.manner {
        Manner::Refuse => return (StatusCode::FORBIDDEN, "no rooms left").into_response(),
        Manner::Talk => return (StatusCode::CREATED, "<html>hello").into_response(),
        Manner::Babble => return (StatusCode::CREATED, "a=x\r\n".repeat(20_000)).into_response(),
        _ => {}
    }
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let own = socket.local_addr().expect("bound");
    let rtc = Rtc::builder()
        .clear_codecs()
        .set_sctp_max_message_size(1 << 20)
        .set_sctp_max_buffered_amount(1 << 20)
        .build(world.now());
    let mut rtc = Box::new(rtc);
    rtc.add_local_candidate(Candidate::host(own, "udp").expect("an address"));
    let offer = SdpOffer::from_sdp_string(&offer).expect("an offer");
    let answer = rtc.sdp_api().accept_offer(offer).expect("an answer").to_sdp_string();
    let answer = match world.manner {
        Manner::Disguise => disguised(&answer),
        _ => answer,
    };
    if world.manner != Manner::Mute {
        drop(tokio::spawn(talk(rtc, socket, own, world)));
    }
    let headers = [("content-type", "application/sdp"), ("location", "/whip/7")];
    (StatusCode::CREATED, headers, answer).into_response()
}

/// The answer with another certificate's fingerprint.
fn disguised(answer: &str) -> String {
    let mark = "a=fingerprint:sha-256 ";
    let at = answer.find(mark).expect("a fingerprint") + mark.len();
    let other = if answer[at..].starts_with("00") { "01" } else { "00" };
    format!("{}{other}{}", &answer[..at], &answer[at + 2..])
}

async fn talk(mut rtc: Box<Rtc>, socket: UdpSocket, own: SocketAddr, world: Arc<World>) {
    let mut buffer = vec![0; 2_000];
    let mut later: Option<(Instant, ChannelId, Vec<u8>)> = None;
    while rtc.is_alive() {
        let wake = loop {
            match rtc.poll_output() {
                Ok(Output::Timeout(wake)) => break wake,
                Ok(Output::Transmit(out)) => {
                    drop(socket.send_to(&out.contents, out.destination).await);
                }
                Ok(Output::Event(event)) => react(&mut rtc, event, &mut later, &world),
                Err(_) => return,
            }
        };
        let wake = later.iter().map(|(at, ..)| *at).chain([wake]).min().expect("one");
        let wake = wake.min(world.now() + Duration::from_secs(60));
        tokio::select! {
            received = socket.recv_from(&mut buffer) => {
                let (length, from) = received.expect("a socket");
                let datagram = &buffer[..length];
                let is_dtls = matches!(datagram.first(), Some(20..=63));
                if world.manner == Manner::Plain && is_dtls {
                    continue;
                }
                let Ok(received) = Receive::new(Protocol::Udp, from, own, datagram) else { continue };
                if rtc.handle_input(Input::Receive(world.now(), received)).is_err() {
                    return;
                }
            }
            () = tokio::time::sleep_until(wake.into()) => {
                rtc.handle_input(Input::Timeout(world.now())).expect("time passes");
            }
        }
        if let Some((_, id, data)) = later.take_if(|(at, ..)| *at <= world.now()) {
            say(&mut rtc, id, &data);
        }
    }
}

fn react(
    rtc: &mut Rtc,
    event: Event,
    later: &mut Option<(Instant, ChannelId, Vec<u8>)>,
    world: &World,
) {
    match (event, world.manner) {
        (Event::ChannelOpen(id, _), _) => {
            let config = rtc.channel(id).and_then(|channel| channel.config().cloned());
            world.see(|seen| seen.channels.extend(config));
        }
        (Event::Closed, _) => world.see(|seen| seen.closed += 1),
        (Event::ChannelData(_), Manner::Swallow) => {}
        (Event::ChannelData(data), Manner::CloseChannel) => {
            rtc.direct_api().close_data_channel(data.id);
        }
        (Event::ChannelData(_), Manner::CloseAll) => rtc.close().expect("it closes"),
        (Event::ChannelData(data), Manner::Dawdle(ms)) => {
            *later = Some((world.now() + Duration::from_millis(ms), data.id, data.data));
        }
        (Event::ChannelData(data), _) => say(rtc, data.id, &data.data),
        _ => {}
    }
}

fn say(rtc: &mut Rtc, id: ChannelId, data: &[u8]) {
    let mut channel = rtc.channel(id).expect("open");
    assert!(channel.write(false, data).expect("written"), "there is room");
}
