//! The process: its runtime, and what signals do to it.

use super::exit::FAILED;
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

/// From now on the first Ctrl-C begins `after_run`, and the second `at_once`.
pub(super) fn end_on_interrupts(after_run: Shutdown, at_once: Shutdown) {
    // Without a handler Ctrl-C ends the process, as ever.
    let Ok(mut interrupts) = signal(SignalKind::interrupt()) else { return };
    drop(tokio::spawn(async move {
        let _ = interrupts.recv().await;
        note("ends after this run; Ctrl-C again ends at once");
        after_run.begin();
        let _ = interrupts.recv().await;
        at_once.begin();
    }));
}
