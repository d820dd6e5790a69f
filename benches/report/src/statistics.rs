//! The numbers that stand for many.

/// Lower quartile, median and upper quartile. Between two samples where they fall between two, because with
/// few samples the nearest one would always err to the same side.
pub(crate) fn quartiles(samples: &[f64]) -> [f64; 3] {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    [0.25, 0.5, 0.75].map(|part| {
        let place = (sorted.len() - 1) as f64 * part;
        let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
        below + (above - below) * place.fract()
    })
}

pub(crate) fn median(samples: &[f64]) -> f64 {
    quartiles(samples)[1]
}

/// Turn by turn, because what slows a machine down slows both contestants of one turn.
pub(crate) fn ratios(own: &[f64], base: &[f64]) -> Vec<f64> {
    own.iter().zip(base).map(|(own, base)| own / base).collect()
}
