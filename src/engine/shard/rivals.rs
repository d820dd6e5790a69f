use crate::key::KeptHash;

/// How many of the keys are remembered that were met last.
const MEMORY: usize = 4;

/// Who inserts into a partition in turns with others, and into which keys.
///
/// A key that is met twice while few others are is inserted into often: a sample of the inserts tells the hot keys
/// among many. Looked at only after threads have stood in each other's way in this buffer.
#[derive(Debug, Default)]
pub(super) struct Rivals {
    /// The thread that was here last.
    last: u32,
    met: [Option<KeptHash>; MEMORY],
    next: usize,
}

impl Rivals {
    /// A thread inserts into a key, and has `waited` for another one or not. True if the key is one for lanes.
    pub(super) fn meet(&mut self, thread: u32, waited: bool, hash: KeptHash) -> bool {
        if std::mem::replace(&mut self.last, thread) == thread && !waited {
            return false;
        }
        let again = self.met.contains(&Some(hash));
        self.met[self.next] = Some(hash);
        self.next = (self.next + 1) % MEMORY;
        again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(bits: u32) -> KeptHash {
        KeptHash::from_bits(bits)
    }

    #[test]
    fn a_thread_that_is_alone_has_no_rivals() {
        let mut rivals = Rivals::default();
        rivals.meet(1, false, hash(7));
        assert!((0..10).all(|_| !rivals.meet(1, false, hash(7))));
    }

    #[test]
    fn a_key_that_two_threads_insert_into_in_turns_is_found_soon() {
        let mut rivals = Rivals::default();
        rivals.meet(1, false, hash(7));
        assert!(rivals.meet(2, false, hash(7)));
        let mut waiting = Rivals::default();
        waiting.meet(1, true, hash(7));
        assert!(waiting.meet(1, true, hash(7)), "whoever waits has a rival, whoever was here last");
    }

    #[test]
    fn keys_that_do_not_come_again_soon_are_not_hot() {
        let mut rivals = Rivals::default();
        assert!((0..1_000).all(|turn| !rivals.meet(turn % 2, false, hash(turn % 5))));
    }
}
