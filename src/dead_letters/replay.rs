use std::collections::{BTreeMap, BTreeSet};
use std::future::{Ready, ready};
use std::io;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::file::Locked;
use super::letters::DeadLetters;
use super::line::Line;
use crate::aggregate::Aggregate;
use crate::batch::{BatchId, Content, Entry, FlushBatch, FlushReason};
use crate::dead_letter::Retirement;
use crate::driver::user::callbacks::Callbacks;
use crate::driver::user::future::complete;
use crate::driver::user::sink::Sink;
use crate::exactly_once::{Fate, Rejection, StoreError};
use crate::failure::{Effect, Scope};
#[cfg(feature = "tokio")]
use crate::into_sink::IntoAsyncSink;
use crate::into_sink::IntoSink;
use crate::key::Key;

/// What became of the letters of a file: [`DeadLetters::replay`].
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Replayed {
    /// So many were applied, now or by an earlier replay, and are out of the file.
    pub applied: usize,
    /// So many had been applied by a batch of which nobody knew that: [`DeadLetters::replay_resolving`].
    pub had_been: usize,
    /// So many lines are still in the file.
    pub left: usize,
    /// Why the first of those could not be applied: the sink's error, or what is wrong with the line.
    pub first_problem: Option<String>,
    /// The sink could not say what became of a letter, so the storage was taken to be away and no more letters were
    /// tried.
    pub stopped: bool,
}

/// What asks nobody.
type Nobody = fn(BatchId) -> Ready<Result<Fate, StoreError>>;

/// A line that makes sense.
type Letter<K, V> = (BatchId, Line<K, V>);

