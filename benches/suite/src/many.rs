//! `insert_many` beside as many single inserts.

use std::hint::black_box;
use std::io;
use std::time::Instant;

use write_behind::{Buffer, Sum, SummingBuffer};

use crate::keys::Spread;
use crate::peers::{Kept, WriteBehind};
use crate::record::Recording;
use crate::scale::Scale;
use crate::turns::take_turns;

type Way<'a> = Box<dyn Fn() + 'a>;

pub(crate) fn run(scale: Scale) -> io::Result<()> {
    let mut recording = Recording::new(scale, "many", "ns per item", "single inserts");
    for (name, spread) in [Spread::all(scale.million)[0], Spread::all(scale.million)[2]] {
        let WriteBehind(buffer) = WriteBehind::<u64, i64>::new();
        (0..spread.different() as u64).for_each(|key| buffer.add(&key, 1).expect("there is room"));
        let keys: Vec<u64> = spread.draw(scale.million, 0);
        for batch in [100, 10_000] {
            let ways: [Way<'_>; 2] = [
                Box::new(|| keys.chunks(batch).for_each(|keys| singly(&buffer, keys))),
                Box::new(|| keys.chunks(batch).for_each(|keys| together(&buffer, keys))),
            ];
            let samples = take_turns(scale.turns, &ways, |way| {
                let start = Instant::now();
                way();
                start.elapsed().as_secs_f64() * 1e9 / keys.len() as f64
            });
            let names = ["single inserts", "insert_many"];
            recording.add(&[name, &format!("batches of {batch}")], names.into_iter().zip(samples).collect());
        }
    }
    recording.save()
}

#[inline(never)]
fn singly(buffer: &SummingBuffer<u64, i64>, keys: &[u64]) {
    for &key in keys {
        buffer.insert(black_box(key), i64::item(key)).expect("there is room");
    }
}

#[inline(never)]
fn together(buffer: &Buffer<u64, Sum<i64>>, keys: &[u64]) {
    buffer.insert_many(keys.iter().map(|&key| (black_box(key), i64::item(key)))).expect("there is room");
}
