//! What has happened since the last commit.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use super::disk::{Changes, Rows};
use super::frame;
use crate::batch::Entry;
use crate::driver::flush::Held;
use crate::engine::flights::Standing;
use crate::engine::sequence::Sequence;
use crate::journal::{Codec, CodecError};

/// Guarded by the assembly's lock: what belongs together is recorded while it is held, and a commit takes all of it
/// while it holds it. Without a journal nothing is recorded.
pub(crate) struct Records<K, V> {
    codec: Option<Arc<dyn Codec<K, V>>>,
    /// What is pending of keys, the latest last.
    pending: Rows,
    /// Batches whose content is as it will be sent.
    taken: Vec<Held<K, V>>,
    /// Others.
    batches: BTreeMap<u64, Option<Vec<u8>>>,
    /// Batches whose content is in `handle_error`'s hands, as they are on disk.
    in_hand: BTreeMap<Sequence, Vec<u8>>,
    /// The file has failed: a fresh one will have all there is then, and until then nothing is noted.
    suspended: bool,
    /// Something could not be encoded.
    failed: Option<CodecError>,
}

/// What a commit takes.
pub(super) struct Taken<K, V> {
    pub(super) changes: Changes,
    /// Their content is still to be written.
    pub(super) batches: Vec<Held<K, V>>,
    pub(super) failed: Option<CodecError>,
}

impl<K, V> Records<K, V> {
    /// Whether anything is recorded here.
    pub(crate) fn is_on(&self) -> bool {
        self.codec.is_some()
    }
}

impl<K: 'static, V: 'static> Records<K, V> {
    pub(crate) fn new(codec: Option<Arc<dyn Codec<K, V>>>) -> Self {
        Records {
            codec,
            pending: Rows::default(),
            taken: Vec::new(),
            batches: BTreeMap::new(),
            in_hand: BTreeMap::new(),
            suspended: false,
            failed: None,
        }
    }

    pub(super) fn suspend(&mut self) -> Taken<K, V> {
        self.suspended = true;
        self.take()
    }

    pub(super) fn resume(&mut self) {
        self.suspended = false;
    }

    /// Notes what it is shown.
    pub(crate) fn visit(&mut self) -> impl FnMut(&K, &mut dyn Iterator<Item = (&V, u32)>) {
        |key, generations| self.note_pending(key, generations)
    }

    /// The pending generations of a key are these, oldest first.
    fn note_pending(&mut self, key: &K, generations: &mut dyn Iterator<Item = (&V, u32)>) {
        let Some(codec) = self.codec.as_ref().filter(|_| !self.suspended) else { return };
        let pending = &mut self.pending;
        let written = frame::code(|| {
            let write = |out: &mut Vec<u8>| frame::write_generations(&**codec, generations, out);
            pending.push(|out| codec.encode_key(key, out), Some(write))
        });
        self.note_failure(written);
    }

    /// Nothing of a key is pending any more.
    pub(crate) fn note_gone(&mut self, key: &K) {
        let Some(codec) = self.codec.as_ref().filter(|_| !self.suspended) else { return };
        let pending = &mut self.pending;
        let written = frame::code(|| pending.push(|out| codec.encode_key(key, out), None::<fn(&mut _) -> _>));
        self.note_failure(written);
    }

    /// A batch has got its entries, which are [gone](Self::note_gone) from their keys.
    pub(crate) fn note_taken(&mut self, batch: &Held<K, V>) {
        if self.is_on() && !self.suspended {
            self.taken.push(Arc::clone(batch));
        }
    }

    /// A batch has this content and standing.
    pub(crate) fn note_batch(&mut self, sequence: Sequence, entries: &[Entry<K, V>], standing: &Standing) {
        if self.suspended {
            return;
        }
        if let Some(bytes) = self.write(entries, standing) {
            self.batches.insert(sequence.number(), Some(bytes));
        }
    }

    /// The content of a batch is about to leave the flights.
    pub(crate) fn hold(&mut self, sequence: Sequence, entries: &[Entry<K, V>], standing: &Standing) {
        if let Some(bytes) = self.write(entries, standing) {
            self.in_hand.insert(sequence, bytes);
        }
    }

    /// It is back, or gone for good.
    pub(crate) fn release(&mut self, sequence: Sequence) {
        self.in_hand.remove(&sequence);
    }

    fn write(&mut self, entries: &[Entry<K, V>], standing: &Standing) -> Option<Vec<u8>> {
        let codec = self.codec.as_ref()?;
        let mut bytes = Vec::new();
        let written = frame::code(|| frame::write_batch(&**codec, entries, standing, &mut bytes));
        let failed = written.is_err();
        self.note_failure(written);
        (!failed).then_some(bytes)
    }

    fn note_failure(&mut self, written: Result<(), CodecError>) {
        if let Err(error) = written {
            self.failed = Some(error);
        }
    }

    /// All that was recorded since the last call.
    pub(super) fn take(&mut self) -> Taken<K, V> {
        let changes =
            Changes { pending: mem::take(&mut self.pending), batches: mem::take(&mut self.batches) };
        Taken { changes, batches: mem::take(&mut self.taken), failed: self.failed.take() }
    }

    /// The batches whose content is not in the flights.
    pub(super) fn in_hand(&self) -> impl Iterator<Item = (Sequence, &Vec<u8>)> {
        self.in_hand.iter().map(|(sequence, bytes)| (*sequence, bytes))
    }
}