impl<K, V> DeadLetters<K, V>
where
    K: Key + Serialize + DeserializeOwned,
    V: Aggregate + Serialize + DeserializeOwned,
{
    /// Hands all letters of the file to a sink, one after the other, each as a batch of one entry under an id of its
    /// own, and removes those that it has taken. `sink`: what `start` takes, usually an `Arc` of the sink that is
    /// started afterwards.
    ///
    /// What the sink refuses stays in the file, to be tried at the next start. Where its answer is
    /// [of unknown outcome](crate::FlushError::unknown) the rest is not tried. Lines that make no sense stay as they
    /// are. Nobody else reads or writes the file meanwhile. Blocks.
    ///
    /// # Errors
    ///
    /// Those of the file system. What was applied may still be in the file then, and is not applied again by a sink
    /// that counts each batch once.
    pub fn replay<S, Kind>(&self, sink: S) -> io::Result<Replayed>
    where
        S: IntoSink<K, V, Kind>,
    {
        complete(self.replay_to(sink.erase().0, None::<&Nobody>))
    }

    /// As [`replay`](Self::replay), but asks first about each letter that [may have been applied](Self::add_undelivered)
    /// by a batch of the process that wrote it. `void`: what the store's
    /// [`void`](crate::exactly_once::Store::void) is, asked in the epoch of that process. What counts already leaves the file; what does not, and never
    /// will, is applied; where the store cannot tell, because it has forgotten the instance, the line stays.
    ///
    /// ```
    /// use write_behind::dead_letters::{DeadLetters, Replayed};
    /// use write_behind::exactly_once::{ExactlyOnce, Store};
    /// use write_behind::Sum;
    /// use std::sync::Arc;
    ///
    /// fn start<S: Store<String, Sum<i64>> + 'static>(
    ///     letters: &DeadLetters<String, Sum<i64>>,
    ///     store: S,
    /// ) -> std::io::Result<Replayed> {
    ///     let sink = Arc::new(ExactlyOnce::new(store));
    ///     letters.replay_resolving(Arc::clone(&sink), |batch| sink.store().void(batch, 1))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`replay`](Self::replay).
    pub fn replay_resolving<S, Kind>(
        &self,
        sink: S,
        void: impl Fn(BatchId) -> Result<Fate, StoreError>,
    ) -> io::Result<Replayed>
    where
        S: IntoSink<K, V, Kind>,
    {
        complete(self.replay_to(sink.erase().0, Some(&|batch| ready(void(batch)))))
    }

    /// As [`replay`](Self::replay), for an async sink. The file is read and written on the runtime's thread. Feature
    /// `tokio`.
    ///
    /// # Errors
    ///
    /// As [`replay`](Self::replay).
    ///
    /// # Cancel safety
    ///
    /// If it is dropped half-way the file stays as it is, and the next replay sends the same letters under the same ids.
    #[cfg(feature = "tokio")]
    pub async fn replay_async<S, Kind>(&self, sink: S) -> io::Result<Replayed>
    where
        S: IntoAsyncSink<K, V, Kind>,
    {
        self.replay_to(sink.erase().0, None::<&Nobody>).await
    }

    /// As [`replay_resolving`](Self::replay_resolving), for an async sink. Feature `tokio`.
    ///
    /// # Errors
    ///
    /// As [`replay`](Self::replay).
    ///
    /// # Cancel safety
    ///
    /// As [`replay_async`](Self::replay_async).
    #[cfg(feature = "tokio")]
    pub async fn replay_resolving_async<S, Kind>(
        &self,
        sink: S,
        void: impl AsyncFn(BatchId) -> Result<Fate, StoreError>,
    ) -> io::Result<Replayed>
    where
        S: IntoAsyncSink<K, V, Kind>,
    {
        self.replay_to(sink.erase().0, Some(&void)).await
    }

    async fn replay_to(
        &self,
        sink: Box<dyn Sink<K, V>>,
        void: Option<&impl AsyncFn(BatchId) -> Result<Fate, StoreError>>,
    ) -> io::Result<Replayed> {
        let file = self.file.lock()?;
        let mut replay =
            Replay { letters: self, file: &file, kept: Vec::new(), replayed: Replayed::default() };
        let letters = replay.parse(file.read()?);
        // Sorted, so the first of each instance is its lowest.
        let mut lowest = BTreeMap::new();
        for (id, _) in &letters {
            lowest.entry(id.instance).or_insert(id.sequence);
        }
        let instance = lowest.keys().next().copied().unwrap_or(0);
        let callbacks = Callbacks::new(instance, sink, Vec::new(), None);
        let mut left = BTreeSet::new();
        // Before anything is sent, which may make the ledger forget those that were quiet for long.
        let mut resolved = Vec::with_capacity(letters.len());
        for (id, line) in letters {
            match void {
                Some(void) if line.in_doubt.is_some() => match replay.resolve(void, line).await? {
                    Doubt::Gone(line) => resolved.push((id, *line)),
                    Doubt::Applied => {}
                    Doubt::Stays => drop(left.insert(id.instance)),
                },
                _ => resolved.push((id, line)),
            }
        }
        for (id, line) in resolved {
            if let Some(id) = replay.send(&callbacks, id, line, lowest[&id.instance]).await? {
                left.insert(id.instance);
            }
        }
        let Replay { kept, mut replayed, .. } = replay;
        replayed.left = kept.len();
        file.replace(&kept)?;
        // Only now: what is sent again must find its record.
        for &instance in lowest.keys().filter(|instance| !left.contains(instance)) {
            callbacks.handle_retired(&Retirement { instance, epoch: 1, undelivered: 0 }).await;
        }
        callbacks.drop_sink();
        Ok(replayed)
    }
}

/// What has become of a letter that may have been applied.
enum Doubt<K, V> {
    /// It was not and never will be.
    Gone(Box<Line<K, V>>),
    /// It was.
    Applied,
    /// Nobody knows, and the letter is kept.
    Stays,
}

struct Replay<'a, K, V> {
    letters: &'a DeadLetters<K, V>,
    file: &'a Locked<'a>,
    kept: Vec<Vec<u8>>,
    replayed: Replayed,
}

