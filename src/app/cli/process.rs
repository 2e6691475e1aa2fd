//! The process: its runtime, and what signals do to it.

use super::exit::{FAILED, INTERRUPTED};
use super::terminal::{complain, note};
use crate::base::shutdown::Shutdown;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Does the work on a runtime of its own; a failure to make one is printed.
pub fn block_on(work: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => complain(&format!("no async runtime: {error}"), FAILED),
    }
}

/// Begins the shutdown at SIGTERM or Ctrl-C.
pub async fn end_on_signal(shutdown: Shutdown) {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => drop(terminate.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = terminated => {}
        _ = tokio::signal::ctrl_c() => {}
        () = shutdown.begun() => {}
    }
    shutdown.begin();
}

/// Begins the shutdown at the first Ctrl-C and ends the process at the second.
pub(super) async fn end_after_run(shutdown: Shutdown) {
    if tokio::signal::ctrl_c().await.is_err() {
        return;
    }
    note("ends after this run; Ctrl-C again ends at once");
    shutdown.begin();
    if tokio::signal::ctrl_c().await.is_ok() {
        std::process::exit(INTERRUPTED.into());
    }
}
