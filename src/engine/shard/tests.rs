//! A shard on its own: no threads, no clock, and hashes that are the keys.

mod accounts;
mod generations;
mod leases;

use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::{Host, Inserted, Lack, Need, Numbering, Owned, Settled, Settlement, Shard, Step, Ticket, Timing};
use crate::aggregate::Aggregate;
use crate::batch::{Entry, FlushReason};
use crate::engine::sequence::Sequence;
use crate::engine::tick::Tick;
use crate::key::KeptHash;
use crate::stats::Stats;

/// The interval of all shards here, in ticks.
const INTERVAL: Tick = 100;

/// A shard whose host counts ticks.
struct Table<V> {
    shard: Shard<u32, V, char>,
    now: Tick,
    batches: usize,
}

struct At(Tick);

impl<V> Host<u32, V> for At {
    fn now(&self) -> Duration {
        Duration::from_millis(self.0)
    }

    fn interval(&self, _: &u32, _: &V, _: Duration) -> Option<Duration> {
        None
    }

    fn hash(&self, key: &u32) -> KeptHash {
        hash(*key)
    }
}

fn hash(key: u32) -> KeptHash {
    KeptHash::from_bits(key)
}

/// Counts from 1.
fn batch(number: usize) -> Sequence {
    Sequence::FIRST.after(number - 1)
}

impl<V: Aggregate> Table<V> {
    /// With room enough.
    fn new() -> Self {
        Table::with(Need { keys: 1_000, weight: 1_000 }, None)
    }

    fn with(room: Need, flush_at_count: Option<u32>) -> Self {
        let steps = flush_at_count.map(|inserts| Step { inserts, within: Duration::ZERO });
        Table::with_steps(room, steps.into_iter().collect())
    }

    fn with_steps(room: Need, steps: Box<[Step]>) -> Self {
        let interval = Duration::from_millis(INTERVAL);
        let timing = Timing { interval, jitter: Duration::ZERO, linger: Duration::ZERO, steps };
        let mut shard = Shard::new(0, 1, timing, SmallRng::seed_from_u64(1), false);
        shard.grant(room);
        shard.admit(u64::MAX);
        Table { shard, now: 0, batches: 0 }
    }

    fn insert(&mut self, key: u32, item: V::Item) -> Result<Inserted, Lack> {
        match self.shard.absorb(hash(key), &Owned(key), item) {
            Ok((inserted, _)) => Ok(inserted),
            Err(refused) => {
                let overcome = self.shard.overcome(hash(key), Owned(key), refused, &At(self.now));
                overcome.map(|(inserted, _)| inserted).map_err(|refused| refused.why)
            }
        }
    }

    fn expire(&mut self, now: Tick) {
        self.now = now;
        self.shard.expire(now, usize::MAX);
    }

    /// Takes all that is due as one batch.
    fn take(&mut self) -> Vec<Entry<u32, V>> {
        self.batches += 1;
        let mut entries = Vec::new();
        while self.shard.take(self.now, 10, Numbering::Together(batch(self.batches)), &mut entries) {}
        entries
    }

    /// Settles an entry of the batch taken last.
    fn settle(&mut self, entry: &Entry<u32, V>, how: Settled) -> Settlement<u32, char> {
        let mut settlement = Settlement::default();
        self.shard.settle(&[entry.ticket(batch(self.batches))], how, &mut settlement);
        assert_eq!(settlement.keys, [*entry.key()], "it was in flight");
        settlement
    }

    /// Settles an entry by its ticket. Says whether it was in flight.
    fn lands(&mut self, ticket: Ticket) -> bool {
        let mut settlement = Settlement::default();
        self.shard.settle(&[ticket], Settled::Flushed, &mut settlement);
        !settlement.keys.is_empty()
    }

    fn requeue(&mut self, entry: Entry<u32, V>) -> Settlement<u32, char> {
        let mut settlement = Settlement::default();
        let (ticket, now) = (entry.ticket(batch(self.batches)), Duration::from_millis(self.now));
        self.shard.requeue(&ticket, entry.data, now, &At(self.now), &mut settlement);
        settlement
    }

    /// A request for a key; how many generations the waiter has to wait for.
    fn request(&mut self, key: u32, waiter: Option<&char>) -> (bool, u32) {
        let request = self.shard.request(hash(key), |other| *other == key, FlushReason::Requested, waiter);
        (request.due, request.outstanding)
    }

    fn remove(&mut self, key: u32) -> Option<(Vec<V>, Settlement<u32, char>)> {
        self.shard.remove(hash(key), |other| *other == key)
    }

    fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        self.shard.add_to(&mut stats);
        assert_eq!(stats.balance(), 0);
        stats
    }
}
