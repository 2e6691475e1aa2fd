//! WebSockets: the upgrade, messages, pings, and the close.
//!
//! Control frames are answered by the reader task while steps wait for messages. At the end of a
//! run the stream is closed politely but not waited for, unless the definition names the close code
//! with which the server must end it.

use super::connection::{Connection, Stamps};
use super::dial::{StepContext, dial};
use super::failure::{Attempt, failure, of_stream, quote};
use super::record::StepRecord;
use super::spec::WebSocketStep;
use super::stream::{Inbox, InboxWriter, MAX_MESSAGE_BYTES, OpenStream, Outlet, Received};
use super::target::Target;
use super::tls::Alpn;
use crate::base::error::Chain;
use crate::model::probe::{Failure, FailureReason, Phase};
use ::http::header::{
    CONNECTION, HOST, HeaderMap, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use ::http::{Request, Response};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{SplitSink, SplitStream};
use futures::{FutureExt, SinkExt, StreamExt};
use std::sync::Arc;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use tokio_util::task::AbortOnDropHandle;

/// What a stream without a close code in its close frame says, by RFC 6455.
const NO_CODE: u16 = 1005;

/// The sending half of a WebSocket.
type Sink = SplitSink<WebSocketStream<Connection>, Message>;

/// Opens the stream of a step.
pub(super) async fn open(
    step: &WebSocketStep,
    name: &str,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<OpenStream> {
    let target = Target::parse(&with.variables.fill(&step.url)?, ["ws", "wss"])?;
    record.talks("websocket", target.to_string());
    let request = request(step, &target, with)?;
    let connection = dial(&target, &step.tls, Alpn::Http1, with, record).await?;
    let stamps = connection.stamps();
    let asked = stamps.begin_exchange();
    record.sent = Some(asked);
    let doing = format!("the upgrade of {target}");
    let upgrade = client_async_with_config(request, connection, Some(limits()));
    let (stream, response) = match with.deadline.run(&doing, upgrade).await? {
        Ok(upgraded) => upgraded,
        Err(error) => return Err(refused(&error, &doing, record)),
    };
    let opened = stamps.last_read();
    record.phase(Phase::Upgrade, asked, opened);
    record.status(response.status().as_u16());
    let (sink, source) = stream.split();
    let (inbox, writer) = Inbox::new(&with.context.clock);
    let reader = AbortOnDropHandle::new(tokio::spawn(read(source, writer, stamps)));
    Ok(OpenStream {
        step: name.to_owned(),
        receiver: 0,
        target,
        protocol: "websocket",
        asked,
        opened,
        sent: Vec::new(),
        inbox,
        max_gap: None,
        close_code: step.close_code,
        outlet: Some(Box::new(sink)),
        reader,
        link: None,
        silent: Vec::new(),
    })
}

impl Outlet for Sink {
    fn send(&mut self, text: String) -> BoxFuture<'_, Attempt<()>> {
        write(self, Message::text(text)).boxed()
    }

    fn ping(&mut self, payload: Bytes) -> BoxFuture<'_, Attempt<()>> {
        write(self, Message::Ping(payload)).boxed()
    }

    fn close_with(&mut self, code: u16) -> BoxFuture<'_, ()> {
        let frame = CloseFrame { code: code.into(), reason: "".into() };
        write(self, Message::Close(Some(frame))).map(drop).boxed()
    }

    fn hang_up(&mut self) -> BoxFuture<'_, ()> {
        self.close().map(drop).boxed()
    }
}

async fn write(sink: &mut Sink, message: Message) -> Attempt<()> {
    SinkExt::send(sink, message).await.map_err(|error| of_websocket(&error, "sending"))
}

// === the upgrade ===

