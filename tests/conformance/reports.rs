use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use write_behind::conformance::{Conformance, Delivery, Report, Scenario};
use write_behind::{Count, Sum};

use crate::court::{Kind, judge, judge_with, kit};
use crate::store::{Flaw, Store};

fn panics_with(report: &Report, assertion: impl Fn(&Report)) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(|| assertion(report))).err()?;
    panic.downcast_ref::<String>().cloned()
}

#[test]
fn assertions_panic_with_the_table() {
    let naive = judge(Kind::Batch, Flaw::NoLedger, 5);
    let text = panics_with(&naive, Report::assert_exactly_once).expect("it is convicted");
    assert!(text.contains("conformance, seed 5"), "{text}");
    assert!(text.contains("answer lost"), "{text}");
    assert_eq!(panics_with(&naive, Report::assert_at_least_once), None);
    let liar = judge(Kind::Batch, Flaw::SwallowsErrors, 5);
    assert!(panics_with(&liar, Report::assert_at_least_once).is_some());
}

#[test]
fn a_report_names_the_attempts_that_counted() {
    let store = Store::default();
    let kit = kit(&store).seed(5).only([Scenario::AnswerLost]);
    let report = judge_with(kit, &store, Kind::Batch, Flaw::NoLedger);
    let text = report.to_string();
    for words in
        ["was applied twice", "attempt 1, whose answer Ok was lost", "attempt 2, answered Ok", "advice"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for kind in [Kind::Key, Kind::AsyncBatch] {
        let [first, again, other] = [9, 9, 10].map(|seed| judge(kind, Flaw::NoLedger, seed).to_string());
        assert_eq!(first, again);
        assert_ne!(first, other);
    }
}

#[test]
fn a_scenario_is_the_same_alone_as_among_others() {
    let all = judge(Kind::Batch, Flaw::NoLedger, 4);
    let store = Store::default();
    let alone = judge_with(kit(&store).seed(4).only([Scenario::Storm]), &store, Kind::Batch, Flaw::NoLedger);
    assert_eq!(alone.scenarios().len(), 1);
    assert_eq!(all.delivery_in(Scenario::Storm), alone.delivery_in(Scenario::Storm));
    assert_eq!(alone.delivery_in(Scenario::Plain), None);
}

#[test]
fn nothing_run_is_nothing_proved() {
    let store = Store::default();
    let report = judge_with(kit(&store).only([]), &store, Kind::Key, Flaw::Nothing);
    assert!(panics_with(&report, Report::assert_exactly_once).is_some());
    let kit = Conformance::new(|n| format!("key-{n}"), Sum).only([Scenario::Cancelled, Scenario::Void]);
    let report = judge_with(kit, &store, Kind::Key, Flaw::Nothing);
    assert!(panics_with(&report, Report::assert_at_least_once).is_some(), "{report}");
}

#[test]
fn what_cannot_happen_is_left_out() {
    let store = Store::default();
    let kit = kit(&store).without(Scenario::LateArrival);
    let report = judge_with(kit, &store, Kind::Key, Flaw::NoGate);
    report.assert_exactly_once();
}

#[test]
fn keys_that_are_the_same_are_told() {
    let store = Store::default();
    let kit = Conformance::new(|n| format!("key-{}", n % 5), Sum).only([Scenario::Plain]);
    let report = judge_with(kit, &store, Kind::Key, Flaw::Nothing);
    assert!(report.to_string().contains("have the same key"), "{report}");
}

#[test]
fn a_panic_of_the_sink_is_an_unknown_outcome() {
    let totals = Mutex::new(HashMap::<u32, i64>::new());
    let totals: &'static Mutex<_> = Box::leak(Box::new(totals));
    let sink = |key: &u32, data: &Sum<i64>| {
        let mut totals = totals.lock().map_err(|_| "poisoned")?;
        *totals.entry(*key).or_default() += data.0;
        drop(totals);
        assert!(data.0 < 9, "too much");
        Ok::<(), &str>(())
    };
    let report = Conformance::new(|n| n, Sum).seed(1).run(|| sink, || totals.lock().unwrap().clone());
    let plain = report.delivery_in(Scenario::Plain);
    assert!(matches!(plain, Some(Delivery::AtLeastOnce { .. })), "sent again: {report}");
    assert!(report.to_string().contains("the callback panicked: too much"), "{report}");
}

#[test]
fn lists_and_counts_are_counted_too() {
    let totals = Mutex::new(HashMap::<u32, i64>::new());
    let totals: &'static Mutex<HashMap<u32, i64>> = Box::leak(Box::new(totals));
    let read = || totals.lock().unwrap().clone();
    let lists = |key: &u32, list: &Vec<u8>| {
        *totals.lock().map_err(|_| "poisoned")?.entry(*key).or_default() += list.len() as i64;
        Ok::<(), &str>(())
    };
    let kit = Conformance::new(|n| n, |inserts| vec![0_u8; inserts as usize]);
    kit.only([Scenario::Plain]).run(|| lists, read).assert_exactly_once();
    let counts = |key: &u32, count: &Count<u64>| {
        *totals.lock().map_err(|_| "poisoned")?.entry(*key).or_default() += count.value() as i64;
        Ok::<(), &str>(())
    };
    let count = |inserts: i64| {
        let mut count = <Count<u64> as write_behind::Aggregate>::start(0);
        (1..inserts).for_each(|_| write_behind::Aggregate::absorb(&mut count, 0));
        count
    };
    let kit = Conformance::new(|n| n + 1_000_000_000, count).only([Scenario::AnswerLost]);
    kit.run(|| counts, read).assert_at_least_once();
}
