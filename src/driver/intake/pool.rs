use crate::driver::sync::{AtomicBool, AtomicU64, Ordering};
use crate::engine::shard::Need;

/// The room that all partitions share. They draw it in chunks, so that an insert seldom touches
/// anything shared.
///
/// What a partition has drawn and not used is out of reach of the others. When the pool runs dry,
/// the driver recalls it all and the pool turns *tight*: from then on partitions draw exactly what
/// they need, until a fifth of the room is free again. So the bound is never exceeded, and no
/// insert is refused while there is room for it.
#[derive(Debug)]
pub(crate) struct Pool {
    keys: Budget,
    weight: Budget,
    /// Relaxed: set before and read under the partitions' locks, which order it.
    tight: AtomicBool,
}

#[derive(Debug)]
struct Budget {
    limit: u64,
    chunk: u64,
    /// SeqCst: a giver adds here and then looks for waiters, a waiter announces itself and then
    /// looks here; one of them must see the other.
    available: AtomicU64,
    /// By how much what comes from a journal exceeds the limit. Paid with what is given back. Relaxed: what is given
    /// back just then pays nothing, and later it does.
    debt: AtomicU64,
}

impl Budget {
    fn new(limit: u64, partitions: usize) -> Self {
        let chunk = (limit / (8 * partitions as u64)).clamp(1, 4_096);
        Budget { limit, chunk, available: AtomicU64::new(limit), debt: AtomicU64::new(0) }
    }

    /// Takes `need` or, unless `exactly`, up to a chunk; `None` if there is less than `need`.
    fn draw(&self, need: u64, exactly: bool) -> Option<u64> {
        if need == 0 {
            return Some(0);
        }
        let wish = if exactly { need } else { need.max(self.chunk) };
        let take = |available: u64| (available >= need).then(|| available - wish.min(available));
        let before = self.available.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).ok()?;
        Some(wish.min(before))
    }

    fn give(&self, mut room: u64) {
        if self.debt.load(Ordering::Relaxed) > 0 {
            let pay = |debt: u64| Some(debt.saturating_sub(room));
            let before = self.debt.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay).unwrap_or(0);
            room -= room.min(before);
        }
        if room > 0 {
            self.available.fetch_add(room, Ordering::SeqCst);
        }
    }

    fn overdraw(&self, need: u64) {
        let take = |available: u64| Some(available.saturating_sub(need));
        let before = self.available.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).unwrap_or(0);
        self.debt.fetch_add(need.saturating_sub(before), Ordering::Relaxed);
    }

    fn is_roomy(&self) -> bool {
        self.is_roomy_with(0)
    }

    fn is_roomy_with(&self, promised: u64) -> bool {
        self.available.load(Ordering::SeqCst).saturating_add(promised) >= self.limit.div_ceil(5)
    }

    /// Whether half of all room is free besides what is needed.
    fn has_plenty(&self, need: u64) -> bool {
        self.available.load(Ordering::SeqCst) >= need.saturating_add(self.limit / 2)
    }
}

impl Pool {
    pub(crate) fn new(max_keys: u64, max_weight: u64, partitions: usize) -> Self {
        Pool {
            keys: Budget::new(max_keys, partitions),
            weight: Budget::new(max_weight, partitions),
            tight: AtomicBool::new(false),
        }
    }

    /// Whether so much can ever be had.
    pub(crate) fn could_hold(&self, need: Need) -> bool {
        need.keys <= self.keys.limit && need.weight <= self.weight.limit
    }

    /// Whether one more key might find room: here, or in what partitions have drawn and not used.
    #[cfg(feature = "tokio")]
    pub(crate) fn may_hold_one(&self) -> bool {
        let has_one = |budget: &Budget| budget.available.load(Ordering::SeqCst) > 0;
        !self.is_tight() || has_one(&self.keys) && has_one(&self.weight)
    }

    pub(crate) fn draw(&self, need: Need) -> Option<Need> {
        let exactly = self.is_tight();
        let keys = self.keys.draw(need.keys, exactly)?;
        let Some(weight) = self.weight.draw(need.weight, exactly) else {
            self.keys.give(keys);
            return None;
        };
        Some(Need { keys, weight })
    }

    /// Whether half of all room is free besides what is needed.
    pub(crate) fn has_plenty(&self, need: Need) -> bool {
        self.keys.has_plenty(need.keys) && self.weight.has_plenty(need.weight)
    }

    /// Whether room has run out, also when what is promised is given back.
    pub(crate) fn is_short(&self, promised: Need) -> bool {
        let roomy = self.keys.is_roomy_with(promised.keys) && self.weight.is_roomy_with(promised.weight);
        self.is_tight() && !roomy
    }

    /// Draws room that there may not be.
    pub(crate) fn overdraw(&self, need: Need) {
        self.keys.overdraw(need.keys);
        self.weight.overdraw(need.weight);
    }

    pub(crate) fn give(&self, room: Need) {
        self.keys.give(room.keys);
        self.weight.give(room.weight);
        if self.is_tight() && self.keys.is_roomy() && self.weight.is_roomy() {
            self.tight.store(false, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_tight(&self) -> bool {
        self.tight.load(Ordering::Relaxed)
    }

    pub(crate) fn tighten(&self) {
        self.tight.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(keys: u64, weight: u64) -> Need {
        Need { keys, weight }
    }

    #[test]
    fn never_gives_out_more_than_the_limit() {
        let pool = Pool::new(10, 100, 1);
        let mut drawn = 0;
        while let Some(room) = pool.draw(need(1, 0)) {
            drawn += room.keys;
        }
        assert_eq!(drawn, 10);
        assert_eq!(pool.draw(need(1, 1)), None);
        assert_eq!(pool.draw(need(0, 100)).map(|room| room.weight), Some(100), "a failed draw keeps nothing");
    }

    #[test]
    fn draws_chunks_when_roomy_and_exactly_when_tight() {
        let pool = Pool::new(1_000, 1_000, 1);
        assert_eq!(pool.draw(need(1, 0)), Some(need(125, 0)));
        pool.tighten();
        assert_eq!(pool.draw(need(1, 2)), Some(need(1, 2)));
    }

    #[test]
    fn pressure_is_released_when_a_fifth_is_free() {
        let pool = Pool::new(10, 10, 1);
        while pool.draw(need(1, 0)).is_some() {}
        pool.tighten();
        pool.give(need(1, 0));
        assert!(pool.is_tight());
        pool.give(need(1, 0));
        assert!(!pool.is_tight());
    }

    #[test]
    fn knows_what_can_never_fit() {
        let pool = Pool::new(1, 10, 4);
        assert!(pool.could_hold(need(1, 10)));
        assert!(!pool.could_hold(need(1, 11)));
    }
}
