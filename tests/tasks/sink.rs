use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use write_behind::{
    AsyncBatchDataBuffer, BatchId, Buffer, DeadLetter, FlushBatch, FlushError, Observer, Verdict,
};

pub(crate) type Lists = Buffer<&'static str, Vec<u32>>;
pub(crate) type Answer = Result<(), FlushError>;

/// One attempt, as the sink was asked to make it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Attempt {
    pub(crate) id: BatchId,
    pub(crate) number: u32,
    pub(crate) entries: Vec<(&'static str, Vec<u32>)>,
    pub(crate) at: Instant,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    Began(Attempt),
    /// It ended, acknowledged or not.
    Ended(bool),
    /// Its future was dropped before it ended.
    Cancelled,
    GaveUp(&'static str),
}

#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Event>>>);

impl Log {
    pub(crate) fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn attempts(&self) -> Vec<Attempt> {
        let began = |event| match event {
            Event::Began(attempt) => Some(attempt),
            _ => None,
        };
        self.events().into_iter().filter_map(began).collect()
    }

    /// What happened, without the attempts' details.
    pub(crate) fn course(&self) -> String {
        let letter = |event: &Event| match event {
            Event::Began(_) => 'b',
            Event::Ended(true) => 'y',
            Event::Ended(false) => 'n',
            Event::Cancelled => 'c',
            Event::GaveUp(_) => 'g',
        };
        self.events().iter().map(letter).collect()
    }

    fn note(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

/// Notes that a future was dropped, unless it has ended.
struct Running {
    log: Log,
    ended: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            self.log.note(Event::Cancelled);
        }
    }
}

type Reply = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// Answers each attempt by a future, and remembers what happened.
pub(crate) struct Sink {
    pub(crate) log: Log,
    answer: Box<dyn Fn(Attempt) -> Reply + Send + Sync>,
}

impl Sink {
    pub(crate) fn new<F>(answer: impl Fn(Attempt) -> F + Send + Sync + 'static) -> (Self, Log)
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let log = Log::default();
        (Sink { log: log.clone(), answer: Box::new(move |attempt| Box::pin(answer(attempt))) }, log)
    }

    /// Acknowledges everything after it has waited so long.
    pub(crate) fn slow(patience: Duration) -> (Self, Log) {
        Sink::new(move |_| async move {
            tokio::time::sleep(patience).await;
            Ok(())
        })
    }
}

impl AsyncBatchDataBuffer<&'static str, Vec<u32>> for Sink {
    async fn handle_flush_batch(&self, batch: &FlushBatch<&'static str, Vec<u32>>) -> Answer {
        let entries = batch.entries().iter().map(|entry| (*entry.key(), entry.data().clone()));
        let attempt = Attempt {
            id: batch.id(),
            number: batch.attempt(),
            entries: entries.collect(),
            at: Instant::now(),
        };
        self.log.note(Event::Began(attempt.clone()));
        let mut running = Running { log: self.log.clone(), ended: false };
        let answer = (self.answer)(attempt).await;
        running.ended = true;
        self.log.note(Event::Ended(answer.is_ok()));
        answer
    }

    async fn handle_error(
        &self,
        letter: DeadLetter<&'static str, Vec<u32>>,
    ) -> Verdict<&'static str, Vec<u32>> {
        self.log.note(Event::GaveUp(letter.key()));
        Verdict::Forget
    }
}

/// Hears of what stays undelivered: keys and inserts; and how often a key was given up or flushed.
#[derive(Clone, Default)]
pub(crate) struct Left(pub(crate) Arc<Mutex<Vec<(usize, u64)>>>, Arc<AtomicUsize>, Arc<AtomicUsize>);

impl Left {
    pub(crate) fn given_up(&self) -> usize {
        self.1.load(Ordering::SeqCst)
    }

    pub(crate) fn flushed(&self) -> usize {
        self.2.load(Ordering::SeqCst)
    }
}

impl Observer for Left {
    fn flush_succeeded(&self, event: &write_behind::FlushEvent<'_>, _: Duration) {
        self.2.fetch_add(event.keys, Ordering::SeqCst);
    }

    fn gave_up(&self, _: &str, _: u64, _: u32, _: &write_behind::FailureCause) {
        self.1.fetch_add(1, Ordering::SeqCst);
    }

    fn undelivered(&self, _: &str, keys: usize, inserts: u64) {
        self.0.lock().unwrap().push((keys, inserts));
    }
}

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}
