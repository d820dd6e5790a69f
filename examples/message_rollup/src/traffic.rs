//! Made-up messages: each account has its own rhythm of silence, chatter and bursts, and some messages
//! come late.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::Account;

/// A message: whose, and when it was written, in the time since the beginning.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) account: Account,
    pub(crate) written: Duration,
}

/// An endless stream of messages in the order of their arrival.
#[derive(Debug)]
pub(crate) struct Traffic {
    random: SmallRng,
    writers: Vec<Writer>,
}

#[derive(Debug)]
struct Writer {
    account: Account,
    /// When the next message arrives.
    next: Duration,
    /// The mean time between two messages.
    pause: Duration,
    mood_ends: Duration,
}

const NAMES: [&str; 8] = ["ada", "bob", "cleo", "dan", "eve", "finn", "gus", "hope"];

impl Traffic {
    /// Messages from `start` on.
    pub(crate) fn new(seed: u64, accounts: usize, start: Duration) -> Self {
        let writer = |number: usize| {
            let name = NAMES[number % NAMES.len()];
            let account = if number < NAMES.len() { name.into() } else { format!("{name}{number}").into() };
            Writer { account, next: start, pause: Duration::ZERO, mood_ends: start }
        };
        Traffic { random: SmallRng::seed_from_u64(seed), writers: (0..accounts).map(writer).collect() }
    }

    /// The next message and when it arrives.
    pub(crate) fn next(&mut self) -> (Duration, Message) {
        let writer = self.writers.iter_mut().min_by_key(|writer| writer.next).expect("there is an account");
        let arrival = writer.next;
        if arrival >= writer.mood_ends {
            // From silence (a message in five minutes) to a burst (ten a second).
            writer.pause = Duration::from_secs_f64(300.0 * 0.000_333_f64.powf(self.random.random()));
            writer.mood_ends = arrival + Duration::from_secs(self.random.random_range(60..900));
        }
        let chance: f64 = self.random.random();
        writer.next = arrival + writer.pause.mul_f64(-(1.0 - chance).ln());
        let written = arrival.saturating_sub(lateness(&mut self.random));
        (arrival, Message { account: writer.account.clone(), written })
    }
}

/// Most arrive at once, some minutes later, a few after the window has gone.
fn lateness(random: &mut SmallRng) -> Duration {
    match random.random_range(0..100) {
        0..90 => Duration::ZERO,
        90..99 => Duration::from_secs(random.random_range(0..600)),
        _ => Duration::from_secs(random.random_range(600..1_800)),
    }
}
