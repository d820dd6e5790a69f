//! What is promised, line by line.

use std::time::Duration;

use write_behind::journal::{DurableError, Journal, SyncError};
use write_behind::{Buffer, BuildError, InsertErrorKind, ManualClock, Overflow, Sum};

use super::life::{INTERVAL, Life, Place, WINDOW, ms, size};
use super::store::{Database, Mood};

#[test]
fn what_was_acknowledged_as_durable_survives_and_counts_once() {
    let (place, database) = (Place::new(), Database::default());
    let life = place.begin(&database);
    life.buffer.add_durable(&1, 3).unwrap();
    life.buffer.add_durable(&1, 4).unwrap();
    life.buffer.insert_durable(2, 5).unwrap();
    let life = place.crash(life, &database);
    let recovered = life.recovered();
    assert_eq!((recovered.epoch, recovered.keys, recovered.inserts, recovered.batches), (2, 2, 3, 0));
    assert_eq!(life.buffer.total(&1), Some(7));
    life.end();
    assert_eq!(database.totals(), [(1, 7), (2, 5)].into());
}

#[test]
fn a_plain_insert_is_lost_only_within_the_window() {
    let (place, database) = (Place::new(), Database::default());
    let life = place.begin(&database);
    life.add(1, 1);
    life.pass(WINDOW);
    life.add(1, 10);
    life.pass(WINDOW - ms(1));
    let life = place.crash(life, &database);
    assert_eq!(life.buffer.total(&1), Some(1), "the second was not written yet");
    life.add(1, 100);
    life.pass(WINDOW);
    let life = place.crash(life, &database);
    assert_eq!(life.buffer.total(&1), Some(101));
}

#[test]
fn sync_covers_all_that_was_accepted_before() {
    let (place, database) = (Place::new(), Database::default());
    let life = place.begin(&database);
    (0..1_000).for_each(|key| life.add(key, 1));
    life.buffer.sync().unwrap();
    let life = place.crash(life, &database);
    assert_eq!(life.recovered().keys, 1_000);
}

#[test]
fn a_key_that_is_hit_often_is_written_once() {
    let (place, database) = (Place::new(), Database::default());
    let life = place.begin(&database);
    (0..100_000).for_each(|_| life.add(1, 1));
    life.pass(WINDOW);
    let before = size(&life.path);
    (0..100_000).for_each(|_| life.add(1, 1));
    life.pass(WINDOW);
    assert_eq!(size(&life.path), before);
    assert_eq!(life.buffer.stats().journal_commits, 2);
}

#[test]
fn a_batch_is_on_disk_before_it_is_sent_and_is_sent_again_as_it_was() {
    let (place, database) = (Place::new(), Database::default());
    let life = place.begin(&database);
    life.add(1, 1);
    database.be(Mood::LosesAnswers);
    life.pass(INTERVAL);
    assert_eq!(database.total(1), 1, "applied, and the answer was lost");
    life.add(1, 10);
    life.buffer.sync().unwrap();
    let life = place.crash(life, &database);
    let recovered = life.recovered();
    assert_eq!((recovered.batches, recovered.keys, recovered.inserts), (1, 2, 2));
    let count = life.buffer.count(&1);
    assert_eq!((count.pending, count.in_flight), (1, 1));
    database.be(Mood::Well);
    // It goes first, and at once.
    life.pass(Duration::ZERO);
    assert_eq!((life.buffer.stats().flushed, database.total(1)), (1, 1));
    life.pass(INTERVAL);
    assert_eq!(database.total(1), 11);
}

#[test]
fn recovered_data_waits_no_longer_than_an_interval() {
    let (place, database) = (Place::new(), Database::default());
    let life = place.begin(&database);
    life.buffer.add_durable(&1, 1).unwrap();
    let life = place.crash(life, &database);
    life.pass(INTERVAL - ms(1));
    assert_eq!(database.total(1), 0);
    life.pass(ms(1));
    assert_eq!(database.total(1), 1);
}

#[test]
fn identity_lasts() {
    let (place, database) = (Place::new(), Database::default());
    let mut life = place.begin(&database);
    let instance = life.buffer.instance();
    for round in 1..=5 {
        life.add(round, 1);
        life.pass(INTERVAL);
        // The ledger stays small, and nobody who is dead stays behind in it.
        let (fates, writers) = database.records();
        assert!(fates <= 2 && writers == 1, "{fates} fates, {writers} writers");
        life = place.crash(life, &database);
        assert_eq!((life.buffer.instance(), life.recovered().epoch), (instance, round + 1));
    }
    let path = life.end();
    let life = Life::begin(path, &database);
    assert_eq!((life.buffer.instance(), life.recovered().epoch), (instance, 7));
    // `Database` has seen that ids and `settled_below` never went back.
    assert_eq!(database.totals().values().sum::<i64>(), 5);
}

#[test]
fn a_journal_has_one_owner() {
    let (place, database) = (Place::new(), Database::default());
    let life = place.begin(&database);
    let second = Buffer::<u64, Sum<i64>>::builder()
        .journal(Journal::at(&life.path))
        .start_inline(|_: &u64, _: &Sum<i64>| Ok::<(), &str>(()), &ManualClock::new());
    let error = second.unwrap_err();
    assert!(matches!(error, BuildError::Journal(_)), "{error:?}");
    assert!(error.to_string().contains("in use"), "{error}");
    life.buffer.add_durable(&1, 1).unwrap();
}

