use std::ops::Range;

/// The seeds with which the conformance kit judges a store: `WRITE_BEHIND_SEEDS` says how many (default 1).
pub fn seeds() -> Range<u64> {
    let many = std::env::var("WRITE_BEHIND_SEEDS");
    0..many.map_or(1, |many| many.parse().expect("WRITE_BEHIND_SEEDS is a number"))
}
