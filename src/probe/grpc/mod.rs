//! gRPC calls: health checks, and any method whose messages are described by a descriptor set or by
//! the server's reflection; with one answer or a stream of them.
//!
//! Spoken over connections of our own, so that every phase is stamped (`channel`): HTTP/2 with prior
//! knowledge or by ALPN, messages with their five bytes in front (`framing`), the verdict in the
//! trailers (`code`). JSON becomes messages and back (`schema`, `reflection`); what a call must
//! bring is watched for message by message (`watch`).
//!
//! The value is the time from the sending to the message that is expected, or else to the last of
//! the `messages` asked for, or else to the status. All messages of ours are sent at once, and the
//! sending side is closed with them.
//!
//! A method's name does not tell whether it changes anything, so that every call but a health check
//! counts as a write, unless the definition says that it only reads.

mod channel;
mod code;
mod framing;
pub mod messages;
mod reflection;
mod schema;
mod watch;

pub use code::Code;
pub use schema::{Descriptors, Method, split_path};

use super::dial::{StepContext, dial};
use super::failure::{Attempt, failure};
use super::limits;
use super::record::StepRecord;
use super::spec::{Expect, HeaderText, TlsOptions};
use super::target::Target;
use super::tls::Alpn;
use super::writes;
use crate::model::probe::{FailureReason, Phase};
use bytes::{Bytes, BytesMut};
use channel::Channel;
use schema::Codec;
use serde_json::Value;
use std::sync::Arc;
use watch::Watch;

/// The method of health checks.
const HEALTH_CHECK: &str = "grpc.health.v1.Health/Check";

/// A call and what its answer must be.
#[derive(Clone, Debug, PartialEq)]
pub struct GrpcStep {
    /// `http://` for HTTP/2 in the clear, `https://` for TLS; no path.
    pub url: String,
    /// What to call.
    pub call: Call,
    /// Headers of the call.
    pub metadata: Vec<(String, HeaderText)>,
    /// Statuses that pass; empty means OK. Where any is given, a stream is read to its end.
    pub status: Vec<Code>,
    /// A message to wait for, as JSON; of one that does not stream, what the answer must be.
    pub expect: Option<Expect>,
    /// So many messages must come, at least 1.
    pub messages: Option<u64>,
    /// Whether the method changes nothing, so that it may be called anywhere.
    pub reads: bool,
    /// TLS of the connection.
    pub tls: TlsOptions,
}

/// What to call.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// The health of a service; of the server as a whole when empty.
    Health {
        /// The name under which its health is kept.
        service: String,
    },
    /// A method.
    Method {
        /// `package.Service/Method`.
        path: String,
        /// The messages to send, by the JSON mapping of protobuf. Strings may hold templates.
        messages: Arc<[Value]>,
        /// What they look like; asked of the server's reflection when it is not given.
        descriptors: Option<Descriptors>,
    },
}

/// Carries out the step; hands back the message that was waited for, or else the last one, as JSON.
pub(super) async fn run(
    step: &GrpcStep,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Option<Bytes>> {
    let path = step.call.path();
    let origin = with.variables.fill(&step.url)?;
    let url = format!("{}/{path}", origin.trim_end_matches('/'));
    let target = Target::parse(&url, ["http", "https"])?;
    record.talks("grpc", target.to_string());
    if !(step.reads || matches!(step.call, Call::Health { .. })) {
        writes::admit(&target, with.writes)?;
        limits::pace(&target, step.call.messages(), with, record).await?;
    }
    let headers = with.mark.headers(&step.metadata, with.variables, target.authorization())?;
    let connection = dial(&target, &step.tls, Alpn::Http2, with, record).await?;
    let mut channel = Channel::open(connection, &target, headers, with).await?;
    let (codec, body) = prepare(&step.call, &mut channel, with, record).await?;

    let asked = channel.begin();
    record.sent = Some(asked);
    let answered = channel.call(path, body, with).await;
    let sent = channel.sent();
    if let Some(sent) = sent {
        record.phase(Phase::Send, asked, sent);
    }
    let mut reply = answered?;
    record.phase(Phase::Wait, sent.unwrap_or(asked), reply.began);
    let times = [asked, reply.began];
    let watch = Watch::new(step, &codec, target.to_string(), times, with)?;
    watch.run(&mut reply, with, record).await
}

/// How to read and write the messages of a call, and those of ours, framed. What the server has to
/// be asked for that is over before the call begins.
async fn prepare(
    call: &Call,
    channel: &mut Channel,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<(Codec, Bytes)> {
    let mut body = BytesMut::new();
    let (path, messages, descriptors) = match call {
        Call::Health { service } => {
            let request = schema::health_request(with.variables.fill(service)?);
            framing::append(&request, &mut body);
            return Ok((Codec::Health, body.freeze()));
        }
        Call::Method { path, messages, descriptors } => (path, messages, descriptors),
    };
    let local = |words: String| failure(FailureReason::Local, words);
    let method = match descriptors {
        Some(descriptors) => descriptors.method(path).map_err(local)?,
        None => {
            let from = record.now();
            let method = reflection::method(channel, path, with).await?;
            record.phase(Phase::Handshake, from, record.now());
            method
        }
    };
    if messages.len() != 1 && !method.takes_many() {
        let count = messages.len();
        return Err(local(format!("`{path}` takes one message, and there are {count}")));
    }
    for message in messages.iter() {
        let encoded = method.encode_filled(&with.variables.fill_json(message)?).map_err(local)?;
        framing::append(&encoded, &mut body);
    }
    Ok((Codec::Method(method), body.freeze()))
}

// === impl Call ===

impl Call {
    /// How many messages it sends.
    fn messages(&self) -> u32 {
        match self {
            Self::Health { .. } => 1,
            Self::Method { messages, .. } => u32::try_from(messages.len()).unwrap_or(u32::MAX),
        }
    }

    /// `package.Service/Method`.
    fn path(&self) -> &str {
        match self {
            Self::Health { .. } => HEALTH_CHECK,
            Self::Method { path, .. } => path,
        }
    }
}
