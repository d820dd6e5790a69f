//! The protocol under the kit: with a store that is right each insert counts once, and each step that a store
//! leaves out is found where it is meant to help.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime;
use write_behind::conformance::{Conformance, Delivery, Report, Scenario};
use write_behind::exactly_once::{AsyncStore, ExactlyOnce, Fate, OnThreads, Store, StoreError};
use write_behind::{
    BatchDataBuffer, BatchId, Buffer, FailureCause, FlushBatch, Retirement, RetryPolicy, Sum, SummingBuffer,
    Verdict, Writer,
};

use crate::ledger_store::{AsyncLedgerStore, Fault, LedgerStore};

const SEEDS: u64 = 10;

fn kit(store: &LedgerStore, seed: u64) -> Conformance<'_, String, Sum<i64>> {
    Conformance::new(|n| format!("key-{n}"), Sum).refuse(|key| store.refuse(key)).seed(seed).journaled()
}

/// Blocking and async.
fn judge(fault: Fault, seed: u64, scenarios: &[Scenario]) -> [Report; 2] {
    // Pruned at every opportunity, or the kit's batches would be too few to be pruned at all.
    let blocking = LedgerStore::new(fault);
    let report = kit(&blocking, seed)
        .only(scenarios.iter().copied())
        .run(|| ExactlyOnce::new(blocking.clone()).prune_every(1), || blocking.totals());
    let store = LedgerStore::new(fault);
    let kit = kit(&store, seed).only(scenarios.iter().copied());
    let make = || ExactlyOnce::new(AsyncLedgerStore(store.clone())).prune_every(1);
    let runtime = runtime::Builder::new_current_thread().build().expect("a runtime");
    [report, runtime.block_on(kit.run_async(make, async || store.totals()))]
}

#[track_caller]
fn acquits(fault: Fault) {
    for seed in 0..SEEDS {
        for report in judge(fault, seed, Scenario::ALL) {
            println!("{fault:?}: {report}");
            report.assert_exactly_once();
        }
    }
}

#[track_caller]
fn convicts(fault: Fault, scenario: Scenario, expected: impl Fn(&Delivery) -> bool) {
    for seed in 0..SEEDS {
        for report in judge(fault, seed, &[scenario]) {
            let delivery = report.delivery_in(scenario).expect("it ran");
            assert!(expected(delivery), "{fault:?}: {report}");
        }
    }
}

fn doubled(delivery: &Delivery) -> bool {
    matches!(delivery, Delivery::AtLeastOnce { .. })
}

/// An id has two contents: one is lost, and the other counts although it must not.
fn wrong(delivery: &Delivery) -> bool {
    doubled(delivery) || lost(delivery)
}

fn lost(delivery: &Delivery) -> bool {
    matches!(delivery, Delivery::Lost { .. })
}

#[test]
fn a_store_that_is_right_counts_each_insert_once() {
    acquits(Fault::Nothing);
}

#[test]
fn a_blocking_store_on_threads_of_a_runtime_counts_each_insert_once() {
    for seed in 0..SEEDS {
        let store = LedgerStore::new(Fault::Nothing);
        let threads = Arc::new(OnThreads::new(Arc::new(store.clone())));
        let make = || ExactlyOnce::new(Arc::clone(&threads)).prune_every(1);
        let read = async || {
            // Its turn comes when what was cancelled is over.
            let _ = AsyncStore::<String, Sum<i64>>::void(&*threads, BatchId::new(0, 1), 1).await;
            store.totals()
        };
        let runtime = runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(kit(&store, seed).run_async(make, read)).assert_exactly_once();
    }
}

#[test]
fn however_a_store_says_that_it_refuses_entries_each_insert_counts_once() {
    for right in [Fault::NamesTheRefused, Fault::RollsBack] {
        acquits(right);
    }
}

#[test]
fn connections_that_break_with_the_work_done_count_nothing_twice() {
    acquits(Fault::BreaksOff);
}

#[test]
fn whatever_becomes_of_what_is_given_up_each_insert_counts_once() {
    for right in [Fault::PutsBack, Fault::Takes] {
        acquits(right);
    }
}

#[test]
fn without_a_ledger_what_is_sent_again_counts_again() {
    for scenario in [Scenario::Twice, Scenario::AnswerLost, Scenario::Overtaken, Scenario::Restart] {
        convicts(Fault::NoLedger, scenario, doubled);
    }
}

