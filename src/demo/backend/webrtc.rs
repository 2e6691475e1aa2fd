//! A peer for data channels: what is said over one comes back as it is.
//!
//! Who posts an offer names the addresses to which a peer sends. So the sockets here are of loopback,
//! and nothing leaves this machine, whatever an offer names.

use super::Service;
use crate::base::clock::Clock;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, post};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use str0m::change::SdpOffer;
use str0m::channel::ChannelData;
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc};
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// A client that has not opened a channel by then is let go.
const OPENING: Duration = Duration::from_secs(10);
/// Longer than any datagram of a peer connection.
const MAX_DATAGRAM: usize = 4_096;
/// The engine is told the time at least so often.
const MAX_SLEEP: Duration = Duration::from_secs(5);

/// What the handlers share.
#[derive(Clone)]
struct Peers {
    service: Service,
    /// As many as there are places for streams.
    sessions: Arc<Mutex<HashMap<String, CancellationToken>>>,
}

/// Our end of a peer connection.
struct Peer {
    /// Boxed: it is large.
    rtc: Box<Rtc>,
    socket: UdpSocket,
    own: SocketAddr,
    clock: Clock,
    is_open: bool,
}

/// The connection is over.
struct Gone;

/// `POST /webrtc` with an offer, answered 201 with the answer; `DELETE /webrtc/{id}`.
pub(super) fn routes<S>(service: &Service) -> Router<S> {
    let peers = Peers { service: service.clone(), sessions: Arc::default() };
    Router::new()
        .route("/webrtc", post(offer))
        .route("/webrtc/{id}", delete(leave))
        .with_state(peers)
}

async fn offer(State(peers): State<Peers>, offer: String) -> Response {
    let Some(permit) = peers.service.admit_stream() else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let shared = Arc::clone(&peers.service.0);
    let (peer, answer) = match Peer::answering(&offer, &shared.clock).await {
        Ok(answered) => answered,
        Err(why) => return (StatusCode::BAD_REQUEST, why).into_response(),
    };
    let id = format!("{:016x}", rand::random::<u64>());
    let token = CancellationToken::new();
    let _ = peers.sessions.lock().insert(id.clone(), token.clone());
    let place = format!("/webrtc/{id}");
    shared.shutdown.spawn(async move {
        let _held = permit;
        let end = async {
            tokio::select! {
                () = token.cancelled() => {}
                () = peers.service.0.shutdown.begun() => {}
            }
        };
        peer.run(end).await;
        drop(peers.sessions.lock().remove(&id));
    });
    let headers = [(CONTENT_TYPE, "application/sdp"), (LOCATION, place.as_str())];
    (StatusCode::CREATED, headers, answer).into_response()
}

async fn leave(State(peers): State<Peers>, Path(id): Path<String>) -> StatusCode {
    match peers.sessions.lock().remove(&id) {
        Some(token) => {
            token.cancel();
            StatusCode::OK
        }
        None => StatusCode::NOT_FOUND,
    }
}

// === impl Peer ===

impl Peer {
    /// A peer that takes the offer, and its answer; or why it does not.
    async fn answering(offer: &str, clock: &Clock) -> Result<(Self, String), String> {
        let unable = |error: &dyn std::fmt::Display| format!("unable to answer: {error}");
        let offer = SdpOffer::from_sdp_string(offer).map_err(|error| unable(&error))?;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(|e| unable(&e))?;
        let own = socket.local_addr().map_err(|error| unable(&error))?;
        let now = clock.instant_of(clock.monotonic()).ok_or("this clock has no instants")?;
        let mut rtc = Box::new(Rtc::builder().clear_codecs().build(now));
        let candidate = Candidate::host(own, "udp").map_err(|error| unable(&error))?;
        let _ = rtc.add_local_candidate(candidate);
        let answer = rtc.sdp_api().accept_offer(offer).map_err(|error| unable(&error))?;
        let answer = answer.to_sdp_string();
        Ok((Self { rtc, socket, own, clock: clock.clone(), is_open: false }, answer))
    }

    /// Echoes until the other end leaves, or `end` comes.
    async fn run(mut self, end: impl Future<Output = ()>) {
        tokio::select! {
            gone = self.talk() => drop(gone),
            () = end => {}
        }
        if self.rtc.close().is_ok() {
            drop(self.settle().await);
        }
    }

