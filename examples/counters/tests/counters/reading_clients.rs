//! Clients that count and read what they have counted, at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::JoinHandle;

use crate::http::Client;

const CLIENTS: usize = 16;
/// Keys of each client's own.
const OWN_KEYS: usize = 25;
/// Counted by all.
const SHARED: &str = "shared";

/// What has been sent and answered for the shared key. Sequentially consistent: a total read after
/// an answer includes it.
#[derive(Default)]
struct Bounds {
    sent: AtomicI64,
    answered: AtomicI64,
}

/// Each compares every total that it reads with what it knows; a difference panics it.
pub(crate) struct ReadingClients {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<BTreeMap<String, i64>>>,
}

impl ReadingClients {
    /// `known` is what the service holds already.
    pub(crate) fn start(url: &str, known: &BTreeMap<String, i64>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let bounds = Arc::new(Bounds::default());
        let shared = known.get(SHARED).copied().unwrap_or(0);
        bounds.sent.store(shared, Ordering::SeqCst);
        bounds.answered.store(shared, Ordering::SeqCst);
        let clients = (0..CLIENTS).map(|number| {
            let (client, stop, bounds) = (Client::new(url), Arc::clone(&stop), Arc::clone(&bounds));
            let prefix = format!("client {number}, ");
            let own = known.iter().filter(|(key, _)| key.starts_with(&prefix));
            let own = own.map(|(key, total)| (key.clone(), *total)).collect();
            std::thread::spawn(move || run(&client, &stop, &bounds, &prefix, own))
        });
        ReadingClients { clients: clients.collect(), stop }
    }

    /// What all have counted, with what was known before.
    pub(crate) fn stop(self, known: &BTreeMap<String, i64>) -> BTreeMap<String, i64> {
        self.stop.store(true, Ordering::SeqCst);
        let mut totals = BTreeMap::from([(SHARED.to_owned(), known.get(SHARED).copied().unwrap_or(0))]);
        for client in self.clients {
            for (key, total) in client.join().expect("every total that was read was right") {
                *totals.entry(key).or_default() += total;
            }
        }
        totals
    }
}

fn run(
    client: &Client,
    stop: &AtomicBool,
    bounds: &Bounds,
    prefix: &str,
    mut own: BTreeMap<String, i64>,
) -> BTreeMap<String, i64> {
    let mut shared = 0;
    for step in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let key = format!("{prefix}key {}", step * 7 % OWN_KEYS);
        let value = (step % 9) as i64 - 3;
        client.increment(&key, value);
        let total = own.entry(key.clone()).or_default();
        *total += value;
        assert_eq!(client.total(&key), Some(*total), "{key}");
        count_shared(client, bounds);
        shared += 1;
    }
    own.insert(SHARED.to_owned(), shared);
    own
}

fn count_shared(client: &Client, bounds: &Bounds) {
    bounds.sent.fetch_add(1, Ordering::SeqCst);
    client.increment(SHARED, 1);
    let at_least = bounds.answered.fetch_add(1, Ordering::SeqCst) + 1;
    let total = client.total(SHARED).unwrap();
    let at_most = bounds.sent.load(Ordering::SeqCst);
    assert!((at_least..=at_most).contains(&total), "{total} is not from {at_least} to {at_most}");
}
