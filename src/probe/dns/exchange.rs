//! A question and its answer over a datagram or a connection, with the phases of each.

use super::message::{Answer, Question};
use crate::base::clock::MonoNanos;
use crate::model::probe::{Failure, FailureReason, Phase};
use crate::probe::connection::Connection;
use crate::probe::datagrams::Datagrams;
use crate::probe::dial::{StepContext, dial, resolve};
use crate::probe::failure::{Attempt, failure, of_io, of_stream};
use crate::probe::record::StepRecord;
use crate::probe::spec::TlsOptions;
use crate::probe::target::Target;
use crate::probe::tls::Alpn;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};

/// An answer, and when.
#[derive(Debug)]
pub(super) struct Exchanged {
    /// What was answered.
    pub answer: Answer,
    /// Just before the query was sent.
    pub asked: MonoNanos,
    /// When the read returned that completed the answer.
    pub arrived: MonoNanos,
}

/// Asks over UDP; tells who answered as well. Of a name's addresses the first is asked at which
/// something listens.
pub(super) async fn over_udp(
    question: &Question,
    target: &Target,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<(Exchanged, SocketAddr)> {
    let addresses = resolve(target, with, record).await?;
    let mut refused = failure(FailureReason::Resolve, "the server has no address");
    for address in addresses {
        if target.address().is_none() {
            record.attribute("network.peer.address", address.ip().to_string());
        }
        match ask(question, address, with, record).await {
            Err(failure) if failure.reason == FailureReason::Connect => refused = failure,
            done => return done.map(|done| (done, address)),
        }
    }
    Err(refused)
}

async fn ask(
    question: &Question,
    server: SocketAddr,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Exchanged> {
    // On a port of the system's random choice, and it hears nobody but the server.
    let mut socket = Datagrams::connect(server, with, record).await.map_err(|error| {
        of_io(&error, FailureReason::Connect, &format!("making a socket to udp://{server}"))
    })?;
    let query = question.encode()?;
    let sent = with.deadline.run("sending the query", socket.send(&query)).await?;
    let (asked, sent) = sent.map_err(|error| unreachable(&error, server))?;
    record.phase(Phase::Send, asked, sent);
    let mut passed_over = 0;
    loop {
        let doing = waiting(server, passed_over);
        let read = with.deadline.run(doing, socket.receive()).await?;
        let (datagram, arrived) = read.map_err(|error| unreachable(&error, server))?;
        if let Some(answer) = question.read(datagram)? {
            record.phase(Phase::Wait, sent, arrived);
            return Ok(Exchanged { answer, asked, arrived });
        }
        passed_over += 1;
    }
}

/// On a connected socket the system tells that nothing listens, when the network tells it.
fn unreachable(error: &io::Error, server: SocketAddr) -> Failure {
    of_io(error, FailureReason::Connect, &format!("asking udp://{server}"))
}

/// What is waited for, with what came instead.
fn waiting(server: SocketAddr, passed_over: u32) -> String {
    let what = format!("waiting for the answer of {server}");
    match passed_over {
        0 => what,
        1 => format!("{what} (what came was not the answer to this query)"),
        more => format!("{what} ({more} datagrams came, none was the answer to this query)"),
    }
}

/// Asks over a connection, TLS where the target says so. Each message has its length in front.
pub(super) async fn over_stream(
    question: &Question,
    target: &Target,
    tls: &TlsOptions,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Exchanged> {
    let query = question.encode()?;
    let length = u16::try_from(query.len())
        .map_err(|_| failure(FailureReason::Local, "the query is too long"))?;
    let frame = [&length.to_be_bytes(), query.as_slice()].concat();
    let mut connection = dial(target, tls, Alpn::Dot, with, record).await?;
    let stamps = connection.stamps();
    let asked = stamps.begin_exchange();
    let doing = format!("sending the query to {target}");
    let sent = with.deadline.run(&doing, write(&mut connection, &frame)).await?;
    sent.map_err(|error| of_stream(&error, &doing))?;
    let sent = stamps.sent().unwrap_or_else(|| record.now());
    record.phase(Phase::Send, asked, sent);
    let doing = format!("waiting for the answer of {target}");
    let mut connection = BufReader::new(connection);
    loop {
        let read = with.deadline.run(&doing, read(&mut connection)).await?;
        let message = read.map_err(|error| of_stream(&error, &doing))?;
        if let Some(answer) = question.read(&message)? {
            let arrived = stamps.last_read();
            let began = stamps.answered().unwrap_or(arrived);
            record.phase(Phase::Wait, sent, began);
            record.phase(Phase::Receive, began, arrived);
            return Ok(Exchanged { answer, asked, arrived });
        }
    }
}

async fn write(connection: &mut Connection, frame: &[u8]) -> io::Result<()> {
    connection.write_all(frame).await?;
    connection.flush().await
}

async fn read(connection: &mut BufReader<Connection>) -> io::Result<Vec<u8>> {
    let length = connection.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    connection.read_exact(&mut message).await?;
    Ok(message)
}