#[test]
fn shutdown_leaves_what_it_could_not_deliver_for_the_next_start() {
    let (place, database) = (Place::new(), Database::default());
    let life = place.begin(&database);
    database.be(Mood::Away);
    (0..10).for_each(|key| life.add(key, 1));
    life.pass(INTERVAL);
    (5..15).for_each(|key| life.add(key, 1));
    life.buffer.shutdown(Duration::ZERO).unwrap();
    let stats = life.buffer.stats();
    assert_eq!((stats.journaled, stats.returned, stats.balance()), (20, 0, 0));
    let path = life.path.clone();
    drop(life);
    database.be(Mood::Well);
    let life = Life::begin(path, &database);
    assert_eq!(life.recovered().inserts, 20);
    life.end();
    assert_eq!(
        database.totals().into_values().collect::<Vec<_>>(),
        [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1]
    );
}

#[test]
fn a_file_is_small_again_after_a_clean_end() {
    let (place, database) = (Place::new(), Database::default());
    let life = place.begin(&database);
    let empty = size(&life.path);
    (0..50_000).for_each(|key| life.add(key, 1));
    life.buffer.sync().unwrap();
    assert!(size(&life.path) > 2 * empty);
    let path = life.end();
    assert!(size(&path) <= empty, "{} after {empty}", size(&path));
}

#[test]
fn what_was_removed_stays_removed() {
    let (place, database) = (Place::new(), Database::default());
    let life = place.begin(&database);
    life.buffer.add_durable(&1, 1).unwrap();
    assert_eq!(life.buffer.remove(&1).len(), 1);
    life.buffer.sync().unwrap();
    let life = place.crash(life, &database);
    assert_eq!(life.recovered().keys, 0);
}

#[test]
fn parts_of_a_split_batch_survive_and_the_whole_does_not_come_back() {
    let (place, database) = (Place::new(), Database::default());
    let life = place.begin(&database);
    (0..4).for_each(|key| life.add(key, 1));
    database.be(Mood::RollsBack);
    life.pass(INTERVAL);
    life.pass(ms(100));
    life.buffer.sync().unwrap();
    let life = place.crash(life, &database);
    assert!(life.recovered().batches >= 2, "{:?}", life.recovered());
    database.be(Mood::Well);
    life.end();
    assert_eq!(database.totals(), (0..4).map(|key| (key, 1)).collect());
}

#[test]
fn what_is_given_up_is_not_sent_after_a_crash() {
    let (place, database) = (Place::new(), Database::default());
    let life = place.begin(&database);
    (0..4).for_each(|key| life.add(key, 1));
    database.be(Mood::RefusesOddKeys);
    (0..100).for_each(|_| life.pass(ms(100)));
    assert_eq!(database.letters().len(), 2);
    let life = place.crash(life, &database);
    database.be(Mood::Well);
    life.end();
    assert_eq!(database.totals(), [(0, 1), (2, 1)].into());
    let letters =
        database.letters().iter().map(|(_, key, _)| *key).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(letters, [1, 3].into());
}

#[test]
fn generations_that_cannot_be_merged_survive_in_their_order() {
    let (place, database) = (Place::new(), Database::default());
    let life = place.begin(&database);
    database.be(Mood::Away);
    life.add(1, i64::MAX);
    life.add(1, 5);
    life.add(1, i64::MAX);
    life.buffer.sync().unwrap();
    // The first of them is in a batch already.
    let before = life.generations(1);
    assert_eq!(before, [i64::MAX, 5, i64::MAX]);
    let life = place.crash(life, &database);
    assert_eq!(life.generations(1), before);
    life.pass(INTERVAL);
    let life = place.crash(life, &database);
    assert_eq!(life.generations(1), before);
}

#[test]
fn a_zombie_applies_nothing_after_its_successor_took_over() {
    let (place, database) = (Place::new(), Database::default());
    let zombie = place.begin(&database);
    zombie.buffer.add_durable(&1, 1).unwrap();
    zombie.pass(INTERVAL);
    zombie.buffer.add_durable(&1, 10).unwrap();
    let life = place.succeed(&zombie, &database);
    life.add(2, 100);
    life.pass(INTERVAL);
    assert_eq!(database.totals(), [(1, 11), (2, 100)].into());
    // It does not know that it is one.
    zombie.add(1, 1_000);
    zombie.pass(INTERVAL);
    zombie.pass(INTERVAL);
    assert_eq!(database.totals(), [(1, 11), (2, 100)].into());
    assert_eq!(zombie.buffer.stats().flushed, 1);
    life.end();
    assert_eq!(database.letters(), [], "nor did it give anything up");
}

#[test]
fn what_would_be_shed_is_refused_to_those_who_want_it_durable() {
    let (place, database) = (Place::new(), Database::default());
    let life = place.begin_with(&database, |builder| builder.max_keys(1).overflow(Overflow::Shed));
    life.buffer.add_durable(&1, 1).unwrap();
    let error = life.buffer.add_durable(&2, 5).unwrap_err();
    let DurableError::Refused(refused) = error else { panic!("{error:?}") };
    assert_eq!((refused.kind, refused.into_rejected()), (InsertErrorKind::Full, 5));
    life.buffer.add(&2, 5).unwrap();
    assert_eq!(life.buffer.stats().shed, 1);
}

#[test]
fn a_buffer_without_a_journal_says_so() {
    let buffer: Buffer<u64, Sum<i64>> =
        Buffer::builder().start(|_: &u64, _: &Sum<i64>| Ok::<(), &str>(())).unwrap();
    assert!(matches!(buffer.sync(), Err(SyncError::NoJournal)));
    let error = buffer.add_durable(&1, 1).unwrap_err();
    assert!(matches!(error, DurableError::Unavailable { why: SyncError::NoJournal, rejected: 1 }));
    assert_eq!((buffer.stats().accepted, buffer.recovered()), (0, None), "nothing was done");
}
