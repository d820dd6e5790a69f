//! A tweet on its way, and the jobs that it gives to the pools.
//!
//! The pipeline's promises are kept here, in two places where somebody comes first: of several
//! workers with a copy of a job only the first may deliver, and a tweet is condemned only once.

use std::panic::panic_any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::tweet::{Tweet, TweetId};

/// What arrived: a tweet, or what could not be read as one.
#[derive(Debug)]
pub(crate) struct Message {
    id: TweetId,
    content: Result<Tweet, String>,
    original: Option<TweetId>,
    /// No worker survives it. Relaxed, as all of these: what they decide is decided by the swap.
    condemned: AtomicBool,
}

/// What a worker panics with.
#[derive(Debug)]
pub(crate) struct Malformed;

impl Message {
    pub(crate) fn new(id: TweetId, content: Result<Tweet, String>) -> Self {
        Message { id, content, original: None, condemned: AtomicBool::new(false) }
    }

    pub(crate) fn repeating(mut self, original: Option<TweetId>) -> Self {
        self.original = original;
        self
    }

    pub(crate) fn id(&self) -> TweetId {
        self.id
    }

    pub(crate) fn original(&self) -> Option<TweetId> {
        self.original
    }

    pub(crate) fn content(&self) -> Result<&Tweet, &String> {
        self.content.as_ref()
    }

    /// # Panics
    ///
    /// On a malformed event, with [`Malformed`]; it is the end of the worker.
    pub(crate) fn tweet(&self) -> &Tweet {
        match &self.content {
            Ok(tweet) => tweet,
            Err(_) => panic_any(Malformed),
        }
    }
}

/// What one pool has to do for a message; several of its workers have a copy.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) message: Arc<Message>,
    settled: AtomicBool,
    /// How many copies may still come to something. Set when they are handed out.
    alive: AtomicUsize,
    /// Told when it is settled, so that who is still at it can stop.
    over: Notify,
}

impl Job {
    pub(crate) fn new(message: &Arc<Message>) -> Arc<Self> {
        Arc::new(Job {
            message: Arc::clone(message),
            settled: AtomicBool::new(false),
            alive: AtomicUsize::new(0),
            over: Notify::new(),
        })
    }

    pub(crate) fn set_copies(&self, copies: usize) {
        self.alive.store(copies, Ordering::Relaxed);
    }

    /// Whether a result would come too late.
    pub(crate) fn is_over(&self) -> bool {
        self.settled.load(Ordering::Relaxed) || self.message.condemned.load(Ordering::Relaxed)
    }

    /// Returns when a result would come too late.
    pub(crate) async fn over(&self) {
        let over = self.over.notified();
        if !self.is_over() {
            over.await;
        }
    }

    /// True for the first only: the one whose result counts.
    pub(crate) fn settle(&self) -> bool {
        let first = !self.settled.swap(true, Ordering::Relaxed);
        if first {
            self.over.notify_waiters();
        }
        first
    }

    /// A worker died of a copy. If it was the last one and none has delivered, the message is to
    /// blame. True if nobody has said so before, for any of its jobs.
    pub(crate) fn copy_died(&self) -> bool {
        let last = self.alive.fetch_sub(1, Ordering::Relaxed) == 1;
        last && !self.settled.load(Ordering::Relaxed) && !self.message.condemned.swap(true, Ordering::Relaxed)
    }
}
