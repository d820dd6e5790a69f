//! What is in the file goes to the storage, once.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use write_behind::exactly_once::{ExactlyOnce, Store, StoreError};
use write_behind::{BatchDataBuffer, Buffer, FlushBatch, FlushError, Retirement, Sum};

use crate::ledger_store::{AsyncLedgerStore, Fault, LedgerStore};
use crate::shelf::Shelf;

fn bury(shelf: &Shelf, pages: &[&str]) {
    let letters = shelf.open();
    for page in pages {
        letters.add(&(*page).to_owned(), &Sum(1), 1, "no time was left").unwrap();
    }
}

#[test]
fn letters_are_applied_and_leave_the_file_and_the_ledger() {
    let (shelf, store) = (Shelf::new(), LedgerStore::new(Fault::Nothing));
    bury(&shelf, &["a", "b", "a"]);
    bury(&shelf, &["c"]);
    let replayed = shelf.open().replay(ExactlyOnce::new(store.clone())).unwrap();
    assert_eq!((replayed.applied, replayed.left, replayed.first_problem), (4, 0, None));
    assert_eq!((store.totals()["a"], store.totals()["b"], store.totals()["c"]), (2, 1, 1));
    assert_eq!((shelf.text().as_str(), store.records()), ("", (0, 0)));
    let again = shelf.open().replay(ExactlyOnce::new(store.clone())).unwrap();
    assert_eq!((again.applied, store.totals()["a"]), (0, 2));
}

/// Dies, as far as others can tell, when so many letters are applied.
struct Dying(ExactlyOnce<LedgerStore>, Mutex<usize>);

impl BatchDataBuffer<String, Sum<i64>> for Dying {
    fn handle_flush_batch(&self, batch: &FlushBatch<String, Sum<i64>>) -> Result<(), FlushError> {
        self.0.handle_flush_batch(batch)?;
        let mut left = self.1.lock().unwrap();
        *left -= 1;
        if *left == 0 { Err("killed".into()) } else { Ok(()) }
    }

    fn handle_retired(&self, retirement: &Retirement) {
        BatchDataBuffer::<String, Sum<i64>>::handle_retired(&self.0, retirement);
    }
}

#[test]
fn a_letter_whose_answer_was_lost_stays_and_counts_once() {
    for killed_before_the_file_is_written_anew in [false, true] {
        let (shelf, store) = (Shelf::new(), LedgerStore::new(Fault::Nothing));
        let sink = || ExactlyOnce::new(store.clone()).prune_every(1);
        bury(&shelf, &["a", "b", "c"]);
        let before = shelf.text();
        let replayed = shelf.open().replay(Dying(sink(), Mutex::new(2))).unwrap();
        assert_eq!((replayed.applied, replayed.left, replayed.stopped), (1, 2, true));
        assert_eq!(store.totals().values().sum::<i64>(), 2, "the storage was taken to be away");
        if killed_before_the_file_is_written_anew {
            fs::write(shelf.path(), before).unwrap();
        }
        let replayed = shelf.open().replay(sink()).unwrap();
        let expected = if killed_before_the_file_is_written_anew { 3 } else { 2 };
        assert_eq!((replayed.applied, replayed.left), (expected, 0));
        assert!(store.totals().values().all(|total| *total == 1), "{:?}", store.totals());
        assert_eq!(store.records(), (0, 0));
    }
}

#[test]
fn a_letter_that_is_refused_stays_until_it_is_not() {
    for fault in [Fault::Nothing, Fault::NamesTheRefused, Fault::RollsBack] {
        let (shelf, store) = (Shelf::new(), LedgerStore::new(fault));
        bury(&shelf, &["a", "b", "c"]);
        store.refuse(Some(&"b".to_owned()));
        for _ in 0..2 {
            let replayed = shelf.open().replay(ExactlyOnce::new(store.clone())).unwrap();
            assert_eq!((replayed.left, replayed.stopped), (1, false));
            assert!(replayed.first_problem.is_some());
        }
        let letters = shelf.letters();
        assert_eq!((letters.len(), &letters[0]["key"]), (1, &"b".into()));
        assert_eq!(letters[0]["reason"], "no time was left", "what was first said stays");
        store.refuse(None);
        let replayed = shelf.open().replay(ExactlyOnce::new(store.clone())).unwrap();
        assert_eq!((replayed.applied, replayed.left), (1, 0));
        assert!(store.totals().values().all(|total| *total == 1), "{:?}", store.totals());
    }
}

