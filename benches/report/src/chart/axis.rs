//! Where a value lies, and which values are named.

/// From this factor between the smallest and the largest on, equal distances are equal factors.
const WIDE: f64 = 20.0;

pub(crate) struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Axis {
    pub(crate) fn around(values: impl Iterator<Item = f64> + Clone) -> Self {
        let positive = values.filter(|value| value.is_finite() && *value > 0.0);
        let high = positive.clone().fold(0.0, f64::max);
        let low = positive.fold(f64::INFINITY, f64::min);
        if high == 0.0 {
            return Axis { low: 0.0, high: 1.0, logarithmic: false };
        }
        if high / low < WIDE {
            return Axis { low: 0.0, high: high * 1.05, logarithmic: false };
        }
        // A bar at the very beginning of the axis would not be seen.
        let low = 10_f64.powf((low * 0.9).log10().floor());
        Axis { low, high: high * 1.15, logarithmic: true }
    }

    pub(crate) fn is_logarithmic(&self) -> bool {
        self.logarithmic
    }

    /// Between zero and one.
    pub(crate) fn place(&self, value: f64) -> f64 {
        let place = if self.logarithmic {
            (value / self.low).log10() / (self.high / self.low).log10()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        // What is nothing, and has no logarithm, is at the beginning.
        if place.is_finite() { place.clamp(0.0, 1.0) } else { 0.0 }
    }

    pub(crate) fn ticks(&self) -> Vec<f64> {
        if self.logarithmic { self.powers() } else { self.steps() }
    }

    fn powers(&self) -> Vec<f64> {
        let from = self.low.log10().round() as i32;
        let decades = (self.high / self.low).log10();
        let between: &[f64] = if decades < 3.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let all = (from..=from + decades as i32).flat_map(|power| between.iter().map(move |f| (power, f)));
        all.map(|(power, factor)| factor * 10_f64.powi(power)).filter(|tick| *tick <= self.high).collect()
    }

    fn steps(&self) -> Vec<f64> {
        let rough = (self.high - self.low) / 5.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        (0..).map(|number| f64::from(number) * step).take_while(|tick| *tick <= self.high).collect()
    }
}
