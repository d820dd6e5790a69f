//! Loading what is on disk only, in order, as far as there is room and use for it.

use std::hash::BuildHasher;
use std::sync::Arc;

use super::Journal;
use super::disk::Disk;
use super::frame::Found;
use crate::aggregate::Aggregate;
use crate::driver::core::Core;
use crate::driver::wait::life::Phase;
use crate::engine::flights::FromDisk;
use crate::engine::sequence::Sequence;
use crate::engine::shard::Need;
use crate::journal::JournalError;
use crate::key::Key;

impl<K: Key, V: Aggregate, S: BuildHasher> Core<K, V, S> {
    pub(super) fn load(&self, journal: &Journal<K, V>, disk: &mut dyn Disk) {
        journal.progress.begin_load();
        while let Some((sequence, endings)) = self.next_to_load() {
            match self.load_one(journal, disk, sequence) {
                Ok(true) => self.dispatch.doorbell().ring(),
                // When what is in the way is over, the scheduler asks again. If it is the room that is missing, it may
                // have something else to spill.
                Ok(false) => {
                    self.dispatch.flights().block_load(endings);
                    return self.dispatch.doorbell().ring();
                }
                Err(error) => return self.disk_failed(journal, error),
            }
        }
    }

    /// The first, and how much is over.
    fn next_to_load(&self) -> Option<(Sequence, u64)> {
        let flights = self.dispatch.flights();
        let first = flights.on_disk()?.first;
        (self.more_in_motion(&flights) > 0).then(|| (first, flights.endings()))
    }

    /// False if there is no room, or it has to wait for one of its keys.
    fn load_one(
        &self,
        journal: &Journal<K, V>,
        disk: &mut dyn Disk,
        sequence: Sequence,
    ) -> Result<bool, JournalError> {
        let row = disk.read(sequence.number())?;
        let Found { content, .. } = self.read_batch(journal, sequence, &row)?;
        let need = content.need();
        let Some(drawn) = self.draw_to_load(need) else { return Ok(false) };
        let loaded = {
            // Nothing takes off or is put aside meanwhile.
            let _records = self.dispatch.pause_assembly();
            let blocked = content.entries.iter().any(|entry| self.is_flying(entry));
            let may_load = !blocked && self.life.phase() < Phase::Closed;
            if may_load {
                for entry in &content.entries {
                    let mut shard = self.intake.shard(entry.partition);
                    shard.grant(Need { keys: 1, weight: entry.weight });
                    shard.load(entry, sequence);
                }
                let batch = Arc::new(content);
                self.dispatch.flights().load(FromDisk { sequence, batch, bytes: row.len() as u64 });
            }
            may_load
        };
        let used = if loaded { need } else { Need::default() };
        self.intake.give_room(Need { keys: drawn.keys - used.keys, weight: drawn.weight - used.weight });
        Ok(loaded)
    }

    /// Room for a batch. One gets it in any case: the sink takes it, and then there is room.
    fn draw_to_load(&self, need: Need) -> Option<Need> {
        if let Some(drawn) = self.intake.draw(need) {
            return Some(drawn);
        }
        if self.dispatch.flights().in_motion() > 0 {
            return None;
        }
        self.intake.overdraw(need);
        Some(need)
    }
}
