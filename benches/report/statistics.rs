//! The numbers that stand for many.

/// Lower quartile, median and upper quartile: of the sorted samples, the nearest ones, as in the suite.
pub(crate) fn quartiles(samples: &[f64]) -> [f64; 3] {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    [0.25, 0.5, 0.75].map(|part| sorted[((sorted.len() - 1) as f64 * part).round() as usize])
}

pub(crate) fn median(samples: &[f64]) -> f64 {
    quartiles(samples)[1]
}

/// Turn by turn, because what slows a machine down slows both contestants of one turn.
pub(crate) fn ratios(own: &[f64], base: &[f64]) -> Vec<f64> {
    own.iter().zip(base).map(|(own, base)| own / base).collect()
}
