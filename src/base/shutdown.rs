//! One signal that everything is to stop, and the wait until it has.

use std::future::Future;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Hands out the stop signal and knows the tasks that still run. Clones share both.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// A signal not yet given.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `task` as one of those that [`Shutdown::drain`] waits for.
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        drop(self.tasks.spawn(task));
    }

    /// Gives the signal.
    pub fn begin(&self) {
        self.token.cancel();
    }

    /// Whether the signal was given.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Resolves when the signal is given.
    pub async fn begun(&self) {
        self.token.cancelled().await;
    }

    /// Gives the signal and waits for the tasks, at most `within`. False when some still ran then.
    pub async fn drain(&self, within: Duration) -> bool {
        self.begin();
        let _ = self.tasks.close();
        tokio::time::timeout(within, self.tasks.wait()).await.is_ok()
    }
}
