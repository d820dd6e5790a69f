//! Answers are lost, backends are killed and the server is restarted without mercy, all at random: sums are exact.
//!
//! `WRITE_BEHIND_FLUSHES` says how many flushes there are (default 400), `WRITE_BEHIND_SEED` what happens when.

use std::collections::BTreeMap;
use std::time::Duration;

use test_servers::{PostgresServer, Proxy, Spoil, eventually};
use write_behind::exactly_once::ExactlyOnce;
use write_behind::{Buffer, RetryPolicy, SummingBuffer};
use write_behind_postgres::PostgresStore;

use crate::database::views;

const PAGES: u64 = 40;

fn from_environment(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |number| number.parse().expect("a number"))
}

/// Knuth's.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

async fn start(url: &str) -> SummingBuffer<String, i64> {
    let store = PostgresStore::connect(url.parse().unwrap(), views()).await.unwrap();
    Buffer::builder()
        .interval(Duration::from_secs(3600))
        .max_batch_keys(4)
        .retry(RetryPolicy::new().delay(Duration::from_millis(5)).cap(Duration::from_millis(50)))
        .start_async(ExactlyOnce::new(store))
        .unwrap()
}

#[test]
fn sums_are_exact_whatever_happens_to_answers_backends_and_the_server() {
    let Some(server) = PostgresServer::start() else { return };
    let flushes = from_environment("WRITE_BEHIND_FLUSHES", 400);
    let mut random = Random(from_environment("WRITE_BEHIND_SEED", 1));
    let proxy = Proxy::start(server.port());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // One at whose answers nobody meddles, and both write the same rows.
    let urls = [server.url_at(proxy.port()), server.url()];
    let buffers = urls.map(|url| runtime.block_on(start(&url)));
    let done = || buffers.iter().map(|buffer| buffer.stats().flushes).sum::<u64>();
    let (mut sums, mut restarts) = (BTreeMap::<String, i64>::new(), 0);
    let kill = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                where application_name = 'write-behind'";
    while done() < flushes {
        for buffer in &buffers {
            for _ in 0..20 {
                let (page, amount) = (format!("page {}", random.below(PAGES)), random.below(9) as i64 - 3);
                buffer.add(&page, amount).unwrap();
                *sums.entry(page).or_default() += amount;
            }
            buffer.flush_all();
        }
        match random.below(100) {
            0..40 => proxy.spoil_next(Spoil::LoseAnswer),
            40..60 => drop(server.client().number(kill)),
            60..62 => {
                server.control("restart");
                restarts += 1;
            }
            _ => {}
        }
        // Now and then everything comes to rest.
        if random.below(4) == 0 {
            eventually("all is flushed", || {
                buffers
                    .iter()
                    .all(|buffer| buffer.stats().pending + buffer.stats().in_flight == 0)
                    .then_some(())
            });
        }
    }
    for buffer in &buffers {
        runtime.block_on(buffer.shutdown_async(Duration::from_secs(600))).unwrap();
    }
    let failures: u64 = buffers.iter().map(|buffer| buffer.stats().failures).sum();
    assert!(failures > 0, "nothing was hit");
    let rows = server.client().query("select page, views from page_views");
    let stored: BTreeMap<String, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(stored, sums);
    println!("counted: {} flushes, {failures} failures, {restarts} restarts", done());
}
