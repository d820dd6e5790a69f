//! Distributions: what is usual, and what happens rarely.

use hdrhistogram::Histogram;

use crate::record::Recording;

const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

/// One value for each of [`QUANTILES`].
pub(crate) type Quantiles = [f64; 4];

/// For nanoseconds, to a thousandth of their value.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are possible")
}

/// The quantiles, in units of so many nanoseconds.
pub(crate) fn quantiles(histogram: &Histogram<u64>, unit: f64) -> Quantiles {
    QUANTILES.map(|(_, part)| histogram.value_at_quantile(part) as f64 / unit)
}

/// Adds a case for each quantile.
pub(crate) fn add(recording: &mut Recording, case: &[&str], peers: &[(&'static str, Vec<Quantiles>)]) {
    for (place, (name, _)) in QUANTILES.iter().enumerate() {
        let case: Vec<&str> = case.iter().chain([name]).copied().collect();
        let samples = |turns: &[Quantiles]| turns.iter().map(|quantiles| quantiles[place]).collect();
        recording.add(&case, peers.iter().map(|(peer, turns)| (*peer, samples(turns))).collect());
    }
}
