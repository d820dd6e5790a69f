//! Totals that are exact while they are flushed.

use rusqlite::{OptionalExtension, Transaction};
use write_behind::exactly_once::{ExactlyOnce, Fate, Store, StoreError, read_exactly};
use write_behind::{BatchId, Buffer, FlushBatch, Sum, SummingBuffer, Writer};
use write_behind_sqlite::{Error, Ledger, SqliteStore};

use crate::file::{File, views};

fn total(step: &Transaction<'_>) -> Result<Option<i64>, Error> {
    let query = "select views from page_views where page = 'page'";
    Ok(step.query_row(query, (), |row| row.get(0)).optional()?)
}

#[test]
fn a_total_is_exact_while_it_is_flushed() {
    let (file, ledger) = (File::new(), Ledger::new().name("led\"ger"));
    let store = SqliteStore::open_with(file.path(), views(), ledger.clone()).unwrap();
    let buffer: SummingBuffer<String, i64> =
        Buffer::builder().flush_at_count(1).start(ExactlyOnce::new(store)).unwrap();
    let mut stored = std::collections::BTreeSet::new();
    for expected in 1..=500 {
        buffer.add("page", 1).unwrap();
        let exact = read_exactly(&buffer, "page", |batch| {
            Ok::<_, StoreError>(ledger.read(&file.connection, batch, total)?)
        });
        let exact = exact.unwrap();
        let waiting: i64 = exact.waiting.iter().map(|views| views.0).sum();
        assert_eq!(exact.stored.unwrap_or(0) + waiting, expected);
        stored.insert(exact.stored);
    }
    assert!(stored.len() > 1, "it was flushed meanwhile");
}

#[test]
fn what_the_ledger_has_of_a_batch_is_read_beside_the_value() {
    let file = File::new();
    let store = SqliteStore::open(file.path(), views()).unwrap();
    file.set_up_refusing("abort");
    file.refuse(Some(&"no".to_owned()));
    let read = |batch| Ledger::default().read(&file.connection, batch, total).unwrap();
    Store::<String, Sum<i64>>::register(&store, Writer::new(7, 1)).unwrap();
    let id = |sequence| Some(BatchId::new(7, sequence));
    assert_eq!((read(None).value, read(id(1)).fate), (None, None));
    let batch = |sequence| FlushBatch::builder(7, sequence).entry("page".to_owned(), Sum(1), 1);
    store.apply(&batch(1).build()).unwrap();
    store.apply(&batch(2).entry("no".to_owned(), Sum(1), 1).build()).unwrap();
    store.void(BatchId::new(7, 3), 1).unwrap();
    assert_eq!((read(id(1)).value, read(id(1)).fate), (Some(2), Some(Fate::Applied)));
    assert!(matches!(read(id(2)).fate, Some(Fate::AppliedExcept(refused)) if refused[0].place == 1));
    assert_eq!((read(id(3)).fate, read(id(4)).fate, read(None).fate), (Some(Fate::Void), None, None));
}

/// What the ledger says must be as old as the value.
#[test]
fn a_batch_that_is_applied_between_the_two_is_in_neither() {
    let file = File::new();
    let store = SqliteStore::open(file.path(), views()).unwrap();
    Store::<String, Sum<i64>>::register(&store, Writer::new(7, 1)).unwrap();
    let batch = FlushBatch::builder(7, 1).entry("page".to_owned(), Sum(1), 1).build();
    let reading = Ledger::default().read(&file.connection, Some(batch.id()), |step| {
        let before = total(step)?;
        store.apply(&batch).unwrap();
        Ok(before)
    });
    let reading = reading.unwrap();
    assert_eq!((reading.value, reading.fate), (None, None));
    let after = Ledger::default().read(&file.connection, Some(batch.id()), total).unwrap();
    assert_eq!((after.value, after.fate), (Some(1), Some(Fate::Applied)));
}
