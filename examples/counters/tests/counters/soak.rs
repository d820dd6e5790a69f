//! The service under load for a long time, while the database is restarted again and again: its memory, threads, open
//! files and latency stay what they are.
//!
//! `WRITE_BEHIND_SOAK_SECONDS` says how long (default 6), `WRITE_BEHIND_RESTART_SECONDS` how often the database is restarted
//! (default every 2).

#![cfg(target_os = "linux")]

use std::fs;
use std::time::{Duration, Instant};

use test_servers::{PostgresServer, eventually};

use crate::database::Database;
use crate::http::Client;
use crate::kills::from_environment;
use crate::load::Load;
use crate::service::{Home, Service};

/// What the kernel says of the service, and how long an increment took in the middle.
#[derive(Debug, Clone, Copy)]
struct Sample {
    memory_kib: u64,
    threads: u64,
    files: u64,
    latency: Duration,
}

impl Sample {
    fn take(service: &Service, client: &Client) -> Self {
        let status = fs::read_to_string(format!("/proc/{}/status", service.pid())).unwrap();
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim_matches([':', '\t', ' ', 'k', 'B']).parse().unwrap()
        };
        let files = fs::read_dir(format!("/proc/{}/fd", service.pid())).unwrap().count() as u64;
        let mut latencies: Vec<_> = (0..101)
            .map(|_| {
                let begun = Instant::now();
                client.increment("probe", 1);
                begun.elapsed()
            })
            .collect();
        latencies.sort();
        Sample { memory_kib: number("VmRSS"), threads: number("Threads"), files, latency: latencies[50] }
    }
}

/// The median of one of a sample's figures.
fn median<T: Ord + Copy>(samples: &[Sample], figure: impl Fn(&Sample) -> T) -> T {
    let mut figures: Vec<_> = samples.iter().map(figure).collect();
    figures.sort();
    figures[figures.len() / 2]
}

#[test]
fn a_long_time_changes_nothing() {
    let Some(server) = PostgresServer::start().map(Box::new) else { return };
    let seconds = |name, otherwise| Duration::from_secs(from_environment(name).unwrap_or(otherwise));
    let (long, pause) = (seconds("WRITE_BEHIND_SOAK_SECONDS", 6), seconds("WRITE_BEHIND_RESTART_SECONDS", 2));
    let (home, url) = (Home::new(), server.url());
    let service = home.start(&["--database", &url, "--interval", "100ms", "--journal", "the.journal"]);
    let client = service.client();
    let load = Load::start(&[&service.url]);
    let (begun, mut samples) = (Instant::now(), Vec::new());
    while begun.elapsed() < long {
        std::thread::park_timeout(pause);
        server.control("restart");
        let flushed = client.stat("flushed");
        eventually("it flushes again", || (client.stat("flushed") > flushed).then_some(()));
        samples.push(Sample::take(&service, &client));
        eprintln!("{:?} {:?}", begun.elapsed(), samples[samples.len() - 1]);
    }
    let mut tally = load.stop();
    assert_eq!(tally.refused, Vec::<String>::new());
    assert!(tally.unanswered.is_empty());
    service.stop();
    tally.accepted.insert("probe".to_owned(), samples.len() as i64 * 101);
    assert_eq!(Database::Postgres(server).counters(), tally.accepted);

    // The first of it warms up. What is short says nothing of what is long.
    let [first, last] = [&samples[samples.len() / 4..samples.len() / 2], &samples[samples.len() / 4 * 3..]];
    if samples.len() >= 8 {
        let memory = [first, last].map(|part| median(part, |sample| sample.memory_kib));
        let threads = [first, last].map(|part| median(part, |sample| sample.threads));
        let files = [first, last].map(|part| median(part, |sample| sample.files));
        let latency = [first, last].map(|part| median(part, |sample| sample.latency));
        eprintln!("KiB {memory:?}, threads {threads:?}, files {files:?}, latency {latency:?}");
        assert!(memory[1] <= memory[0] + memory[0] / 10 + 1_024, "{memory:?} KiB");
        assert!(threads[1] <= threads[0] + 2 && files[1] <= files[0] + 4, "{threads:?}, {files:?}");
        assert!(latency[1] <= 2 * latency[0] + Duration::from_millis(1), "{latency:?}");
    }
    eprintln!("counted: {} seconds, {} restarts", begun.elapsed().as_secs(), samples.len());
}