fn request(step: &WebSocketStep, target: &Target, with: StepContext<'_>) -> Attempt<Request<()>> {
    let mut headers = with.mark.headers(&step.headers, with.variables, target.authorization())?;
    if !headers.contains_key(HOST) {
        set(&mut headers, HOST, &target.authority())?;
    }
    set(&mut headers, CONNECTION, "Upgrade")?;
    set(&mut headers, UPGRADE, "websocket")?;
    set(&mut headers, SEC_WEBSOCKET_VERSION, "13")?;
    set(&mut headers, SEC_WEBSOCKET_KEY, &generate_key())?;
    if !step.subprotocols.is_empty() {
        set(&mut headers, SEC_WEBSOCKET_PROTOCOL, &step.subprotocols.join(", "))?;
    }
    let mut request = Request::new(());
    *request.uri_mut() = target
        .request_url()
        .parse()
        .map_err(|_| failure(FailureReason::Local, "the URL is unusable in a request"))?;
    *request.headers_mut() = headers;
    Ok(request)
}

fn set(headers: &mut HeaderMap, name: ::http::HeaderName, text: &str) -> Attempt<()> {
    let value = HeaderValue::from_str(text).map_err(|_| {
        failure(FailureReason::Local, format!("`{}` is no header value", quote(text)))
    })?;
    headers.insert(name, value);
    Ok(())
}

fn limits() -> WebSocketConfig {
    // An empty write buffer makes every message one write of its own.
    WebSocketConfig::default()
        .read_buffer_size(16 << 10)
        .write_buffer_size(0)
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES))
}

fn refused(error: &Error, doing: &str, record: &mut StepRecord) -> Failure {
    if let Error::Http(response) = error {
        return wrong_status(response, doing, record);
    }
    of_websocket(error, doing)
}

fn wrong_status(
    response: &Response<Option<Vec<u8>>>,
    doing: &str,
    record: &mut StepRecord,
) -> Failure {
    let status = response.status().as_u16();
    record.status(status);
    record.check("status is 101".to_owned(), Err(status.to_string()));
    let said = response.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
    let said = if said.is_empty() { String::new() } else { format!("; it says: {}", quote(&said)) };
    failure(FailureReason::Status, format!("{doing}: status {status} instead of 101{said}"))
}

fn of_websocket(error: &Error, doing: &str) -> Failure {
    let reason = match error {
        Error::Io(io) => return of_stream(io, doing),
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(
            ProtocolError::ResetWithoutClosingHandshake
            | ProtocolError::HandshakeIncomplete
            | ProtocolError::SendAfterClosing,
        ) => FailureReason::Closed,
        _ => FailureReason::Protocol,
    };
    failure(reason, format!("{doing}: {}", Chain(error)))
}

// === the reader ===

async fn read(
    mut source: SplitStream<WebSocketStream<Connection>>,
    inbox: InboxWriter,
    stamps: Arc<Stamps>,
) {
    while let Some(message) = source.next().await {
        let arrived = stamps.last_read();
        match message {
            Ok(Message::Text(text)) => {
                inbox.push(Received { arrived, event: None, body: text.into() });
            }
            Ok(Message::Binary(body)) => inbox.push(Received { arrived, event: None, body }),
            Ok(Message::Pong(payload)) => inbox.pong(payload, arrived),
            // Reading on answers a ping, and a close.
            Ok(Message::Ping(_) | Message::Frame(_)) => {}
            Ok(Message::Close(frame)) => {
                let code = frame.as_ref().map_or(NO_CODE, |frame| frame.code.into());
                let said = frame.map(|frame| quote(&frame.reason)).unwrap_or_default();
                let words = format!("the server closed the stream with code {code} {said}");
                inbox.end(FailureReason::Closed, Some(code), words.trim_end().to_owned());
            }
            Err(error) => {
                let Failure { reason, message } = of_websocket(&error, "reading");
                inbox.end(reason, None, message);
            }
        }
    }
    let words = "the server closed the connection without a closing handshake".to_owned();
    inbox.end(FailureReason::Closed, None, words);
}
