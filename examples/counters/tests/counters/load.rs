//! Many clients at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::http::Client;

pub(crate) const CLIENTS: usize = 32;
const KEYS: u64 = 40;

/// What clients were told.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// What was answered 202, by key.
    pub(crate) accepted: BTreeMap<String, i64>,
    /// What got no answer, each of it counted or not.
    pub(crate) unanswered: BTreeMap<String, Vec<i64>>,
    /// All other answers.
    pub(crate) refused: Vec<String>,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        for (key, value) in other.accepted {
            *self.accepted.entry(key).or_default() += value;
        }
        for (key, values) in other.unanswered {
            self.unanswered.entry(key).or_default().extend(values);
        }
        self.refused.extend(other.refused);
    }
}

/// Clients that go on until they are told to stop or the service is gone.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Tally>>,
}

impl Load {
    /// Spread over the given services.
    pub(crate) fn start(urls: &[&str]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let clients = urls.iter().cycle().take(CLIENTS).zip(0..).map(|(url, seed)| {
            let (client, stop) = (Client::new(url), Arc::clone(&stop));
            std::thread::spawn(move || run(&client, &stop, seed))
        });
        Load { clients: clients.collect(), stop }
    }

    pub(crate) fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut tally = Tally::default();
        self.clients.into_iter().for_each(|client| tally.add(client.join().unwrap()));
        tally
    }
}

fn run(client: &Client, stop: &AtomicBool, seed: u64) -> Tally {
    let mut tally = Tally::default();
    let mut random = seed;
    while !stop.load(Ordering::Relaxed) {
        // Knuth's generator: the same keys in every run. Low numbers are the popular ones.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let key = format!("key {}", ((random >> 33) % KEYS) * ((random >> 48) % KEYS) / KEYS);
        let value = (random >> 60) as i64 - 4;
        match client.try_increment(&key, value) {
            Ok(answer) if answer.status == 202 => *tally.accepted.entry(key).or_default() += value,
            Ok(answer) => tally.refused.push(format!("{answer:?}")),
            Err(_) => {
                tally.unanswered.entry(key).or_default().push(value);
                return tally;
            }
        }
    }
    tally
}
