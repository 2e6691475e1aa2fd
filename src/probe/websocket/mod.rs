//! WebSockets (RFC 6455) with permessage-deflate (RFC 7692): the upgrade, messages, pings, the close.
//!
//! Frames are our own affair (`frames`, `messages`, `deflate`), so that a message carries the stamp
//! of the read that completed its last frame, however it was cut, and that what a server does wrong
//! is named. Control frames are answered by the reader task while steps wait for messages. At the
//! end of a run the stream is closed politely but not waited for, unless the definition names the
//! close code with which the server must end it.

mod deflate;
mod frames;
mod line;
mod messages;
mod reader;
#[cfg(test)]
mod tests;
mod upgrade;

use super::dial::{StepContext, dial};
use super::failure::Attempt;
use super::inbox::{Inbox, MAX_MESSAGE_BYTES};
use super::record::StepRecord;
use super::spec::WebSocketStep;
use super::stream::OpenStream;
use super::target::Target;
use super::tls::Alpn;
use super::writes;
pub use deflate::Deflate;
use deflate::{Deflater, Inflater};
use frames::Frames;
pub use line::BinaryText;
use line::{Line, Manner, Speaker, Tally};
use messages::Assembler;
use reader::Reader;
use std::sync::Arc;
use tokio_util::task::AbortOnDropHandle;
use upgrade::{Upgraded, upgrade};

/// Opens the stream of a step.
pub(super) async fn open(
    step: &WebSocketStep,
    name: &str,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<OpenStream> {
    let target = Target::parse(&with.variables.fill(&step.url)?, ["ws", "wss"])?;
    record.talks("websocket", target.to_string());
    if step.send.is_some() {
        // Who only listens may do so anywhere; who is going to speak does not even knock.
        writes::admit(&target, with.writes)?;
    }
    let connection = dial(&target, &step.tls, Alpn::Http1, with, record).await?;
    let stamps = connection.stamps();
    let upgraded = upgrade(step, &target, connection, with, record).await?;
    let Upgraded { connection, read, agreed, asked, opened } = upgraded;
    let (reading, writing) = tokio::io::split(connection);
    let manner = Manner {
        deflater: agreed.map(Deflater::new),
        fragment: step.fragment,
        binary: step.binary,
    };
    let (line, tally) = (Arc::new(Line::new(writing, manner)), Arc::new(Tally::default()));
    let (inbox, writer) = Inbox::new(&with.context.clock);
    let reader = Reader {
        half: reading,
        frames: Frames::new(read, agreed.is_some()),
        messages: Assembler::new(agreed.map(Inflater::new)),
        stamps,
        line: Arc::clone(&line),
        inbox: writer,
        tally: Arc::clone(&tally),
    };
    Ok(OpenStream {
        step: name.to_owned(),
        receiver: 0,
        target,
        protocol: "websocket",
        asked,
        opened,
        sent: Vec::new(),
        inbox,
        max_gap: step.max_gap,
        close_code: step.close_code,
        outlet: Some(Box::new(Speaker { line, tally, compresses: agreed.is_some() })),
        reader: AbortOnDropHandle::new(tokio::spawn(reader.run(opened))),
        link: None,
        silent: Vec::new(),
    })
}
