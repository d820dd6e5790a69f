//! What is given up goes to the file, and stays where it was if it cannot.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use write_behind::dead_letters::Burying;
use write_behind::{
    AsyncBatchDataBuffer, BatchDataBuffer, Buffer, DataBuffer, DeadLetter, FailureCause, FlushBatch,
    FlushContext, FlushError, Sum, SummingBuffer, Verdict,
};

use crate::ledger_store::{Fault, LedgerStore};
use crate::shelf::{LONG, Shelf};

#[test]
fn what_a_store_refuses_is_in_the_file_and_shutdown_has_nothing_left() {
    for fault in [Fault::Nothing, Fault::NamesTheRefused] {
        let (shelf, store) = (Shelf::new(), LedgerStore::new(fault));
        store.refuse(Some(&"b".to_owned()));
        let buffer: SummingBuffer<String, i64> = Buffer::builder()
            .retry(write_behind::RetryPolicy::new().delay(std::time::Duration::ZERO))
            .start(shelf.sink(&store))
            .unwrap();
        for page in ["a", "b", "b", "c"] {
            buffer.add(page, 2).unwrap();
        }
        buffer.shutdown(LONG).unwrap();
        let letters = shelf.letters();
        assert_eq!(letters.len(), 1);
        let letter = &letters[0];
        assert_eq!((&letter["key"], &letter["data"], &letter["count"]), (&"b".into(), &4.into(), &2.into()));
        assert_eq!((&letter["reason"], letter.get("in_doubt")), (&"forbidden".into(), None));
        assert_eq!(store.records(), (0, 0), "nobody asks for the batch any more");
    }
}

struct Kept;

impl DataBuffer<String, Sum<i64>> for Kept {
    fn handle_flush(&self, _: &String, _: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
        Err(FlushError::not_applied("closed for today").give_up())
    }
}

#[test]
fn what_cannot_be_written_is_kept() {
    let shelf = Shelf::new();
    let letters = shelf.open();
    let sink = Burying::new(Kept, Arc::clone(&letters));
    let buffer: SummingBuffer<String, i64> = Buffer::builder().start(sink).unwrap();
    shelf.burn();
    buffer.add("page", 7).unwrap();
    let left: Vec<_> = buffer.shutdown(LONG).unwrap_err().into_undelivered().into_iter().collect();
    assert_eq!((left.len(), left[0].data().0), (1, 7));
    assert_eq!((letters.written(), letters.failures()), (0, 1));
}

fn in_doubt(attempts: u32) -> DeadLetter<String, Sum<i64>> {
    let cause = FailureCause::Panicked("gone".into());
    DeadLetter::builder("page".to_owned(), Sum(7), cause).attempts(attempts).may_be_applied(true).build()
}

#[test]
fn what_is_in_doubt_is_kept_unless_it_is_asked_for() {
    let shelf = Shelf::new();
    let sink = Burying::new(Kept, shelf.open());
    assert!(matches!(sink.handle_error(in_doubt(1)), Verdict::Keep(_)));
    assert_eq!(shelf.text(), "");
    let sink = sink.also_in_doubt();
    assert!(matches!(sink.handle_error(in_doubt(1)), Verdict::Forget));
    assert_eq!(shelf.letters()[0]["in_doubt"], "0000000000000000-1");
}

#[test]
fn what_a_store_has_made_void_is_in_doubt_no_more() {
    let (shelf, store) = (Shelf::new(), LedgerStore::new(Fault::Nothing));
    let sink = shelf.sink(&store);
    assert!(matches!(sink.handle_error(in_doubt(1)), Verdict::Keep(_)), "the store knows nothing of it");
    let applied = FlushBatch::builder(0, 2).entry("page".to_owned(), Sum(1), 1).build();
    sink.handle_flush_batch(&applied).unwrap();
    assert!(matches!(sink.handle_error(in_doubt(2)), Verdict::Forget));
    let letters = shelf.letters();
    assert_eq!((letters.len(), letters[0].get("in_doubt")), (1, None));
}

#[test]
fn a_verdict_of_the_sinks_own_stands() {
    struct Requeues;
    impl DataBuffer<String, Sum<i64>> for Requeues {
        fn handle_flush(&self, _: &String, _: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
            Ok(())
        }
        fn handle_error(&self, letter: DeadLetter<String, Sum<i64>>) -> Verdict<String, Sum<i64>> {
            Verdict::Requeue(letter)
        }
    }
    let shelf = Shelf::new();
    let letter = DeadLetter::builder("page".to_owned(), Sum(7), FailureCause::Panicked("".into())).build();
    let sink = Burying::new(Requeues, shelf.open());
    assert!(matches!(sink.handle_error(letter), Verdict::Requeue(_)));
    assert_eq!(shelf.text(), "");
}

#[test]
fn half_a_line_of_somebody_who_was_killed_spoils_no_other() {
    let shelf = Shelf::new();
    let letters = shelf.open();
    fs::write(shelf.path(), "{\"id\":\"7-1\",\"key\":").unwrap();
    letters.add(&"page".to_owned(), &Sum(7), 1, "no time").unwrap();
    assert_eq!(shelf.letters().len(), 1);
    assert_eq!(shelf.text().lines().count(), 2);
}

#[test]
fn many_who_write_at_once_lose_nothing_and_have_ids_of_their_own() {
    let shelf = Shelf::new();
    let processes = [shelf.open(), shelf.open()];
    std::thread::scope(|scope| {
        for letters in processes.iter().flat_map(|letters| [letters, letters]) {
            scope.spawn(|| {
                for n in 0..25 {
                    letters.add(&format!("page-{n}"), &Sum(1), 1, "").unwrap();
                }
            });
        }
    });
    let ids = shelf.ids();
    assert_eq!((ids.len(), ids.iter().collect::<BTreeSet<_>>().len()), (100, 100));
}

struct AsyncKept;

impl AsyncBatchDataBuffer<String, Sum<i64>> for AsyncKept {
    async fn handle_flush_batch(&self, _: &FlushBatch<String, Sum<i64>>) -> Result<(), FlushError> {
        tokio::task::yield_now().await;
        Err(FlushError::not_applied("closed for today").give_up())
    }
}

#[tokio::test]
async fn async_sinks_bury_too() {
    let shelf = Shelf::new();
    let sink = Burying::new(AsyncKept, shelf.open());
    let buffer: SummingBuffer<String, i64> = Buffer::builder().start_async(sink).unwrap();
    buffer.add("page", 7).unwrap();
    buffer.shutdown_async(LONG).await.unwrap();
    assert_eq!(shelf.letters()[0]["reason"], "closed for today");
}
