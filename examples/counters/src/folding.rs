//! The job in the background: what flushes have put down elsewhere is folded into the totals.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::sleep;

use crate::backend::Backend;

/// How long to wait after a step that failed.
const AFTER_TROUBLE: Duration = Duration::from_secs(1);

/// How the job is doing.
#[derive(Default)]
pub(crate) struct Folding {
    /// Guards the last step's error, for `/healthz`.
    trouble: Mutex<Option<String>>,
}

impl Folding {
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Told once per outage.
    fn note(&self, trouble: Option<String>) {
        let mut current = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if let (None, Some(trouble)) = (&*current, &trouble) {
            tracing::warn!(error = trouble, "cannot add to the totals, will try again");
        }
        *current = trouble;
    }
}

/// Folds step by step; ends at once if there is nothing to fold, ever.
pub(crate) async fn run(backend: &Backend) {
    loop {
        let pause = match backend.store.fold().await {
            Ok(None) => return,
            Ok(Some(pause)) => {
                backend.folding.note(None);
                pause
            }
            Err(error) => {
                backend.folding.note(Some(error.to_string()));
                AFTER_TROUBLE
            }
        };
        sleep(pause).await;
    }
}