impl<K, V> Replay<'_, K, V>
where
    K: Key + Serialize + DeserializeOwned,
    V: Aggregate + Serialize + DeserializeOwned,
{
    /// In the order of their ids.
    fn parse(&mut self, lines: Vec<Vec<u8>>) -> Vec<Letter<K, V>> {
        let mut letters = Vec::new();
        for text in lines {
            match serde_json::from_slice::<Line<K, V>>(&text) {
                Ok(line) => match line.id.parse::<BatchId>() {
                    Ok(id) => letters.push((id, line)),
                    Err(error) => self.keep(text, error.to_string()),
                },
                Err(error) => self.keep(text, error.to_string()),
            }
        }
        letters.sort_by_key(|(id, _)| *id);
        letters
    }

    /// Asks what became of the batch that the letter may have been applied by.
    async fn resolve(
        &mut self,
        void: &impl AsyncFn(BatchId) -> Result<Fate, StoreError>,
        mut line: Line<K, V>,
    ) -> io::Result<Doubt<K, V>> {
        let batch = line.in_doubt.clone().unwrap_or_default();
        let fate = match batch.parse::<BatchId>() {
            Ok(batch) if !self.replayed.stopped => void(batch).await,
            Ok(_) => Err(StoreError::unknown("the storage is away")),
            Err(error) => {
                self.keep(serde_json::to_vec(&line)?, error.to_string());
                return Ok(Doubt::Stays);
            }
        };
        let refused = |rejections: &[Rejection]| rejections.iter().any(|one| Some(one.place) == line.place);
        match fate {
            Ok(Fate::Applied) => {}
            Ok(Fate::AppliedExcept(rejections)) if !refused(&rejections) => {}
            Ok(Fate::Void | Fate::AppliedExcept(_)) => {
                (line.in_doubt, line.place) = (None, None);
                return Ok(Doubt::Gone(Box::new(line)));
            }
            Ok(fate @ (Fate::Settled | Fate::Unregistered | Fate::Superseded { .. })) => {
                let problem =
                    format!("the storage does not know whether batch {batch} was applied: it is {fate}");
                self.keep(serde_json::to_vec(&line)?, problem);
                return Ok(Doubt::Stays);
            }
            Err(error) => {
                self.replayed.stopped = true;
                self.keep(serde_json::to_vec(&line)?, error.to_string());
                return Ok(Doubt::Stays);
            }
        }
        self.replayed.had_been += 1;
        Ok(Doubt::Applied)
    }

    /// Sends a letter. The id under which it is still in the file, if it is.
    async fn send(
        &mut self,
        callbacks: &Callbacks<K, V>,
        id: BatchId,
        line: Line<K, V>,
        settled_below: u64,
    ) -> io::Result<Option<BatchId>> {
        if self.replayed.stopped {
            self.kept.push(serde_json::to_vec(&line)?);
            return Ok(Some(id));
        }
        let Line { key, data, count, reason, at, in_doubt, place, .. } = line;
        let entry = Entry::of(key, data, count, FlushReason::Requested, 0);
        let content = Arc::new(Content { id, entries: vec![entry] });
        let batch = FlushBatch { content, attempt: 1, settled_below, epoch: 1 };
        let Err(scope) = callbacks.flush(&batch).await else {
            self.replayed.applied += 1;
            return Ok(None);
        };
        let effect = match &scope {
            Scope::Batch(failure) => failure.effect,
            // All that failed, and it goes on under another id.
            Scope::Entries(_) => Effect::NeverApplied,
        };
        self.replayed.stopped = effect == Effect::Unknown;
        let id = if effect == Effect::NeverApplied { self.letters.next_id(self.file)? } else { id };
        let entry = &batch.entries()[0];
        let (key, data) = (entry.key(), entry.data());
        let line = Line { id: id.to_string(), key, data, count, reason, at, in_doubt, place };
        self.keep(serde_json::to_vec(&line)?, scope.cause().to_string());
        Ok(Some(id))
    }

    fn keep(&mut self, line: Vec<u8>, problem: String) {
        self.kept.push(line);
        self.replayed.first_problem.get_or_insert(problem);
    }
}
