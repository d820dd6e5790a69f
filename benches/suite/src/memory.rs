//! How much memory a key takes: by how much a process grows that inserts a million.

use std::fs;
use std::hash::BuildHasher;
use std::hint::black_box;
use std::io;

use hashbrown::HashTable;
use write_behind::RandomState;

use crate::child;
use crate::keys::Key;
use crate::peers::{DashMap, HandWritten, Moka, Peer, Scc, SingleMutex, WriteBehind};
use crate::record::Recording;
use crate::scale::Scale;
use crate::turns::try_turns;

const BARE: &str = "bare table";
const PEERS: [&str; 7] = [BARE, "hand-written", "write-behind", "dashmap", "scc", "Mutex<HashMap>", "moka"];

pub(crate) fn run(scale: Scale) -> io::Result<()> {
    let mut recording = Recording::new(scale, "memory", "bytes per key", BARE);
    let count = scale.million.to_string();
    for (case, key) in [("u64 to i64 sum", u64::NAME), ("String of 16 bytes to i64 sum", String::NAME)] {
        let ask = |peer: &&str| -> io::Result<f64> {
            let answer = child::ask(&["memory", peer, key, &count])?;
            answer.trim().parse().map_err(io::Error::other)
        };
        // There is hardly any difference between them.
        let samples = try_turns(scale.turns.min(3), &PEERS, ask)?;
        recording.add(&[case], PEERS.into_iter().zip(samples).collect());
    }
    recording.save()
}

/// Prints how many bytes each key takes.
pub(crate) fn child(peer: &str, key: &str, count: &str) -> io::Result<()> {
    let count = count.parse().map_err(io::Error::other)?;
    let bytes = if key == u64::NAME { grow::<u64>(peer, count) } else { grow::<String>(peer, count) }?;
    println!("{}", bytes as f64 / count as f64);
    Ok(())
}

/// From before there is anything until all keys are in.
fn grow<K: Key>(peer: &str, count: u64) -> io::Result<u64> {
    let before = resident()?;
    let peer: Box<dyn Peer<K, i64>> = match peer {
        BARE => return grow_bare::<K>(count, before),
        "hand-written" => Box::new(HandWritten::new()),
        "write-behind" => Box::new(WriteBehind::new()),
        "dashmap" => Box::new(DashMap::new()),
        "scc" => Box::new(Scc::new()),
        "Mutex<HashMap>" => Box::new(SingleMutex::new()),
        "moka" => Box::new(Moka::new()),
        _ => return Err(io::Error::other("there is no such peer")),
    };
    let mut insert = peer.inserter(0);
    (0..count).for_each(|number| insert(K::nth(number).borrow(), 1));
    drop(insert);
    let after = resident()?;
    drop(peer);
    Ok(after.saturating_sub(before))
}

fn grow_bare<K: Key>(count: u64, before: u64) -> io::Result<u64> {
    let hasher = RandomState::default();
    let hash = |entry: &(K, i64)| hasher.hash_one(&entry.0);
    let mut table = HashTable::new();
    for number in 0..count {
        // An exact copy, as all others make one.
        let entry = (K::nth(number).borrow().to_owned(), 1);
        table.insert_unique(hash(&entry), entry, hash);
    }
    let after = resident()?;
    black_box(table);
    Ok(after.saturating_sub(before))
}

/// Bytes. Not the numbers in `status`, which lag behind by what each processor has not yet added.
fn resident() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/self/smaps_rollup")?;
    let kib = text.lines().find_map(|line| line.strip_prefix("Rss:")?.trim().strip_suffix(" kB"));
    let kib: Option<u64> = kib.and_then(|kib| kib.parse().ok());
    kib.map(|kib| kib * 1_024).ok_or_else(|| io::Error::other("the kernel does not say what is resident"))
}