#[test]
fn without_a_void_an_overtaken_attempt_counts_beside_the_halves() {
    convicts(Fault::NoVoid, Scenario::Void, doubled);
}

#[test]
fn a_void_after_the_split_comes_too_late() {
    convicts(Fault::VoidsAfterTheSplit, Scenario::Void, doubled);
}

#[test]
fn what_is_pruned_too_early_counts_twice() {
    convicts(Fault::PrunesTooEarly, Scenario::LongOpen, doubled);
    convicts(Fault::PrunesTooEarly, Scenario::Overtaken, doubled);
}

#[test]
fn what_arrives_when_its_record_is_pruned_needs_a_gate() {
    convicts(Fault::NoGate, Scenario::LateArrival, doubled);
}

#[test]
fn what_was_refused_of_a_batch_must_be_recorded_with_it() {
    convicts(Fault::ForgetsTheRefused, Scenario::Poison, lost);
}

#[test]
fn a_batch_that_is_rejected_must_leave_nothing_behind() {
    convicts(Fault::WritesHalf, Scenario::Poison, doubled);
}

#[test]
fn a_rejection_is_for_what_was_rolled_back_for_certain() {
    convicts(Fault::RejectsTooLightly, Scenario::Overtaken, doubled);
}

#[test]
fn what_a_replaced_process_begins_must_not_be_applied() {
    convicts(Fault::AppliesForTheReplaced, Scenario::Zombie, wrong);
    convicts(Fault::LowersTheEpoch, Scenario::Zombie, wrong);
}

#[test]
fn what_a_replaced_process_gives_up_is_its_successors() {
    convicts(Fault::VoidsForTheReplaced, Scenario::Zombie, doubled);
}

#[test]
fn the_end_of_a_replaced_process_is_not_that_of_its_instance() {
    convicts(Fault::RetiresForTheReplaced, Scenario::Zombie, doubled);
}

#[test]
fn who_registers_has_to_be_known_as_the_higher_epoch() {
    convicts(Fault::KeepsTheEpoch, Scenario::Zombie, |delivery| *delivery != Delivery::ExactlyOnce);
}

/// The first attempt of the first batch breaks off when its id has just been made void.
struct BreaksOffAfterTheVoid(LedgerStore);

impl Store<String, Sum<i64>> for BreaksOffAfterTheVoid {
    fn register(&self, writer: Writer) -> Result<u64, StoreError> {
        self.0.register(writer)
    }

    fn apply(&self, batch: &FlushBatch<String, Sum<i64>>) -> Result<Fate, StoreError> {
        if self.0.records().0 == 0 {
            self.0.void(batch.id(), batch.epoch())?;
            return Err("connection reset".into());
        }
        self.0.apply(batch)
    }

    fn void(&self, batch: BatchId, epoch: u64) -> Result<Fate, StoreError> {
        self.0.void(batch, epoch)
    }

    fn prune(&self, writer: Writer, settled_below: u64) -> Result<(), StoreError> {
        self.0.prune(writer, settled_below)
    }

    fn retire(&self, writer: Writer) -> Result<(), StoreError> {
        self.0.retire(writer)
    }
}

#[test]
fn a_single_key_whose_id_is_void_goes_on_under_another_one() {
    let store = LedgerStore::new(Fault::Nothing);
    let retry = RetryPolicy::new().delay(Duration::ZERO);
    let sink = ExactlyOnce::new(BreaksOffAfterTheVoid(store.clone()));
    let buffer: SummingBuffer<String, i64> = Buffer::builder().retry(retry).start(sink).expect("it starts");
    buffer.add("page", 7).expect("there is room");
    buffer.flush_and_wait("page", Duration::from_secs(60)).expect("it goes on");
    assert_eq!(store.totals()["page"], 7);
    buffer.shutdown(Duration::from_secs(60)).expect("nothing is left");
    assert_eq!(store.records(), (0, 0));
}

type Sink = ExactlyOnce<LedgerStore>;

/// A batch of two keys.
fn batch(sequence: u64, settled_below: u64) -> FlushBatch<String, Sum<i64>> {
    let batch = FlushBatch::builder(7, sequence).settled_below(settled_below);
    batch.entry("a".into(), Sum(1), 1).entry("b".into(), Sum(2), 1).build()
}

