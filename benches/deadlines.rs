//! How late a flush is: the time from a generation's deadline (first insert + interval) to the call
//! of the sink, on an otherwise idle buffer. A plain program, because what is wanted is the
//! distribution and not a mean.
//!
//!     cargo bench --bench deadlines

use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use write_behind::{Buffer, DataBuffer, Last};

const ROUNDS: usize = 200;
const INTERVALS_MS: [u64; 5] = [1, 3, 10, 50, 150];

/// Sends how late each generation is.
struct Lateness {
    interval: Duration,
    late: Sender<Duration>,
}

impl DataBuffer<u64, Last<Instant>> for Lateness {
    type Error = std::convert::Infallible;

    fn handle_flush(&self, _key: &u64, inserted: &Last<Instant>) -> Result<(), Self::Error> {
        let deadline = inserted.0 + self.interval;
        // Never early: that would be a bug, and panics here.
        let _ = self.late.send(Instant::now().checked_duration_since(deadline).expect("not early"));
        Ok(())
    }
}

fn main() {
    // `cargo test --benches` passes arguments that this program has no use for.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    println!("{:>9} {:>10} {:>10} {:>10} {:>10}", "interval", "median", "p90", "p99", "most");
    for interval in INTERVALS_MS.map(Duration::from_millis) {
        let (late, times) = channel();
        let buffer =
            Buffer::builder().interval(interval).start(Lateness { interval, late }).expect("valid settings");
        let mut lateness: Vec<Duration> = (0..ROUNDS as u64)
            .map(|key| {
                buffer.insert(key, Instant::now()).expect("there is room");
                times.recv().expect("the buffer runs")
            })
            .collect();
        lateness.sort_unstable();
        let at = |percent: usize| lateness[(ROUNDS - 1) * percent / 100];
        println!("{interval:>9?} {:>10.1?} {:>10.1?} {:>10.1?} {:>10.1?}", at(50), at(90), at(99), at(100));
    }
}
