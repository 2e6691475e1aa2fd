//! The upgrade: a request of HTTP/1.1, and whether the answer is one to go on with (RFC 6455, 4).

use super::super::connection::Connection;
use super::super::dial::StepContext;
use super::super::failure::{Attempt, failure, of_hyper, quote};
use super::super::record::StepRecord;
use super::super::spec::WebSocketStep;
use super::super::target::Target;
use super::deflate::{Agreed, agree};
use crate::base::clock::MonoNanos;
use crate::model::probe::{Failure, FailureReason, Phase};
use ::http::header::{
    CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use ::http::{Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_util::task::AbortOnDropHandle;

/// So much of the page that comes instead is read.
const MAX_PAGE_BYTES: usize = 4 << 10;
/// So long is that page waited for.
const PAGE_WAIT: Duration = Duration::from_millis(250);

/// A connection on which frames follow.
pub(super) struct Upgraded {
    /// The connection.
    pub connection: Connection,
    /// What was read beyond the answer.
    pub read: Bytes,
    /// How messages are compressed, when they are.
    pub agreed: Option<Agreed>,
    /// When the request was sent.
    pub asked: MonoNanos,
    /// When the read returned that completed the answer.
    pub opened: MonoNanos,
}

/// Asks for the upgrade and judges the answer.
pub(super) async fn upgrade(
    step: &WebSocketStep,
    target: &Target,
    connection: Connection,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Upgraded> {
    let key = generate_key();
    let request = request(step, target, &key, with)?;
    let stamps = connection.stamps();
    let doing = format!("the upgrade of {target}");
    let broken = |error: hyper::Error| of_hyper(&error, &doing);
    let asked = stamps.begin_exchange();
    record.sent = Some(asked);
    let asking = async {
        // Some servers look for these names in this case.
        let mut builder = http1::Builder::new();
        let builder = builder.title_case_headers(true);
        let (mut sender, driver) = builder.handshake(TokioIo::new(connection)).await?;
        let driver = tokio::spawn(async move { drop(driver.with_upgrades().await) });
        let driver = AbortOnDropHandle::new(driver);
        Ok((sender.send_request(request).await?, driver))
    };
    let (mut answer, _driver) = with.deadline.run(&doing, asking).await?.map_err(broken)?;
    let opened = stamps.last_read();
    record.status(answer.status().as_u16());
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(refused(answer, &doing, with, record).await);
    }
    let agreed = judge(step, &key, answer.headers(), &doing, record)?;
    let upgraded = with.deadline.run(&doing, hyper::upgrade::on(&mut answer)).await?;
    let parts = upgraded.map_err(broken)?.downcast::<TokioIo<Connection>>();
    let parts = parts
        .map_err(|_| failure(FailureReason::Local, "the connection is not the one dialled"))?;
    record.phase(Phase::Upgrade, asked, opened);
    let (connection, read) = (parts.io.into_inner(), parts.read_buf);
    Ok(Upgraded { connection, read, agreed, asked, opened })
}

fn request(
    step: &WebSocketStep,
    target: &Target,
    key: &str,
    with: StepContext<'_>,
) -> Attempt<Request<Empty<Bytes>>> {
    let mut headers = with.mark.headers(&step.headers, with.variables, target.authorization())?;
    if !headers.contains_key(HOST) {
        set(&mut headers, HOST, &target.authority())?;
    }
    set(&mut headers, CONNECTION, "Upgrade")?;
    set(&mut headers, UPGRADE, "websocket")?;
    set(&mut headers, SEC_WEBSOCKET_VERSION, "13")?;
    set(&mut headers, SEC_WEBSOCKET_KEY, key)?;
    if !step.subprotocols.is_empty() {
        set(&mut headers, SEC_WEBSOCKET_PROTOCOL, &step.subprotocols.join(", "))?;
    }
    if let Some(deflate) = &step.compression {
        set(&mut headers, SEC_WEBSOCKET_EXTENSIONS, &deflate.offer())?;
    }
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = target
        .path_and_query()
        .parse()
        .map_err(|_| failure(FailureReason::Local, "the URL is unusable in a request"))?;
    *request.headers_mut() = headers;
    Ok(request)
}

fn set(headers: &mut HeaderMap, name: HeaderName, text: &str) -> Attempt<()> {
    let value = HeaderValue::from_str(text).map_err(|_| {
        failure(FailureReason::Local, format!("`{}` is no header value", quote(text)))
    })?;
    headers.insert(name, value);
    Ok(())
}

// === the answer ===

/// Judges the headers of an answer with status 101.
fn judge(
    step: &WebSocketStep,
    key: &str,
    headers: &HeaderMap,
    doing: &str,
    record: &mut StepRecord,
) -> Attempt<Option<Agreed>> {
    let wrong = |what: &str| failure(FailureReason::Protocol, format!("{doing}: {what}"));
    let names = |name: HeaderName, token: &str| {
        all(headers, &name).split(',').any(|found| found.trim().eq_ignore_ascii_case(token))
    };
    if !names(UPGRADE, "websocket") || !names(CONNECTION, "upgrade") {
        return Err(wrong("status 101, but not `upgrade: websocket` with `connection: upgrade`"));
    }
    if all(headers, &SEC_WEBSOCKET_ACCEPT) != derive_accept_key(key.as_bytes()) {
        let what = "`sec-websocket-accept` does not answer our key: something answers that is no \
                    WebSocket server, or a cache";
        return Err(wrong(what));
    }
    let extensions = all(headers, &SEC_WEBSOCKET_EXTENSIONS);
    let agreed = agree(step.compression.as_ref(), &extensions)
        .map_err(|what| wrong(&format!("the server answers with {what}")))?;
    if let Some(offered) = &step.compression {
        let shown = if extensions.is_empty() { "none".to_owned() } else { extensions };
        record.attribute("websocket.extensions", shown);
        if offered.required {
            let found = agreed.map(drop).ok_or_else(|| "the server declined it".to_owned());
            require("compression is agreed on", found, doing, record)?;
        }
    }
    judge_subprotocol(step, all(headers, &SEC_WEBSOCKET_PROTOCOL), doing, record)?;
    Ok(agreed)
}

/// A server chooses one of the subprotocols that were offered, or the definition's own choice.
fn judge_subprotocol(
    step: &WebSocketStep,
    chosen: String,
    doing: &str,
    record: &mut StepRecord,
) -> Attempt<()> {
    if step.subprotocols.is_empty() && chosen.is_empty() {
        return Ok(());
    }
    let shown = if chosen.is_empty() { "none" } else { chosen.as_str() };
    record.attribute("websocket.subprotocol", shown);
    let wanted = match &step.chosen_subprotocol {
        Some(one) => std::slice::from_ref(one),
        None => step.subprotocols.as_slice(),
    };
    let found = if wanted.contains(&chosen) { Ok(()) } else { Err(shown.to_owned()) };
    let words = if wanted.is_empty() { "none".to_owned() } else { wanted.join(" or ") };
    require(&format!("the subprotocol is {words}"), found, doing, record)
}

/// Records a check of the upgrade, whose failure is one of the protocol.
fn require(
    name: &str,
    found: Result<(), String>,
    doing: &str,
    record: &mut StepRecord,
) -> Attempt<()> {
    record.check(name.to_owned(), found.clone());
    found.map_err(|found| {
        let text = format!("{doing}: expected that {name}, found: {}", quote(&found));
        failure(FailureReason::Protocol, text)
    })
}

/// All values of a header, as the one that they stand for.
fn all(headers: &HeaderMap, name: &HeaderName) -> String {
    let values = headers.get_all(name).iter();
    let values: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    values.join(", ").trim().to_owned()
}

/// What the server said instead of yes.
async fn refused(
    answer: Response<Incoming>,
    doing: &str,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Failure {
    let status = answer.status().as_u16();
    record.check("status is 101".to_owned(), Err(status.to_string()));
    let mut page = Vec::new();
    let soon = with.deadline.no_later_than(record.now().plus(PAGE_WAIT));
    // What came until then is quoted, be it nothing.
    let _ = soon.limit(read_page(answer.into_body(), &mut page)).await;
    let said = String::from_utf8_lossy(&page);
    let said = if said.is_empty() { String::new() } else { format!("; it says: {}", quote(&said)) };
    failure(FailureReason::Status, format!("{doing}: status {status} instead of 101{said}"))
}

async fn read_page(mut body: Incoming, page: &mut Vec<u8>) {
    while page.len() < MAX_PAGE_BYTES
        && let Some(Ok(frame)) = body.frame().await
    {
        page.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
    }
}
