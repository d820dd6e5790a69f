//! Each sink has one flaw, and there is a scenario meant for it.

use write_behind::conformance::{Delivery, Scenario};

use crate::court::{ASYNC, BATCHES, KINDS, Kind, judge, judge_with, kit};
use crate::store::{Flaw, Store};

const SEEDS: u64 = 10;

#[track_caller]
fn convicts(kinds: &[Kind], flaw: Flaw, scenario: Scenario, expected: impl Fn(&Delivery) -> bool) {
    for &kind in kinds {
        for seed in 0..SEEDS {
            let store = Store::default();
            let report = judge_with(kit(&store).seed(seed).only([scenario]), &store, kind, flaw);
            let delivery = report.delivery_in(scenario).expect("it ran");
            assert!(expected(delivery), "{kind:?}, {flaw:?}, {scenario}: {report}");
            let found = report.scenarios().iter().find(|report| report.scenario() == scenario);
            assert!(found.is_some_and(|found| !found.findings().is_empty()), "it says why: {report}");
        }
    }
}

fn doubled(delivery: &Delivery) -> bool {
    matches!(delivery, Delivery::AtLeastOnce { .. })
}

fn lost(delivery: &Delivery) -> bool {
    matches!(delivery, Delivery::Lost { .. })
}

#[test]
fn without_a_ledger_all_that_is_sent_again_counts_again() {
    for scenario in [
        Scenario::Twice,
        Scenario::AnswerLost,
        Scenario::Overtaken,
        Scenario::LateArrival,
        Scenario::LongOpen,
        Scenario::Restart,
        Scenario::Instances,
        Scenario::Void,
        Scenario::Storm,
    ] {
        convicts(&KINDS, Flaw::NoLedger, scenario, doubled);
    }
    convicts(&ASYNC, Flaw::NoLedger, Scenario::Cancelled, doubled);
}

#[test]
fn a_sink_without_a_ledger_still_loses_nothing() {
    for kind in KINDS {
        let report = judge(kind, Flaw::NoLedger, 3);
        report.assert_at_least_once();
        for innocent in [Scenario::Plain, Scenario::OutOfOrder] {
            assert_eq!(report.delivery_in(innocent), Some(&Delivery::ExactlyOnce), "{report}");
        }
    }
}

#[test]
fn totals_that_are_overwritten_are_lost() {
    convicts(&KINDS, Flaw::Overwrites, Scenario::Plain, lost);
}

#[test]
fn a_sink_that_never_stores_anything_is_not_acquitted() {
    convicts(&KINDS, Flaw::AlwaysFails, Scenario::Plain, |delivery| {
        matches!(delivery, Delivery::Undelivered { .. })
    });
}

#[test]
fn an_error_that_is_swallowed_is_a_loss() {
    convicts(&KINDS, Flaw::SwallowsErrors, Scenario::Poison, lost);
}

#[test]
fn a_ledger_that_is_pruned_too_early_counts_twice_what_was_open_for_long() {
    convicts(&KINDS, Flaw::PrunesTooEarly, Scenario::LongOpen, doubled);
    convicts(&KINDS, Flaw::PrunesTooEarly, Scenario::Overtaken, doubled);
}

#[test]
fn what_arrives_when_its_record_is_pruned_needs_a_gate() {
    convicts(&KINDS, Flaw::NoGate, Scenario::LateArrival, doubled);
}

#[test]
fn the_highest_sequence_says_nothing_about_lower_ones() {
    convicts(&KINDS, Flaw::HighestOnly, Scenario::LongOpen, lost);
    convicts(&KINDS, Flaw::HighestOnly, Scenario::OutOfOrder, lost);
}

#[test]
fn a_ledger_in_memory_dies_with_its_process() {
    convicts(&KINDS, Flaw::InMemory, Scenario::Restart, doubled);
}

#[test]
fn a_ledger_without_the_instance_takes_another_ones_batches_for_applied() {
    convicts(&KINDS, Flaw::NoInstance, Scenario::Instances, lost);
}

#[test]
fn a_gate_for_all_instances_shuts_out_the_slower_one() {
    convicts(&KINDS, Flaw::OneGate, Scenario::Instances, lost);
}

#[test]
fn the_end_of_one_instance_is_not_that_of_all() {
    convicts(&KINDS, Flaw::RetiresAll, Scenario::Instances, doubled);
}

#[test]
fn never_applied_without_a_void_counts_twice() {
    convicts(&KINDS, Flaw::NoVoid, Scenario::Void, doubled);
}

#[test]
fn never_applied_of_what_was_applied_counts_twice() {
    convicts(&KINDS, Flaw::VoidsApplied, Scenario::Void, doubled);
}

#[test]
fn not_applied_of_what_was_half_applied_counts_twice() {
    convicts(&BATCHES, Flaw::WritesHalf, Scenario::Poison, doubled);
}

#[test]
fn entries_that_failed_must_fail_when_the_answer_was_lost_too() {
    convicts(&BATCHES, Flaw::ForgetsEntries, Scenario::Poison, lost);
}

#[test]
fn data_and_record_in_two_transactions_are_torn_apart_by_a_cancellation() {
    convicts(&ASYNC, Flaw::AddsThenRecords, Scenario::Cancelled, doubled);
    convicts(&ASYNC, Flaw::RecordsThenAdds, Scenario::Cancelled, lost);
}

#[test]
fn a_flaw_is_found_where_it_is_and_not_elsewhere() {
    for kind in KINDS {
        for (flaw, guilty) in [
            (Flaw::NoGate, vec![Scenario::LateArrival, Scenario::Storm]),
            (Flaw::InMemory, vec![Scenario::Restart, Scenario::Storm]),
            (Flaw::RetiresAll, vec![Scenario::Instances, Scenario::Storm]),
            (Flaw::NoVoid, vec![Scenario::Void, Scenario::Storm]),
            (Flaw::VoidsApplied, vec![Scenario::Void, Scenario::Storm]),
        ] {
            let report = judge(kind, flaw, 2);
            let wrong = report.scenarios().iter().filter(|report| !report.findings().is_empty());
            let elsewhere: Vec<_> = wrong.filter(|report| !guilty.contains(&report.scenario())).collect();
            assert!(elsewhere.is_empty(), "{kind:?}, {flaw:?}: {report}");
        }
    }
}

#[test]
fn a_storm_finds_by_itself_what_other_scenarios_are_meant_for() {
    for kind in KINDS {
        for flaw in [
            Flaw::SwallowsErrors,
            Flaw::PrunesTooEarly,
            Flaw::NoGate,
            Flaw::HighestOnly,
            Flaw::InMemory,
            Flaw::NoInstance,
            Flaw::NoVoid,
        ] {
            let found = (0..3 * SEEDS).any(|seed| {
                let store = Store::default();
                let kit = kit(&store).seed(seed).only([Scenario::Storm]);
                let report = judge_with(kit, &store, kind, flaw);
                report.delivery_in(Scenario::Storm) != Some(&Delivery::ExactlyOnce)
            });
            assert!(found, "{kind:?}, {flaw:?}");
        }
    }
}