/// Nothing comes back from the storage but what `apply` does there.
struct Silent(LedgerStore, bool);

impl BatchDataBuffer<String, Sum<i64>> for Silent {
    fn handle_flush_batch(&self, batch: &FlushBatch<String, Sum<i64>>) -> Result<(), FlushError> {
        if self.1 {
            let _ = ExactlyOnce::new(self.0.clone()).handle_flush_batch(batch);
        } else {
            Store::<String, Sum<i64>>::register(&self.0, batch.writer())
                .map_err(|error| error.into_cause())?;
        }
        Err("the answer is lost".into())
    }
}

#[test]
fn what_shutdown_hands_back_in_doubt_is_asked_for_and_counts_once() {
    for was_applied in [false, true] {
        for refused in [None, Some("b".to_owned())] {
            let (shelf, store) = (Shelf::new(), LedgerStore::new(Fault::NamesTheRefused));
            store.refuse(refused.as_ref());
            let buffer = Buffer::builder().start(Silent(store.clone(), was_applied)).unwrap();
            for page in ["a", "b", "c"] {
                buffer.add(page, 1).unwrap();
            }
            let error = buffer.shutdown(Duration::from_millis(200)).unwrap_err();
            let left: Vec<_> = error.into_undelivered().into_iter().collect();
            shelf.open().add_undelivered(&left).unwrap();
            assert!(shelf.letters().iter().all(|letter| letter["in_doubt"].is_string()));
            let replay = || {
                let void = |batch| Store::<String, Sum<i64>>::void(&store, batch, 1);
                shelf.open().replay_resolving(ExactlyOnce::new(store.clone()), void).unwrap()
            };
            let (all, left) = (3, refused.iter().count());
            let replayed = replay();
            let had_been = if was_applied { all - left } else { 0 };
            assert_eq!((replayed.had_been, replayed.left), (had_been, left), "{replayed:?}");
            assert_eq!(replayed.applied, all - left - had_been);
            store.refuse(None);
            assert_eq!((replay().applied, replay().left), (left, 0));
            assert!(store.totals().len() == 3 && store.totals().values().all(|total| *total == 1));
        }
    }
}

#[test]
fn a_doubt_that_the_store_cannot_resolve_stays() {
    let (shelf, store) = (Shelf::new(), LedgerStore::new(Fault::Nothing));
    bury(&shelf, &["a", "b"]);
    let ids = shelf.ids();
    let doubtful =
        shelf.text().replacen("\"at\"", "\"in_doubt\":\"00000000000000ff-1\",\"place\":0,\"at\"", 1);
    fs::write(shelf.path(), doubtful).unwrap();
    let void = |batch| Store::<String, Sum<i64>>::void(&store, batch, 1);
    let replayed = shelf.open().replay_resolving(ExactlyOnce::new(store.clone()), void).unwrap();
    assert_eq!((replayed.applied, replayed.left, replayed.stopped), (1, 1, false));
    assert!(replayed.first_problem.unwrap().contains("00000000000000ff-1"));
    assert_eq!((shelf.ids(), store.totals().get("a")), (ids[..1].to_vec(), None));
    let away = |_| Err(StoreError::unknown("away"));
    let replayed = shelf.open().replay_resolving(ExactlyOnce::new(store.clone()), away).unwrap();
    assert_eq!((replayed.applied, replayed.left, replayed.stopped), (0, 1, true));
}

