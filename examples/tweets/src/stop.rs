//! Tells everybody that it is time to stop.

use tokio::sync::watch;

/// Shared by cloning.
#[derive(Debug, Clone)]
pub(crate) struct Stop(watch::Sender<bool>);

impl Stop {
    pub(crate) fn new() -> Self {
        Stop(watch::Sender::new(false))
    }

    pub(crate) fn set(&self) {
        self.0.send_replace(true);
    }

    pub(crate) fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when it is time. May be dropped at any time.
    pub(crate) async fn wait(&self) {
        // Never fails: the sender is in `self`.
        let _ = self.0.subscribe().wait_for(|stop| *stop).await;
    }
}
