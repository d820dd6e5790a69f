//! What was measured: on the screen as it comes, and in a file, sample by sample.

use std::fs;
use std::io;
use std::path::PathBuf;

use serde::Serialize;

use crate::environment::Environment;
use crate::scale::Scale;

#[derive(Serialize)]
struct Cell {
    /// What was done, from general to special: keys, threads.
    case: Vec<String>,
    peer: &'static str,
    /// One per turn; samples of one case with the same place stood next to each other.
    samples: Vec<f64>,
}

/// One topic's measurements.
#[derive(Serialize)]
pub(crate) struct Recording {
    topic: &'static str,
    unit: &'static str,
    /// Whom ratios are relative to.
    base: &'static str,
    environment: Environment,
    cells: Vec<Cell>,
    #[serde(skip)]
    real: bool,
}

impl Recording {
    pub(crate) fn new(scale: Scale, topic: &'static str, unit: &'static str, base: &'static str) -> Self {
        println!("\n{topic}, {unit}: median (quartiles), by {base}");
        Recording { topic, unit, base, environment: Environment::here(), cells: Vec::new(), real: scale.real }
    }

    /// Adds what the peers measured in one case. The ratio is the median of the turns' ratios.
    pub(crate) fn add(&mut self, case: &[&str], peers: Vec<(&'static str, Vec<f64>)>) {
        let base = peers.iter().find(|peer| peer.0 == self.base).map(|peer| peer.1.clone());
        for (peer, samples) in peers {
            let [low, median, high] = quartiles(&samples);
            let ratio = base.as_ref().map(|base| {
                let ratios: Vec<f64> = samples.iter().zip(base).map(|(own, base)| own / base).collect();
                format!("{:8.2}", quartiles(&ratios)[1])
            });
            let case_name = case.join(", ");
            let ratio = ratio.unwrap_or_default();
            println!("{case_name:<40} {peer:<22} {median:>10.2} ({low:.2} - {high:.2}) {ratio}");
            self.cells.push(Cell { case: case.iter().map(|&part| part.to_owned()).collect(), peer, samples });
        }
    }

    pub(crate) fn save(self) -> io::Result<()> {
        if !self.real {
            return Ok(());
        }
        let folder = PathBuf::from(std::env::var("DATA").unwrap_or_else(|_| "target/bench".to_owned()));
        fs::create_dir_all(&folder)?;
        let text = serde_json::to_string(&self).map_err(io::Error::other)?;
        // A cell a line: readable, and small differences between two runs stay small.
        fs::write(
            folder.join(format!("{}.json", self.topic)),
            text.replace("{\"case\"", "\n{\"case\"") + "\n",
        )
    }
}

/// Lower quartile, median and upper quartile: of the sorted samples, the nearest ones.
pub(crate) fn quartiles(samples: &[f64]) -> [f64; 3] {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    [0.25, 0.5, 0.75].map(|part| sorted[((sorted.len() - 1) as f64 * part).round() as usize])
}