#[test]
fn lines_that_make_no_sense_stay_as_they_are() {
    let (shelf, store) = (Shelf::new(), LedgerStore::new(Fault::Nothing));
    bury(&shelf, &["a"]);
    let strange =
        "{\"id\":\"no id\",\"key\":\"x\",\"data\":1,\"count\":1,\"reason\":\"\",\"at\":0}\nnonsense\n";
    fs::write(shelf.path(), format!("{strange}{}", shelf.text())).unwrap();
    let replayed = shelf.open().replay(ExactlyOnce::new(store.clone())).unwrap();
    assert_eq!((replayed.applied, replayed.left), (1, 2));
    assert_eq!(replayed.first_problem.as_deref(), Some("\"no id\" is no id of a batch"));
    assert_eq!(shelf.text(), strange);
}

#[test]
fn letters_get_ids_of_a_new_instance_when_others_have_been_replayed() {
    let (shelf, store) = (Shelf::new(), LedgerStore::new(Fault::Nothing));
    let living = shelf.open();
    let add = || {
        living.add(&"a".to_owned(), &Sum(1), 1, "").unwrap();
        shelf.ids().pop().unwrap()
    };
    let (first, second) = (add(), add());
    let instance = |id: &str| id.split_once('-').unwrap().0.to_owned();
    assert_eq!(instance(&first), instance(&second));
    shelf.open().replay(ExactlyOnce::new(store.clone())).unwrap();
    assert_ne!(instance(&add()), instance(&first), "that one has retired");
    living.replay(ExactlyOnce::new(store.clone())).unwrap();
    assert_eq!((store.totals()["a"], store.records()), (3, (0, 0)));
}

#[tokio::test]
async fn async_sinks_take_letters_too_and_may_be_cancelled() {
    let (shelf, store) = (Shelf::new(), LedgerStore::new(Fault::Nothing));
    bury(&shelf, &["a", "b"]);
    let sink = || ExactlyOnce::new(AsyncLedgerStore(store.clone()));
    for polls in 1..20 {
        let letters = shelf.open();
        let mut replay = Box::pin(letters.replay_async(sink()));
        for _ in 0..polls {
            if futures_poll(&mut replay).await {
                break;
            }
        }
    }
    let left = shelf.open().replay_async(sink()).await.unwrap();
    assert_eq!((left.left, shelf.text().as_str()), (0, ""));
    assert!(store.totals().values().all(|total| *total == 1), "{:?}", store.totals());
    assert_eq!(store.totals().len(), 2);
}

/// Polls once. Whether it is done.
async fn futures_poll<F: Future>(future: &mut std::pin::Pin<Box<F>>) -> bool {
    std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context).is_ready())).await
}

#[test]
fn what_is_buried_while_others_replay_is_neither_lost_nor_doubled() {
    const LETTERS: usize = 200;
    let (shelf, store) = (Shelf::new(), LedgerStore::new(Fault::Nothing));
    let replay = || shelf.open().replay(ExactlyOnce::new(store.clone())).unwrap().applied;
    let mut applied = 0;
    std::thread::scope(|scope| {
        let burying = scope.spawn(|| {
            let letters = shelf.open();
            for n in 0..LETTERS {
                letters.add(&format!("page-{n}"), &Sum(1), 1, "").unwrap();
            }
        });
        while !burying.is_finished() {
            applied += replay();
        }
    });
    applied += replay();
    assert_eq!((applied, store.totals().len()), (LETTERS, LETTERS));
    assert!(store.totals().values().all(|total| *total == 1), "{:?}", store.totals());
    assert_eq!(store.records(), (0, 0));
}

#[test]
fn any_sink_takes_letters() {
    let shelf = Shelf::new();
    bury(&shelf, &["a", "b"]);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = {
        let seen = Arc::clone(&seen);
        move |page: &String, views: &Sum<i64>| {
            seen.lock().unwrap().push((page.clone(), views.0));
            Ok::<(), std::io::Error>(())
        }
    };
    assert_eq!(shelf.open().replay(sink).unwrap().applied, 2);
    assert_eq!(*seen.lock().unwrap(), [("a".to_owned(), 1), ("b".to_owned(), 1)]);
}
