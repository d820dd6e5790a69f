use write_behind::Sum;
use write_behind::conformance::{Conformance, Delivery, Scenario};

use crate::court::{BATCHES, KINDS, judge, judge_with, kit};
use crate::store::{Flaw, Store};

const SEEDS: u64 = 5;

#[test]
fn sinks_that_are_right_are_acquitted_whatever_they_answer_to_a_refusal() {
    for kind in KINDS {
        for flaw in [Flaw::Nothing, Flaw::SaysUnknown, Flaw::SaysNotApplied, Flaw::Requeues, Flaw::Forgets] {
            for seed in 0..SEEDS {
                let report = judge(kind, flaw, seed);
                println!("{kind:?}, {flaw:?}: {report}");
                report.assert_exactly_once();
            }
        }
    }
}

#[test]
fn a_sink_that_writes_the_others_and_names_the_failed_is_acquitted() {
    for kind in BATCHES {
        for seed in 0..SEEDS {
            judge(kind, Flaw::SaysEntries, seed).assert_exactly_once();
        }
    }
}

#[test]
fn every_scenario_runs_where_it_can() {
    for kind in KINDS {
        let report = judge(kind, Flaw::Nothing, 1);
        let ran: Vec<_> = report.scenarios().iter().filter(|report| report.calls() > 0).collect();
        let blocking = report.delivery_in(Scenario::Cancelled) != Some(&Delivery::ExactlyOnce);
        // Nobody has said that these sinks know of epochs.
        let zombie = matches!(report.delivery_in(Scenario::Zombie), Some(Delivery::NotRun { .. }));
        let left_out = usize::from(blocking) + usize::from(zombie);
        assert_eq!(ran.len() + left_out, Scenario::ALL.len(), "{report}");
    }
}

#[test]
fn a_key_that_is_refused_for_good_stands_in_for_a_storage_that_can_be_told() {
    for kind in KINDS {
        for (flaw, right) in [(Flaw::Nothing, true), (Flaw::SwallowsErrors, false)] {
            let store = Store::default();
            let kit = Conformance::new(|n| format!("key-{n}"), Sum).poison(|n| format!("poison-{n}")).seed(7);
            let report = judge_with(kit, &store, kind, flaw);
            let delivery = report.delivery_in(Scenario::Poison);
            assert_eq!(delivery == Some(&Delivery::ExactlyOnce), right, "{report}");
            assert!(matches!(report.delivery_in(Scenario::Void), Some(Delivery::NotRun { .. })));
        }
    }
}

#[test]
fn what_is_in_the_storage_already_does_no_harm() {
    let store = Store::default();
    for seed in [1, 2] {
        for kind in KINDS {
            let seed = seed + kind as u64 * 10;
            judge_with(kit(&store).seed(seed), &store, kind, Flaw::Nothing).assert_exactly_once();
        }
    }
}
