//! One request over a fresh QUIC connection.

use super::super::dial::StepContext;
use super::super::failure::{Attempt, failure, quote};
use super::super::http_exchange::{Ask, Intake, Whole, request};
use super::super::record::StepRecord;
use super::super::spec::TlsOptions;
use super::super::target::Target;
use super::handshake::{Quic, connect, of_quic};
use crate::base::clock::MonoNanos;
use crate::base::error::Chain;
use crate::model::probe::{Failure, FailureReason, Phase};
use ::http::{Request, Response, response};
use bytes::{Buf, Bytes};
use h3::client::{RequestStream, SendRequest};
use quinn::VarInt;
use std::error::Error;
use std::future::poll_fn;
use tokio_util::task::AbortOnDropHandle;

/// Nothing went wrong (RFC 9114, 8.1).
const NO_ERROR: VarInt = VarInt::from_u32(0x100);

/// A request whose answer has begun, and what must live as long as that is read.
struct Begun {
    stream: RequestStream<h3_quinn::BidiStream<Bytes>, Bytes>,
    asked: MonoNanos,
    head: response::Parts,
    /// The connection closes with the last of these.
    _sender: SendRequest<h3_quinn::OpenStreams, Bytes>,
    _driver: AbortOnDropHandle<()>,
}

/// Connects, sends the request, and reads the whole answer.
pub(in super::super) async fn fetch(
    target: &Target,
    tls: &TlsOptions,
    ask: Ask,
    step: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Whole> {
    if !target.tls {
        let words = format!("{target}: HTTP/3 is always encrypted, so it needs https://");
        return Err(failure(FailureReason::Protocol, words));
    }
    let body = ask.body.clone();
    let (head, _) = request(ask, target, true)?.into_parts();
    let quic = connect(target, tls, step, record).await?;
    record.attribute("network.protocol.version", "3");
    record.attribute("network.transport", "quic");
    let fetched = exchange(&quic, target, Request::from_parts(head, ()), body, step, record).await;
    quic.connection.close(NO_ERROR, b"");
    fetched
}

async fn exchange(
    quic: &Quic,
    target: &Target,
    request: Request<()>,
    body: Bytes,
    step: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Whole> {
    let doing = format!("waiting for the answer of {target}");
    let answering = answer(quic, request, body, &doing);
    let mut begun = step.deadline.run(&doing, answering).await??;
    let asked = begun.asked;
    record.sent = record.sent.or(Some(asked));
    let began = quic.stamps.last_read();
    let sent = quic.stamps.first_sent().unwrap_or(asked);
    record.phase(Phase::Send, asked, sent);
    record.phase(Phase::Wait, sent, began);
    record.status(begun.head.status.as_u16());

    let doing = "reading the body";
    let mut intake = Intake::new(began);
    let broken = |error: h3::error::StreamError| broken(quic, &error, doing);
    while let Some(mut data) =
        step.deadline.run(doing, begun.stream.recv_data()).await?.map_err(broken)?
    {
        let at = quic.stamps.last_read();
        while data.has_remaining() {
            let part = data.chunk();
            let length = part.len();
            intake.take(part, at)?;
            data.advance(length);
        }
    }
    let ended = quic.stamps.last_read();
    record.phase(Phase::Receive, began, ended);
    Ok(Whole { head: begun.head, body: intake.finish(ended), asked, began })
}

/// Sends the request and waits for the head of the answer.
async fn answer(quic: &Quic, request: Request<()>, body: Bytes, doing: &str) -> Attempt<Begun> {
    let opened = h3::client::new(h3_quinn::Connection::new(quic.connection.clone())).await;
    let (mut connection, mut sender) = opened.map_err(|error| broken(quic, &error, doing))?;
    let driver = tokio::spawn(async move {
        // How it ended is told by the request's own stream, too.
        let _ = poll_fn(|cx| connection.poll_close(cx)).await;
    });
    let driver = AbortOnDropHandle::new(driver);
    let asked = quic.stamps.begin_exchange();
    let broken = |error: h3::error::StreamError| broken(quic, &error, doing);
    let mut stream = sender.send_request(request).await.map_err(broken)?;
    if !body.is_empty() {
        stream.send_data(body).await.map_err(broken)?;
    }
    stream.finish().await.map_err(broken)?;
    let head: Response<()> = stream.recv_response().await.map_err(broken)?;
    let (head, ()) = head.into_parts();
    Ok(Begun { stream, asked, head, _sender: sender, _driver: driver })
}

/// What broke: QUIC knows better, where it is the connection.
fn broken(quic: &Quic, error: &(impl Error + 'static), doing: &str) -> Failure {
    match quic.connection.close_reason() {
        Some(reason) => of_quic(&reason, doing),
        None => {
            let words = format!("{doing}: {}", quote(&Chain(error).to_string()));
            failure(FailureReason::Protocol, words)
        }
    }
}
