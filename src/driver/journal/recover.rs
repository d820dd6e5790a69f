//! Taking in what a journal has.

use std::hash::BuildHasher;
use std::sync::Arc;

use super::disk::Find;
use super::frame::{self, Found};
use super::{Journal, commit};
use crate::aggregate::Aggregate;
use crate::batch::{Content, Entry};
use crate::driver::core::Core;
use crate::driver::intake::Spot;
use crate::driver::wait::life::Phase;
use crate::engine::flights::Standing;
use crate::engine::sequence::Sequence;
use crate::engine::shard::Need;
use crate::error::BuildError;
use crate::journal::{Codec, CodecError, JournalError, Recovered};
use crate::key::Key;

/// What has been found so far.
struct Finder<'a, K, V, S> {
    core: &'a Core<K, V, S>,
    journal: &'a Journal<K, V>,
    recovered: Recovered,
}

impl<K: Key, V: Aggregate, S: BuildHasher + Send + Sync + 'static> Core<K, V, S> {
    /// Takes in what the journal has, and has it written from now on.
    pub(crate) fn open_journal(core: &Arc<Self>, next_sequence: u64) -> Result<(), BuildError> {
        let begun = core.recover(next_sequence).map_err(BuildError::Journal).and_then(|()| {
            if core.is_inline() { Ok(()) } else { commit::start(core).map_err(BuildError::Thread) }
        });
        if begun.is_err() {
            // Nothing of it is to be written: the file stays as it is.
            core.leave_journal();
            core.life.enter(Phase::Retired);
        }
        begun
    }
}

impl<K: Key, V: Aggregate, S: BuildHasher> Core<K, V, S> {
    /// The buffer does not begin after all: the file stays as it is.
    pub(crate) fn leave_journal(&self) {
        if let Some(journal) = &self.journal {
            *journal.disk.lock() = None;
            journal.progress.end();
        }
    }

    /// Takes in what the journal has, before anybody else comes to know the buffer.
    fn recover(&self, next_sequence: u64) -> Result<(), JournalError> {
        let Some(journal) = &self.journal else { return Ok(()) };
        self.dispatch.flights().go_on_from(Sequence::numbered(next_sequence));
        let recovered = journal.recovered();
        let mut finder = Finder { core: self, journal, recovered };
        if let Some(disk) = &*journal.disk.lock() {
            disk.load(&mut finder)?;
        }
        *journal.recovered.lock() = finder.recovered;
        Ok(())
    }
}

impl<K: Key, V: Aggregate, S: BuildHasher> Find for Finder<'_, K, V, S> {
    fn goes_first(&self, content: &[u8]) -> bool {
        frame::goes_first(content)
    }

    fn batch(&mut self, sequence: u64, row: &[u8]) -> Result<(), JournalError> {
        let (core, sequence) = (self.core, Sequence::numbered(sequence));
        let Found { content, standing } = core.read_batch(self.journal, sequence, row)?;
        self.recovered.batches += 1;
        self.recovered.inserts += content.inserts();
        self.recovered.keys += content.entries.len() as u64;
        let stays = matches!(standing, Standing::Sent { ahead: false }) && core.stays_on_disk(&content);
        for entry in &content.entries {
            let spot = Spot { partition: entry.partition as usize, hash: entry.hash };
            let need = if stays { Need::default() } else { Need { keys: 1, weight: entry.weight } };
            core.intake.with_recovered_room(spot, need, |shard| match standing {
                _ if stays => shard.recover_spilled(entry),
                Standing::Kept { .. } => shard.recover_kept(entry),
                Standing::Sent { .. } | Standing::GivenUp(_) => shard.recover_flying(entry, sequence),
            });
        }
        if stays {
            core.dispatch.flights().find_spilled(sequence, row.len() as u64);
            return Ok(());
        }
        if let Standing::GivenUp(_) = standing {
            core.dispatch.pause_assembly().hold(sequence, &content.entries, &standing);
        }
        core.dispatch.flights().recover(sequence, Arc::new(content), standing);
        Ok(())
    }

    fn pending(&mut self, key: &[u8], row: &[u8]) -> Result<(), JournalError> {
        let core = self.core;
        let (key, generations) = self
            .journal
            .decode(|codec| Ok((codec.decode_key(key)?, frame::read_generations(codec, row)?)))?;
        self.recovered.keys += 1;
        self.recovered.inserts += generations.iter().map(|(_, count)| u64::from(*count)).sum::<u64>();
        let spot = core.intake.spot(&key);
        let weight = generations.iter().map(|(data, _)| data.weight()).sum();
        core.intake.with_recovered_room(spot, Need { keys: 1, weight }, |shard| {
            shard.recover((spot.hash, key), generations, core);
        });
        Ok(())
    }
}

impl<K: Key, V: Aggregate, S: BuildHasher> Core<K, V, S> {
    /// A batch that the journal has, with the places of its keys.
    pub(super) fn read_batch(
        &self,
        journal: &Journal<K, V>,
        sequence: Sequence,
        row: &[u8],
    ) -> Result<Found<K, V>, JournalError> {
        let id = sequence.id(self.instance);
        let mut found = journal.decode(|codec| frame::read_batch(codec, id, row, V::weight))?;
        if found.content.entries.len() > 1 && !self.callbacks.takes_batches() {
            return Err(JournalError::Batches { path: journal.path.clone() });
        }
        for entry in &mut found.content.entries {
            let spot = self.intake.spot(&entry.key);
            (entry.partition, entry.hash) = (spot.partition as u32, spot.hash);
        }
        Ok(found)
    }

    /// Whether a batch is left on disk at the start: there is little room, or others are left there, or it has to wait
    /// for one of its keys.
    fn stays_on_disk(&self, content: &Content<K, V>) -> bool {
        self.dispatch.flights().on_disk().is_some()
            || !self.intake.has_plenty(content.need())
            || content.entries.iter().any(|entry| self.is_flying(entry))
    }

    /// Whether an older generation of an entry's key is in flight.
    pub(super) fn is_flying(&self, entry: &Entry<K, V>) -> bool {
        self.intake.look(entry.partition as usize).is_some_and(|shard| shard.is_flying(entry))
    }
}

impl<K, V> Journal<K, V> {
    fn decode<T>(
        &self,
        read: impl FnOnce(&dyn Codec<K, V>) -> Result<T, CodecError>,
    ) -> Result<T, JournalError> {
        frame::code(|| read(&*self.codec))
            .map_err(|source| JournalError::Decode { path: self.path.clone(), source })
    }
}
