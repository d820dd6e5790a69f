//! The service is killed again and again under load, and goes on with what its journal has.
//!
//! `WRITE_BEHIND_KILLS` says how often (default 5), `WRITE_BEHIND_SEED` repeats the instants of a run, as far as clocks
//! and processes do.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use test_servers::eventually;

use crate::database::Database;
use crate::http::Client;
use crate::marks::{Account, HOT, Marks, Sent};
use crate::service::Home;

const CLIENTS: u64 = 8;
/// The journal's, and what its thread may be late by on a busy machine.
const WINDOW: Duration = Duration::from_millis(50);
const MARGIN: Duration = Duration::from_secs(1);

pub(crate) fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// Splitmix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub(crate) fn pass(&mut self, most_ms: u64) {
        std::thread::sleep(Duration::from_millis(self.below(most_ms)));
    }
}

/// Adds until the service is gone. Says when each answer came.
pub(crate) fn run(client: &Client, marks: &Marks, mut random: Random) -> (Sent, Vec<Instant>) {
    let (mut sent, mut answered) = (Sent::default(), Vec::new());
    loop {
        let mark = (random.below(4) > 0).then(|| marks.next());
        let (key, value) = mark.map_or((HOT.to_owned(), 1), |mark| (mark.key(), mark.value()));
        match (client.try_increment(&key, value), mark) {
            (Ok(answer), Some(mark)) if answer.status == 202 => {
                sent.acknowledged.push((mark, Duration::ZERO));
                answered.push(Instant::now());
            }
            (Ok(answer), None) if answer.status == 202 => sent.hot_acknowledged += 1,
            (other, mark) => {
                // An answer that says otherwise fails the test, whatever is stored.
                sent.refused.extend(other.ok().map(|answer| format!("{answer:?}")));
                mark.map_or_else(|| sent.hot_in_doubt += 1, |mark| sent.in_doubt.push(mark));
                return (sent, answered);
            }
        }
    }
}

/// One life of the service, from its start to its violent end.
fn live(home: &Home, options: &[&str], marks: &Arc<Marks>, random: &mut Random) -> Sent {
    // From hardly anything that waits to hardly anything that is written.
    let interval = ["5ms", "30ms", "150ms", "1h"][random.below(4) as usize];
    let options = &[options, &["--interval", interval]].concat();
    // One in four does not live to see a request, and may be killed while it reads its journal.
    if random.below(4) == 0 {
        home.start_and_kill(options, Duration::from_millis(random.below(150)));
        return Sent::default();
    }
    let service = home.start(options);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (client, marks, random) =
                (service.client(), Arc::clone(marks), Random(random.below(u64::MAX)));
            std::thread::spawn(move || run(&client, &marks, random))
        })
        .collect();
    random.pass(400);
    service.kill();
    let killed = Instant::now();
    let mut all = Sent::default();
    for client in clients {
        let (mut sent, answered) = client.join().unwrap();
        for ((_, before), at) in sent.acknowledged.iter_mut().zip(answered) {
            *before = killed.saturating_duration_since(at);
        }
        all.add(sent);
    }
    all
}

/// A service that is killed again and again.
pub(crate) struct Course<'a> {
    pub(crate) name: &'a str,
    pub(crate) home: &'a Home,
    pub(crate) options: &'a [&'a str],
    /// Waits until what was written has arrived.
    pub(crate) arrived: &'a dyn Fn(),
    /// What is stored.
    pub(crate) totals: &'a dyn Fn() -> BTreeMap<String, i64>,
}

impl Course<'_> {
    /// Kills, lets the last service write all that there is, and compares.
    pub(crate) fn run(&self) -> Account {
        let Course { name, home, .. } = self;
        let kills = from_environment("WRITE_BEHIND_KILLS").unwrap_or(5);
        let seed = from_environment("WRITE_BEHIND_SEED").unwrap_or_else(|| RandomState::new().hash_one(name));
        eprintln!("{name}: WRITE_BEHIND_SEED={seed}");
        let (begun, mut random) = (Instant::now(), Random(seed));
        let (marks, mut sent) = (Arc::<Marks>::default(), Sent::default());
        let options = [self.options, &["--journal", "the.journal"]].concat();
        for _ in 0..kills {
            sent.add(live(home, &options, &marks, &mut random));
        }
        let service = home.start(&[&options[..], &["--interval", "5ms"]].concat());
        let client = service.client();
        eventually("everything is written", || {
            (client.stat("pending") + client.stat("in_flight") == 0).then_some(())
        });
        (self.arrived)();
        service.stop();
        assert_eq!(home.dead_letters(), Vec::<String>::new());
        assert_eq!(sent.refused, Vec::<String>::new());
        let account = Account::new(&marks, &sent, &(self.totals)());
        eprintln!("{name}, counted: {kills} kills in {:?}, {account}", begun.elapsed());
        account
    }
}

/// Everything that was acknowledged is stored, and nothing more than once.
pub(crate) fn assert_exact(account: &Account) {
    assert!(account.is_exact(), "lost {:?}, doubled {:?}: {account}", account.lost, account.doubled);
}

fn with_database(name: &str, home: &Home, database: &Database, options: &[&str]) -> Account {
    let url = database.url();
    let options = &[&["--database", &url], options].concat();
    Course { name, home, options, arrived: &|| {}, totals: &|| database.counters() }.run()
}

#[test]
fn what_was_acknowledged_as_durable_counts_once_however_often_the_service_is_killed() {
    let home = Home::new();
    let database = Database::sqlite(&home);
    assert_exact(&with_database("sqlite", &home, &database, &["--ack", "durable"]));
}

#[test]
fn and_so_it_does_in_postgres() {
    let Some(database) = Database::postgres() else { return };
    assert_exact(&with_database("postgres", &Home::new(), &database, &["--ack", "durable"]));
}

#[test]
fn and_so_it_does_in_a_log_table() {
    let Some(database) = Database::postgres() else { return };
    let options = ["--sink", "log-table", "--ack", "durable"];
    assert_exact(&with_database("log table", &Home::new(), &database, &options));
}

#[test]
fn what_was_only_accepted_is_lost_only_if_it_came_just_before_a_kill() {
    let home = Home::new();
    let database = Database::sqlite(&home);
    let account = with_database("sqlite, accepted", &home, &database, &["--ack", "accepted"]);
    let oldest = account.lost.iter().map(|(_, before)| *before).max().unwrap_or_default();
    eprintln!("sqlite, accepted: what was lost had been accepted up to {oldest:?} before");
    assert!(oldest <= WINDOW + MARGIN, "{account}");
    assert_eq!(account.doubled, Vec::new(), "{account}");
    assert!(account.hot.0 <= account.hot.1, "{account}");
}
