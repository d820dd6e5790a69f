//! Processes that were replaced and do not know it: what they still ask of SQLite, and when it gets there.

use std::sync::Arc;
use std::thread;

use write_behind::exactly_once::{Fate, Store};
use write_behind::{BatchId, FlushBatch, Sum, Writer};
use write_behind_sqlite::SqliteStore;

use crate::file::{File, views};

type Batch = FlushBatch<String, Sum<i64>>;

fn batch(sequence: u64, epoch: u64) -> Batch {
    FlushBatch::builder(7, sequence).epoch(epoch).entry("page".to_owned(), Sum(1), 1).build()
}

/// For calls that do not say for which keys.
fn of_views<S: Store<String, Sum<i64>>>(store: S) -> impl Store<String, Sum<i64>> {
    store
}

fn store(file: &File) -> Arc<impl Store<String, Sum<i64>>> {
    Arc::new(of_views(SqliteStore::open(file.path(), views()).unwrap()))
}

#[test]
fn whoever_waits_for_another_process_that_takes_over_does_nothing() {
    let file = File::new();
    let zombie = store(&file);
    assert_eq!(zombie.register(Writer::new(7, 1)).unwrap(), 1);
    assert_eq!(zombie.apply(&batch(1, 1)).unwrap(), Fate::Applied);
    file.run("begin immediate; update write_behind_writers set epoch = 2");
    let held_back = thread::spawn({
        let zombie = Arc::clone(&zombie);
        move || {
            let applied = zombie.apply(&batch(2, 1)).unwrap();
            let voided = zombie.void(BatchId::new(7, 3), 1).unwrap();
            zombie.prune(Writer::new(7, 1), 9).unwrap();
            zombie.retire(Writer::new(7, 1)).unwrap();
            (applied, voided, zombie.register(Writer::new(7, 1)).unwrap())
        }
    });
    file.run("commit");
    let superseded = Fate::Superseded { by: 2 };
    assert_eq!(held_back.join().unwrap(), (superseded.clone(), superseded, 2));
    assert_eq!(file.number("select views from page_views"), 1);
    assert_eq!(file.number("select sum(sequence) from write_behind_fates"), 1);
    assert_eq!(file.number("select epoch - gate from write_behind_writers"), 2);
}

#[test]
fn an_epoch_that_the_ledger_has_not_heard_of_has_to_register() {
    let file = File::new();
    let store = store(&file);
    store.register(Writer::new(7, 1)).unwrap();
    store.apply(&batch(1, 1)).unwrap();
    assert_eq!(store.apply(&batch(1, 2)).unwrap(), Fate::Unregistered);
    assert_eq!(store.void(BatchId::new(7, 2), 2).unwrap(), Fate::Unregistered);
    assert_eq!(store.register(Writer::new(7, 2)).unwrap(), 2);
    assert_eq!(store.apply(&batch(1, 2)).unwrap(), Fate::Applied);
    assert_eq!(file.number("select views from page_views"), 1, "what is recorded stays recorded");
    store.retire(Writer::new(7, 2)).unwrap();
    assert_eq!(file.number("select count(*) from write_behind_fates"), 0);
}