    async fn talk(&mut self) -> Result<(), Gone> {
        let mut buffer = vec![0; MAX_DATAGRAM];
        let opening = self.now()? + OPENING;
        loop {
            let wake = self.settle().await?;
            tokio::select! {
                received = self.socket.recv_from(&mut buffer) => {
                    let (length, from) = received.map_err(|_| Gone)?;
                    self.take(buffer.get(..length).unwrap_or_default(), from)?;
                }
                () = tokio::time::sleep_until(wake.into()) => {
                    let now = self.now()?;
                    self.rtc.handle_input(Input::Timeout(now)).map_err(|_| Gone)?;
                }
            }
            if !self.is_open && self.now()? > opening {
                debug!("a peer opened no data channel");
                return Err(Gone);
            }
        }
    }

    fn take(&mut self, datagram: &[u8], from: SocketAddr) -> Result<(), Gone> {
        let now = self.now()?;
        let Ok(received) = Receive::new(Protocol::Udp, from, self.own, datagram) else {
            return Ok(());
        };
        self.rtc.handle_input(Input::Receive(now, received)).map_err(|_| Gone)
    }

    /// Sends and answers what there is; hands back when the engine wants to be told the time.
    async fn settle(&mut self) -> Result<Instant, Gone> {
        loop {
            match self.rtc.poll_output().map_err(|_| Gone)? {
                Output::Timeout(_) if !self.rtc.is_alive() => return Err(Gone),
                Output::Timeout(wake) => return Ok(wake.min(self.now()? + MAX_SLEEP)),
                Output::Transmit(out) => {
                    // Where the system does not let us send to, nobody is answered.
                    drop(self.socket.send_to(&out.contents, out.destination).await);
                }
                Output::Event(Event::ChannelOpen(..)) => self.is_open = true,
                Output::Event(Event::ChannelData(data)) => self.echo(&data),
                Output::Event(Event::IceConnectionStateChange(
                    IceConnectionState::Disconnected,
                )) => return Err(Gone),
                Output::Event(_) => {}
            }
        }
    }

    fn echo(&mut self, data: &ChannelData) {
        if let Some(mut channel) = self.rtc.channel(data.id) {
            // What there is no room for is lost: its sender takes nothing.
            let _ = channel.write(data.binary, &data.data);
        }
    }

    fn now(&self) -> Result<Instant, Gone> {
        self.clock.instant_of(self.clock.monotonic()).ok_or(Gone)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::conditions::Conditions;
    use super::super::start_backend;
    use crate::base::clock::Clock;
    use crate::base::shutdown::Shutdown;
    use crate::demo::loopback;
    use crate::model::probe::FailureReason;
    use crate::probe::{Context, SlotStart, run_once};
    use crate::telemetry::Telemetry;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::net::TcpListener;

    /// Nothing here takes a fraction of it, unless something hangs.
    const CEILING: Duration = Duration::from_secs(30);

    /// Guarantees that the shipped probe passes, that what is no offer is refused, and that sessions end
    /// with the back end.
    #[tokio::test]
    async fn the_shipped_probe_passes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = Shutdown::new();
        let backend = start_backend(listener, Arc::new(Conditions::calm()), shutdown.clone());
        shutdown.spawn(backend);
        let text = include_str!("../../../probes/webrtc.yaml");
        let text = text.replace(super::super::DEFAULT_ADDRESS, &address.to_string());
        let loaded = crate::config::load_embedded(&[("probes.yaml", &text)], &|_| true);
        let probes = loaded.settings.expect("the file is fine").probes;
        assert!(!probes.is_empty());
        let context = Context::new(Clock::system(), Telemetry::new());
        for probe in probes {
            let run = run_once(&probe, SlotStart::now(&context.clock), &context).await;
            // How fast it is, is not asked here.
            let late = run.failure.as_ref().is_some_and(|f| f.reason == FailureReason::Late);
            assert!(run.succeeded() || late, "{run:#?}");
        }
        let client = loopback::client().unwrap();
        let url = format!("http://{address}/webrtc");
        let refused = client.post(&url).body("v=0\r\n").send().await.unwrap();
        assert_eq!(refused.status(), 400);
        let unknown = client.delete(format!("{url}/7")).send().await.unwrap();
        assert_eq!(unknown.status(), 404);
        assert!(shutdown.drain(CEILING).await, "it ends");
    }
}
