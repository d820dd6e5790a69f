//! Collecting what has changed, and writing it.

use std::hash::BuildHasher;
use std::ops::Range;
use std::sync::Arc;

use super::disk::{Changes, Disk, Head};
use super::frame;
use super::progress::Work;
use super::{Journal, News, Records};
use crate::aggregate::Aggregate;
use crate::driver::core::Core;
use crate::driver::flush::{Held, Leaving};
use crate::driver::intake::HOLD;
use crate::driver::sync::{MutexGuard, Ordering, spawn};
use crate::engine::flights::{Recorded, Standing};
use crate::engine::sequence::Sequence;
use crate::journal::{CodecError, JournalError, OnDiskFailure};
use crate::key::Key;

/// Starts the thread that writes the journal. It ends when the buffer is over.
pub(crate) fn start<K: Key, V: Aggregate, S>(core: &Arc<Core<K, V, S>>) -> std::io::Result<()>
where
    S: BuildHasher + Send + Sync + 'static,
{
    let core = Arc::clone(core);
    spawn("write-behind journal".to_owned(), move || {
        let Some(journal) = &core.journal else { return };
        loop {
            let work = journal.progress.wait_for_work(&core.clock);
            if !core.keep_journal(journal, work) {
                return;
            }
        }
    })
}

/// What a commit writes, and whom that concerns.
struct Commit {
    changes: Changes,
    /// Batches that may be sent when it is written.
    recorded: Vec<Sequence>,
    /// Batches that can be forgotten then.
    ended: Vec<Sequence>,
    /// Batches that are on disk only: a fresh file gets them from the old one.
    carried: Vec<Range<u64>>,
    next_sequence: Sequence,
}

type Assembly<'a, K, V> = MutexGuard<'a, Records<K, V>>;

impl<K: Key, V: Aggregate, S: BuildHasher> Core<K, V, S> {
    /// Does what there is to do for the journal, where no thread does. Says whether there was anything.
    #[cfg(feature = "test-util")]
    pub(crate) fn keep_journal_inline(&self) -> bool {
        let Some(journal) = &self.journal else { return false };
        journal.progress.work(&self.clock).is_some_and(|work| self.keep_journal(journal, work))
    }

    /// False if the file is closed.
    fn keep_journal(&self, journal: &Journal<K, V>, work: Work) -> bool {
        let mut place = journal.disk.lock();
        let Some(disk) = &mut *place else { return false };
        match work {
            Work::Commit { all } => self.commit(journal, &mut **disk, all),
            Work::Replace => self.replace(journal, &mut **disk),
            Work::Load => self.load(journal, &mut **disk),
            Work::Over => return false,
        }
        drop(place);
        self.tell_news();
        true
    }

    /// Collects, in small portions, and writes.
    fn commit(&self, journal: &Journal<K, V>, disk: &mut dyn Disk, all: bool) {
        let round = journal.progress.begin(all);
        if all {
            for partition in 0..self.intake.partitions() {
                while self.collect_some(partition, &mut self.dispatch.pause_assembly()) {}
            }
        }
        let collected = self.take_records(journal, &mut self.dispatch.pause_assembly());
        let spilled = self.write(journal, round, collected, changes_to(disk));
        self.leave_spilled(spilled);
    }

    /// Collects what has changed in a partition. Says whether there is more.
    fn collect_some(&self, partition: usize, records: &mut Assembly<'_, K, V>) -> bool {
        let Some(mut shard) = self.intake.look(partition) else { return false };
        shard.has_changes() && shard.show_changes(HOLD, &mut records.visit())
    }

    /// Takes what was recorded. What is left to encode is encoded when the lock is released.
    fn take_records(
        &self,
        journal: &Journal<K, V>,
        records: &mut Assembly<'_, K, V>,
    ) -> impl FnOnce() -> Result<Commit, CodecError> + use<K, V, S> {
        let taken = records.take();
        let batches = taken.changes.batches.keys().copied().map(Sequence::numbered);
        let recorded: Vec<_> =
            batches.chain(taken.batches.iter().map(|batch| Sequence::of(batch.id))).collect();
        let (ended, next_sequence): (Vec<_>, _) = {
            let mut flights = self.dispatch.flights();
            flights.recording(recorded.iter().copied());
            (flights.ended().collect(), flights.next_sequence())
        };
        let codec = journal.codec();
        move || {
            let mut changes = taken.changes;
            changes.pending.settle();
            for batch in &taken.batches {
                let mut content = Vec::new();
                frame::write_batch(&*codec, &batch.entries, &Standing::Sent { ahead: false }, &mut content)?;
                changes.batches.insert(batch.id.sequence, Some(content));
            }
            // Whoever needs a batch's content for itself waits until nobody else has it.
            drop(taken.batches);
            changes.batches.extend(ended.iter().map(|sequence| (sequence.number(), None)));
            let carried = Vec::new();
            taken.failed.map_or(Ok(Commit { changes, recorded, ended, carried, next_sequence }), Err)
        }
    }

