//! What stands for echoes where ICMP is not permitted: TCP connections, timed.
//!
//! A host that refuses a connection has answered as well as one that accepts it.

use super::{Echo, IcmpStep};
use crate::model::probe::FailureReason;
use crate::probe::dial::StepContext;
use crate::probe::failure::{Attempt, is_local, of_io};
use crate::probe::record::StepRecord;
use futures::future::join_all;
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// Makes a connection for each echo of the step.
pub(super) async fn exchange(
    server: SocketAddr,
    step: &IcmpStep,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Vec<Echo>> {
    let clock = &with.context.clock;
    let began = record.now();
    record.sent = Some(began);
    let last = began.plus(step.interval * u32::from(step.count.saturating_sub(1)));
    let limit = match step.wait {
        Some(wait) => with.deadline.no_later_than(last.plus(wait)),
        None => with.deadline.clone(),
    };
    let one = async |number: u16| -> Attempt<Option<Echo>> {
        let turn = tokio::time::sleep(step.interval * u32::from(number));
        if limit.limit(turn).await.is_err() {
            return Ok(None);
        }
        let from = clock.monotonic();
        let connected = limit.limit(TcpStream::connect(server)).await;
        let arrived = clock.monotonic();
        let arrived = match connected {
            Ok(Ok(_)) => Some(arrived),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Some(arrived),
            Ok(Err(error)) if is_local(&error) => {
                let doing = format!("connecting to {server}");
                return Err(of_io(&error, FailureReason::Connect, &doing));
            }
            Ok(Err(_)) | Err(_) => None,
        };
        Ok(Some(Echo { from, sent: from, arrived }))
    };
    let tried = join_all((0..step.count).map(one)).await;
    tried.into_iter().filter_map(Result::transpose).collect()
}