#[test]
fn the_ledger_is_pruned_and_in_the_end_empty() {
    let store = LedgerStore::new(Fault::Nothing);
    let sink = ExactlyOnce::new(store.clone()).prune_every(10);
    for sequence in 1..=1_000 {
        sink.handle_flush_batch(&batch(sequence, sequence)).unwrap();
        assert!(store.records().0 <= 11, "{:?}", store.records());
    }
    let retire = |instance, left| {
        let retirement = Retirement::new(instance, left);
        BatchDataBuffer::<String, Sum<i64>>::handle_retired(&sink, &retirement);
    };
    retire(8, 0);
    assert_eq!(store.records().1, 1, "another one's end is none of its business");
    retire(7, 0);
    assert_eq!(store.records(), (0, 0));
    assert_eq!(sink.housekeeping_failures(), 0);
}

#[test]
fn the_ledger_stays_while_somebody_may_ask_for_it() {
    let store = LedgerStore::new(Fault::Nothing);
    let sink = ExactlyOnce::new(store.clone());
    sink.handle_flush_batch(&batch(1, 1)).unwrap();
    BatchDataBuffer::<String, Sum<i64>>::handle_retired(&sink, &Retirement::new(7, 1));
    assert_eq!(store.records(), (1, 1));
}

#[test]
fn a_forgotten_instance_is_registered_again_only_for_what_was_not_sent_before() {
    let store = LedgerStore::new(Fault::Nothing);
    let sink = ExactlyOnce::new(store.clone());
    let sent = batch(1, 1);
    sink.handle_flush_batch(&sent).unwrap();
    store.forget_all();
    let error = sink.handle_flush_batch(&sent.next_attempt()).unwrap_err();
    assert!(error.is_unknown() && !error.gives_up(), "whether it was applied nobody knows: {error}");
    sink.handle_flush_batch(&batch(2, 1)).unwrap();
    assert_eq!(store.totals()["a"], 2);
}

/// What becomes of a key of the batch that is given up when an attempt may have been applied.
fn give_up(sink: &Sink, sent: &FlushBatch<String, Sum<i64>>, place: usize) -> Verdict<String, Sum<i64>> {
    let entry = &sent.entries()[place];
    let letter = write_behind::DeadLetter::builder(
        entry.key().clone(),
        *entry.data(),
        FailureCause::Panicked("gone".into()),
    );
    sink.handle_error(letter.batch(sent.id()).may_be_applied(true).build())
}

#[test]
fn what_turns_out_to_be_applied_is_not_given_up() {
    let store = LedgerStore::new(Fault::Takes);
    let sink = ExactlyOnce::new(store.clone());
    let sent = batch(1, 1);
    sink.handle_flush_batch(&sent).unwrap();
    assert!(matches!(give_up(&sink, &sent, 0), Verdict::Forget));
}

#[test]
fn what_is_given_up_can_count_no_more() {
    let store = LedgerStore::new(Fault::Nothing);
    let sink = ExactlyOnce::new(store.clone());
    sink.handle_flush_batch(&batch(1, 1)).unwrap();
    let sent = batch(2, 1);
    assert!(matches!(give_up(&sink, &sent, 0), Verdict::Keep(_)));
    let late = sink.handle_flush_batch(&sent.next_attempt()).unwrap_err();
    assert!(late.is_never_applied(), "{late}");
    assert_eq!(store.totals()["a"], 1);
}

#[test]
fn entries_that_the_store_refuses_are_given_up_and_named_again_when_asked_again() {
    let store = LedgerStore::new(Fault::NamesTheRefused);
    let sink = ExactlyOnce::new(store.clone());
    let sent = batch(1, 1);
    store.refuse(Some(&"b".to_owned()));
    let first = sink.handle_flush_batch(&sent).unwrap_err();
    store.refuse(None);
    let second = sink.handle_flush_batch(&sent.next_attempt()).unwrap_err();
    for error in [first, second] {
        assert_eq!(error.failed_entries(), [1]);
        assert!(error.gives_up() && error.is_never_applied(), "{error}");
    }
    assert_eq!(store.totals().get("b"), None);
    assert_eq!(store.totals()["a"], 1);
}

fn of_epoch(sequence: u64, epoch: u64) -> FlushBatch<String, Sum<i64>> {
    FlushBatch::builder(7, sequence).epoch(epoch).entry("a".into(), Sum(1), 1).build()
}