    fn head(&self, journal: &Journal<K, V>, next_sequence: Sequence) -> Head {
        let next_sequence = next_sequence.number();
        Head { instance: self.instance, epoch: journal.epoch, next_sequence }.ahead()
    }

    /// Collects, and writes that by `put`, which says whether there was anything to write. Returns what that sets free, to
    /// be followed when the assembly's lock is released, if the caller has it.
    fn write(
        &self,
        journal: &Journal<K, V>,
        round: u64,
        collect: impl FnOnce() -> Result<Commit, CodecError>,
        put: impl FnOnce(&Head, &Commit) -> Result<bool, JournalError>,
    ) -> Vec<Leaving<K, V>> {
        let collected =
            self.callbacks.call(collect).unwrap_or_else(|panicked| Err(panicked.to_string().into()));
        let written = collected.map_err(|error| journal.cannot_encode(error)).and_then(|commit| {
            let wrote = put(&self.head(journal, commit.next_sequence), &commit)?;
            journal.commits.fetch_add(u64::from(wrote), Ordering::Relaxed);
            Ok(commit)
        });
        match written {
            Ok(commit) => self.written(journal, round, &commit),
            Err(error) => {
                self.disk_failed(journal, error);
                Vec::new()
            }
        }
    }

    /// Returns the batches that are to be on disk only, with their bytes.
    fn written(&self, journal: &Journal<K, V>, round: u64, commit: &Commit) -> Vec<Leaving<K, V>> {
        let Recorded { readied, spilled } = {
            let mut flights = self.dispatch.flights();
            flights.forgotten(commit.ended.iter().copied());
            flights.recorded(commit.recorded.iter().copied())
        };
        if journal.progress.finish(round).is_some() {
            self.intake.refuse(false);
            journal.news.lock().push(News::Recovered);
        }
        if readied {
            self.dispatch.doorbell().ring();
        }
        let bytes = |sequence: Sequence| {
            let content = commit.changes.batches.get(&sequence.number());
            content.and_then(Option::as_ref).map_or(0, |content| content.len() as u64)
        };
        spilled.into_iter().map(|(sequence, batch)| (batch, bytes(sequence))).collect()
    }

    /// Lets go of what is on disk now.
    fn leave_spilled(&self, spilled: Vec<Leaving<K, V>>) {
        if spilled.is_empty() {
            return;
        }
        let settlements: Vec<_> = {
            // Who looks for them finds them here or there.
            let _records = self.dispatch.pause_assembly();
            spilled.iter().flat_map(|leaving| self.leave_on_disk(leaving)).collect()
        };
        self.callbacks.let_go(spilled);
        settlements.into_iter().for_each(|settlement| self.follow_settlement(settlement, None));
        // They may be loaded.
        self.dispatch.doorbell().ring();
    }

    pub(super) fn disk_failed(&self, journal: &Journal<K, V>, error: JournalError) {
        let error = Arc::new(error);
        journal.failures.fetch_add(1, Ordering::Relaxed);
        let new = journal.progress.fail(Arc::clone(&error), self.clock.now());
        if new && journal.on_failure == OnDiskFailure::Refuse {
            self.intake.refuse(true);
        }
        // At the end the caller holds the assembly, and nothing is sent any more.
        if !journal.progress.is_sealed() {
            let mut records = self.dispatch.pause_assembly();
            // A fresh file has all of it. Also, whoever takes a batch apart waits until nobody else has it.
            let noted = records.suspend();
            // Also if they wait again, for a fresh file that has failed too.
            let readied =
                journal.on_failure == OnDiskFailure::GoOn && self.dispatch.flights().set_journaled(false);
            drop(records);
            self.callbacks.let_go(noted);
            if readied {
                self.dispatch.doorbell().ring();
            }
        }
        journal.news.lock().push(News::Failed(error));
    }

    /// Writes everything that there is into a fresh file.
    fn replace(&self, journal: &Journal<K, V>, disk: &mut dyn Disk) {
        let round = journal.progress.begin(true);
        let collect = || self.collect_all(journal, &mut self.dispatch.pause_assembly());
        let spilled = self.write(journal, round, collect, afresh(disk));
        self.leave_spilled(spilled);
    }

