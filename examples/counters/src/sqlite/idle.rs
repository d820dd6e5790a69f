//! Connections that nobody uses at the moment.

use std::sync::{Mutex, PoisonError};

/// As many as there are readers at once, at most: the runtime bounds the threads that they block.
#[derive(Debug)]
pub(super) struct Idle<C> {
    /// Guards the list and nothing else: never held while a connection works.
    connections: Mutex<Vec<C>>,
}

impl<C> Idle<C> {
    pub(super) fn new() -> Self {
        Idle { connections: Mutex::new(Vec::new()) }
    }

    pub(super) fn take(&self) -> Option<C> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    pub(super) fn give_back(&self, connection: C) {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}
