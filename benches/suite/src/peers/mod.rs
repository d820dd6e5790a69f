//! What one would use instead: each keeps one value per key and adds items to it.

mod dashmap;
mod hand_written;
mod moka;
mod mutex;
mod private;
mod scc;
mod write_behind;

use ::write_behind::{Aggregate, Sum};

pub(crate) use self::dashmap::DashMap;
pub(crate) use self::hand_written::HandWritten;
pub(crate) use self::moka::Moka;
pub(crate) use self::mutex::SingleMutex;
pub(crate) use self::private::Private;
pub(crate) use self::scc::Scc;
pub(crate) use self::write_behind::{Nowhere, WriteBehind, builder};

use crate::keys::Key;

/// A value per key, as one writes it by hand.
pub(crate) trait Kept: Send + Sync + 'static {
    type Item: Copy + Send + Sync + 'static;
    /// What stands for it in this crate.
    type Aggregate: Aggregate<Item = Self::Item>;

    const NAME: &'static str;

    fn item(number: u64) -> Self::Item;
    fn start(item: Self::Item) -> Self;
    fn absorb(&mut self, item: Self::Item);
}

impl Kept for i64 {
    type Item = i64;
    type Aggregate = Sum<i64>;

    const NAME: &'static str = "i64 sum";

    fn item(_number: u64) -> i64 {
        1
    }

    fn start(item: i64) -> Self {
        item
    }

    fn absorb(&mut self, item: i64) {
        *self += item;
    }
}

/// An event of 64 bytes.
pub(crate) type Event = [u64; 8];

impl Kept for Vec<u64> {
    type Item = u64;
    type Aggregate = Vec<u64>;

    const NAME: &'static str = "list of u64";

    fn item(number: u64) -> u64 {
        number
    }

    fn start(item: u64) -> Self {
        vec![item]
    }

    fn absorb(&mut self, item: u64) {
        self.push(item);
    }
}

impl Kept for Vec<Event> {
    type Item = Event;
    type Aggregate = Vec<Event>;

    const NAME: &'static str = "list of 64 bytes";

    fn item(number: u64) -> Event {
        [number; 8]
    }

    fn start(item: Event) -> Self {
        vec![item]
    }

    fn absorb(&mut self, item: Event) {
        self.push(item);
    }
}

/// Inserts one item.
pub(crate) type Inserter<'a, K, V> = Box<dyn FnMut(&<K as Key>::Borrowed, <V as Kept>::Item) + 'a>;

pub(crate) trait Peer<K: Key, V: Kept>: Send + Sync {
    fn name(&self) -> &'static str;

    /// One in how many inserts is made, so that whoever is slow doesn't hold up all others.
    fn patience(&self, threads: usize) -> usize {
        let _ = threads;
        1
    }

    /// Whether it can be measured from so many threads.
    fn bears(&self, threads: usize) -> bool {
        let _ = threads;
        true
    }

    /// How many maps it has of which threads have one each.
    fn maps(&self) -> usize {
        1
    }

    /// What a thread inserts with. One indirect call for each insert, for everyone.
    fn inserter(&self, thread: usize) -> Inserter<'_, K, V>;

    /// Takes all data out, as a flush does.
    fn empty(&self);
}