#[test]
fn a_process_that_was_replaced_is_told_by_whom_and_keeps_its_batch_whole() {
    let store = LedgerStore::new(Fault::Takes);
    let (zombie, successor) = (ExactlyOnce::new(store.clone()), ExactlyOnce::new(store.clone()));
    zombie.handle_flush_batch(&of_epoch(1, 1)).unwrap();
    successor.handle_flush_batch(&of_epoch(2, 3)).unwrap();
    let error = zombie.handle_flush_batch(&of_epoch(3, 1)).unwrap_err();
    assert!(error.is_unknown() && !error.gives_up(), "{error}");
    assert_eq!(error.to_string(), "epoch 3 of instance 0000000000000007 has taken over");
    // Also what it has not sent, and what it has seen fail for certain.
    for in_doubt in [true, false] {
        let letter = write_behind::DeadLetter::builder("a".into(), Sum(1), FailureCause::Panicked("".into()));
        let letter = letter.batch(BatchId::new(7, 4)).may_be_applied(in_doubt).build();
        assert!(
            matches!(zombie.handle_error(letter), Verdict::Keep(kept) if kept.may_be_applied() == in_doubt)
        );
    }
    BatchDataBuffer::<String, Sum<i64>>::handle_retired(&zombie, &Retirement::new(7, 0));
    successor.handle_flush_batch(&of_epoch(3, 3)).unwrap();
    assert_eq!(store.totals()["a"], 3);
}

#[test]
fn what_was_in_doubt_when_its_process_was_replaced_is_not_given_up_by_it() {
    let store = LedgerStore::new(Fault::Takes);
    let (zombie, successor) = (ExactlyOnce::new(store.clone()), ExactlyOnce::new(store.clone()));
    zombie.handle_flush_batch(&of_epoch(1, 1)).unwrap();
    successor.handle_flush_batch(&of_epoch(2, 2)).unwrap();
    let sent = of_epoch(3, 1);
    assert!(matches!(give_up(&zombie, &sent, 0), Verdict::Keep(kept) if kept.may_be_applied()));
    successor.handle_flush_batch(&of_epoch(3, 2)).unwrap();
    assert_eq!(store.totals()["a"], 3);
}

#[test]
fn who_was_replaced_before_it_began_is_told_when_it_registers() {
    let store = LedgerStore::new(Fault::Nothing);
    let (zombie, successor) = (ExactlyOnce::new(store.clone()), ExactlyOnce::new(store.clone()));
    successor.register::<String, Sum<i64>>(Writer::new(7, 2)).unwrap();
    let refused = zombie.register::<String, Sum<i64>>(Writer::new(7, 1)).unwrap_err();
    assert_eq!(refused.to_string(), "epoch 2 of instance 0000000000000007 has taken over");
    assert_eq!(store.seven(), (2, 0));
}

#[test]
fn one_sink_may_serve_a_process_and_its_successor() {
    let store = LedgerStore::new(Fault::Takes);
    let sink = ExactlyOnce::new(store.clone()).prune_every(1);
    sink.handle_flush_batch(&of_epoch(1, 1)).unwrap();
    sink.handle_flush_batch(&of_epoch(2, 2)).unwrap();
    assert!(sink.handle_flush_batch(&of_epoch(3, 1)).is_err());
    BatchDataBuffer::<String, Sum<i64>>::handle_retired(&sink, &Retirement::new(7, 0));
    sink.handle_flush_batch(&of_epoch(3, 2)).unwrap();
    assert_eq!(store.records().1, 1);
    BatchDataBuffer::<String, Sum<i64>>::handle_retired(&sink, &Retirement::new(7, 0).in_epoch(2));
    assert_eq!((store.totals()["a"], store.records()), (3, (0, 0)));
}

#[test]
fn what_was_started_again_and_had_nothing_to_send_still_retires() {
    let store = LedgerStore::new(Fault::Nothing);
    let before = ExactlyOnce::new(store.clone());
    before.handle_flush_batch(&of_epoch(1, 1)).unwrap();
    let after = ExactlyOnce::new(store.clone());
    BatchDataBuffer::<String, Sum<i64>>::handle_retired(&after, &Retirement::new(7, 0).in_epoch(2));
    assert_eq!(store.records(), (0, 0));
}

#[test]
fn a_ledger_that_was_restored_from_before_the_last_start_is_told_of_it_again() {
    let store = LedgerStore::new(Fault::Nothing);
    let sink = ExactlyOnce::new(store.clone());
    sink.handle_flush_batch(&of_epoch(1, 2)).unwrap();
    store.forget_all();
    Store::<String, Sum<i64>>::register(&store, Writer::new(7, 1)).unwrap();
    sink.handle_flush_batch(&of_epoch(2, 2)).unwrap();
    assert_eq!(store.seven().0, 2);
}
