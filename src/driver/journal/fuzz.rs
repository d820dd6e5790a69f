//! Rows that are anything: what is read from them is what would be written again, or an error, and never a panic.
//!
//! `WRITE_BEHIND_ROWS` says how many are read (default 200 000), `WRITE_BEHIND_SEED` which.

use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};

use super::frame::{read_batch, read_generations, write_batch, write_generations};
use crate::batch::{BatchId, Entry, FlushReason};
use crate::engine::flights::{Past, Standing};
use crate::failure::FailureCause;
use crate::journal::file::tests::how_many;
use crate::journal::{Codec, CodecError, Postcard};

type Data = Vec<String>;

const ID: BatchId = BatchId { instance: 7, sequence: 9 };

fn text(chance: &mut SmallRng) -> String {
    let letters = ['a', 'ß', '\0', '🦀', '"', '~'];
    (0..chance.random_range(0..6)).map(|_| letters[chance.random_range(0..letters.len())]).collect()
}

fn data(chance: &mut SmallRng) -> Data {
    (0..chance.random_range(0..4)).map(|_| text(chance)).collect()
}

fn some_generations(chance: &mut SmallRng) -> Vec<u8> {
    let generations: Vec<(Data, u32)> =
        (0..chance.random_range(1..4)).map(|_| (data(chance), chance.random())).collect();
    written_generations(&generations)
}

fn written_generations(generations: &[(Data, u32)]) -> Vec<u8> {
    let mut row = Vec::new();
    let mut all = generations.iter().map(|(data, count)| (data, *count));
    write_generations::<String, Data>(&Postcard, &mut all, &mut row).expect("it can be written");
    row
}

fn some_batch(chance: &mut SmallRng) -> Vec<u8> {
    let cause = FailureCause::Error(std::sync::Arc::from(CodecError::from(text(chance))));
    let past = Past { attempts: chance.random(), cause, frozen: chance.random() };
    let standing = match chance.random_range(0..3) {
        0 => Standing::Sent { ahead: chance.random() },
        1 => Standing::GivenUp(past),
        _ => Standing::Kept { past, whole: chance.random(), handed_over: chance.random() },
    };
    let entries: Vec<Entry<String, Data>> = (0..chance.random_range(1..4))
        .map(|index| Entry::of(text(chance), data(chance), chance.random(), FlushReason::Size, index))
        .collect();
    written_batch(&entries, &standing)
}

fn written_batch(entries: &[Entry<String, Data>], standing: &Standing) -> Vec<u8> {
    let mut row = Vec::new();
    write_batch(&Postcard, entries, standing, &mut row).expect("it can be written");
    row
}

/// A row as it may have become: bits flipped, cut, lengthened, put together from two, or made of anything.
fn spoiled(row: &[u8], other: &[u8], chance: &mut SmallRng) -> Vec<u8> {
    let mut row = row.to_vec();
    for _ in 0..chance.random_range(0..3) {
        let at = chance.random_range(0..=row.len());
        match chance.random_range(0..6) {
            0 => row.truncate(at),
            1 => row.insert(at, chance.random()),
            2 => row.extend(&other[other.len().min(at)..]),
            3 => row.iter_mut().skip(at).take(4).for_each(|byte| *byte = 255),
            4 => chance.fill_bytes(&mut row[at..]),
            _ => row.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << chance.random_range(0..8)),
        }
    }
    row
}

/// Whether it could be read.
fn read_as_generations(row: &[u8]) -> bool {
    let Ok(generations) = read_generations::<String, Data>(&Postcard, row) else { return false };
    let again = read_generations::<String, Data>(&Postcard, &written_generations(&generations));
    assert_eq!(again.expect("what was written can be read"), generations);
    true
}

/// Whether it could be read.
fn read_as_batch(row: &[u8]) -> bool {
    let Ok(found) = read_batch::<String, Data>(&Postcard, ID, row, |_| 1) else { return false };
    let written = written_batch(&found.content.entries, &found.standing);
    let again =
        read_batch::<String, Data>(&Postcard, ID, &written, |_| 1).expect("what was written can be read");
    assert_eq!(written_batch(&again.content.entries, &again.standing), written);
    true
}

#[test]
fn whatever_a_row_is_it_is_read_or_refused() {
    let rows = how_many("WRITE_BEHIND_ROWS", 200_000);
    let mut chance = SmallRng::seed_from_u64(how_many("WRITE_BEHIND_SEED", 1));
    let samples: Vec<_> =
        (0..500).map(|_| (some_generations(&mut chance), some_batch(&mut chance))).collect();
    assert!(
        samples.iter().all(|(generations, batch)| read_as_generations(generations) && read_as_batch(batch))
    );
    let mut read = 0;
    for number in 0..rows {
        let sample = &samples[chance.random_range(0..samples.len())];
        let other = &samples[chance.random_range(0..samples.len())];
        let is_read = match number % 3 {
            0 => read_as_generations(&spoiled(&sample.0, &other.1, &mut chance)),
            1 => read_as_batch(&spoiled(&sample.1, &other.0, &mut chance)),
            // One for the other.
            _ => read_as_batch(&spoiled(&sample.0, &other.0, &mut chance)),
        };
        read += u64::from(is_read);
    }
    assert!(read > 0 && read < rows, "{read} of {rows}");
    println!("counted: {rows} rows, of which {read} could be read");
}

/// The codec itself, which is given what is inside of a row.
#[test]
fn whatever_the_bytes_are_the_codec_reads_or_refuses_them() {
    let rows = how_many("WRITE_BEHIND_ROWS", 200_000);
    let mut chance = SmallRng::seed_from_u64(how_many("WRITE_BEHIND_SEED", 1));
    let codec: &dyn Codec<String, Data> = &Postcard;
    for _ in 0..rows {
        let mut bytes = vec![0; chance.random_range(0..24)];
        chance.fill_bytes(&mut bytes);
        if let Ok(data) = codec.decode_data(&bytes) {
            let mut again = Vec::new();
            codec.encode_data(&data, &mut again).expect("it can be written");
            assert_eq!(codec.decode_data(&again).expect("it can be read"), data);
        }
        drop(codec.decode_key(&bytes));
    }
    println!("counted: {rows} rows");
}