    /// All that a fresh file has to hold.
    fn collect_all(
        &self,
        journal: &Journal<K, V>,
        records: &mut Assembly<'_, K, V>,
    ) -> Result<Commit, CodecError> {
        records.resume();
        for mut shard in self.intake.shards() {
            shard.show_all(&mut records.visit());
        }
        let (batches, ended, carried, next_sequence) = {
            let mut flights = self.dispatch.flights();
            // From here on they wait again.
            flights.set_journaled(true);
            let ended: Vec<_> = flights.ended().collect();
            let all: Vec<_> = flights.sequences().collect();
            flights.recording(all);
            (flights.contents(), ended, flights.spilled_runs(), flights.next_sequence())
        };
        let mut taken = records.take();
        let changes = &mut taken.changes;
        changes.pending.settle();
        let mut recorded = Vec::with_capacity(batches.len());
        for (sequence, batch, state) in batches {
            let mut content = Vec::new();
            frame::write_batch(&*journal.codec, &batch.entries, &state, &mut content)?;
            changes.batches.insert(sequence.number(), Some(content));
            recorded.push(sequence);
        }
        for (sequence, content) in records.in_hand() {
            changes.batches.insert(sequence.number(), Some(content.clone()));
            recorded.push(sequence);
        }
        let commit = Commit { changes: taken.changes, recorded, ended, carried, next_sequence };
        taken.failed.map_or(Ok(commit), Err)
    }

    /// The end of draining: all that is left is written, while nothing is taken, split or put back any more. Says whether
    /// it is on disk. What is there only is added to `dropped`.
    pub(crate) fn commit_last(
        &self,
        journal: &Journal<K, V>,
        disk: &mut dyn Disk,
        records: &mut Assembly<'_, K, V>,
        dropped: &mut Vec<Held<K, V>>,
    ) -> bool {
        let round = journal.progress.begin(true);
        let spilled = if journal.progress.trouble().is_some() {
            self.write(journal, round, || self.collect_all(journal, records), afresh(disk))
        } else {
            for partition in 0..self.intake.partitions() {
                while self.collect_some(partition, records) {}
            }
            let collected = self.take_records(journal, records);
            self.write(journal, round, collected, changes_to(disk))
        };
        // Nobody needs their room any more, and who waits for them is about to be told that it is over.
        spilled.iter().for_each(|leaving| drop(self.leave_on_disk(leaving)));
        dropped.extend(spilled.into_iter().map(|(batch, _)| batch));
        journal.progress.trouble().is_none()
    }

    /// All callbacks are back: writes what became of their batches, and lets the file go. If nothing is left in it, it is small
    /// again.
    pub(crate) fn close_journal(&self) {
        let Some(journal) = &self.journal else { return };
        let mut place = journal.disk.lock();
        if let Some(disk) = &mut *place {
            if journal.progress.trouble().is_none() {
                let round = journal.progress.begin(false);
                let collected = self.take_records(journal, &mut self.dispatch.pause_assembly());
                drop(self.write(journal, round, collected, changes_to(&mut **disk)));
            }
            let sound = journal.progress.trouble().is_none();
            // What `handle_error` has kept since then is a batch as well.
            let nothing_left =
                self.kept_in_journal() == 0 && self.dispatch.flights().sequences().next().is_none();
            if sound && nothing_left {
                let next_sequence = self.dispatch.flights().next_sequence();
                // What cannot be made smaller stays as it is.
                let _ = disk.replace(&self.head(journal, next_sequence), &Changes::default(), &[]);
            }
        }
        *place = None;
        drop(place);
        journal.progress.end();
        self.tell_news();
    }

    /// Tells the observers what has happened to the journal. Called without any lock.
    pub(crate) fn tell_news(&self) {
        let Some(journal) = &self.journal else { return };
        let (name, news) = (&self.settings.name, std::mem::take(&mut *journal.news.lock()));
        for news in news {
            self.callbacks.observe(|observer| match &news {
                News::Failed(error) => observer.journal_failed(name, error),
                News::Recovered => observer.journal_recovered(name),
            });
        }
    }
}

/// Writes what has changed, if anything has.
fn changes_to(disk: &mut dyn Disk) -> impl FnOnce(&Head, &Commit) -> Result<bool, JournalError> + '_ {
    |head, Commit { changes, .. }| {
        if changes.pending.is_empty() && changes.batches.is_empty() {
            return Ok(false);
        }
        disk.commit(head, changes).map(|()| true)
    }
}

/// Writes a fresh file.
fn afresh(disk: &mut dyn Disk) -> impl FnOnce(&Head, &Commit) -> Result<bool, JournalError> + '_ {
    |head, commit| disk.replace(head, &commit.changes, &commit.carried).map(|()| true)
}
