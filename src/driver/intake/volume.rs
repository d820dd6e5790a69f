use crate::driver::sync::{AtomicBool, AtomicU64, Ordering};

/// Counts the inserts that wait in all partitions together, for the trigger of the whole buffer.
///
/// Partitions draw admissions in chunks and count them as inserts at once, so an insert seldom touches
/// anything shared, and the trigger is early by what they have not used, never late.
///
/// No trigger is lost: whoever draws looks afterwards, when the insert is in. Either it finds the count
/// below the limit, or it makes everything due, or somebody else is at that and looks again when done.
#[derive(Debug)]
pub(crate) struct Volume {
    limit: u64,
    chunk: u64,
    /// SeqCst, as `sweeping`: who draws adds here and then looks there, who sweeps ends there and then
    /// looks here; one of them must see the other.
    counted: AtomicU64,
    /// Somebody is making everything due.
    sweeping: AtomicBool,
}

impl Volume {
    pub(crate) fn new(limit: u64, partitions: usize) -> Self {
        let chunk = (limit / (16 * partitions as u64)).max(1);
        Volume { limit, chunk, counted: AtomicU64::new(0), sweeping: AtomicBool::new(false) }
    }

    /// Admits inserts, and counts them.
    pub(crate) fn draw(&self) -> u64 {
        self.counted.fetch_add(self.chunk, Ordering::SeqCst);
        self.chunk
    }

    /// So many count no more.
    pub(crate) fn give(&self, inserts: u64) {
        if inserts > 0 {
            self.counted.fetch_sub(inserts, Ordering::SeqCst);
        }
    }

    /// True for the one who has to make everything due, and then to call [`end`](Self::end).
    pub(crate) fn begin(&self) -> bool {
        self.counted.load(Ordering::SeqCst) >= self.limit && !self.sweeping.swap(true, Ordering::SeqCst)
    }

    pub(crate) fn end(&self) {
        self.sweeping.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_never_late_and_at_most_a_sixteenth_early() {
        for (limit, partitions) in
            [(1, 80), (100, 1), (2_559, 80), (2_560, 80), (1_000_000, 80), (1 << 40, 7)]
        {
            let volume = Volume::new(limit, partitions);
            let unused = (volume.draw() - 1) * partitions as u64;
            assert!(unused <= limit / 16, "{limit} {partitions}");
        }
    }

    #[test]
    fn one_at_a_time_makes_everything_due() {
        let volume = Volume::new(2, 1);
        volume.draw();
        assert!(!volume.begin());
        volume.draw();
        assert!(volume.begin() && !volume.begin());
        volume.end();
        assert!(volume.begin(), "nobody has given anything back");
        volume.give(1);
        volume.end();
        assert!(!volume.begin());
    }
}
