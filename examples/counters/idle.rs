//! Connections that nobody uses at the moment.

use std::sync::{Mutex, PoisonError};

/// As many as there are callers at once, at most; those are bounded by the service's threads.
#[derive(Debug)]
pub(crate) struct Idle<C> {
    /// Guards the list and nothing else: never held while a connection works.
    connections: Mutex<Vec<C>>,
}

impl<C> Idle<C> {
    pub(crate) fn new() -> Self {
        Idle { connections: Mutex::new(Vec::new()) }
    }

    pub(crate) fn take(&self) -> Option<C> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    pub(crate) fn give_back(&self, connection: C) {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}
