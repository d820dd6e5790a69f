//! Signals: nothing that was accepted is lost.

use std::collections::{BTreeMap, BTreeSet};

use test_servers::eventually;

use crate::database::{Database, with_each_database};
use crate::load::Load;
use crate::service::Home;

/// What some of the values can add up to.
fn sums(values: &[i64]) -> BTreeSet<i64> {
    values
        .iter()
        .fold(BTreeSet::from([0]), |sums, value| sums.iter().flat_map(|sum| [*sum, sum + value]).collect())
}

#[test]
fn signals_during_load_lose_nothing() {
    with_each_database(|home, database| {
        let url = database.url();
        let mut expected = BTreeMap::<String, i64>::new();
        for (signal, interval) in [("TERM", "20ms"), ("INT", "1h")] {
            let mut service = home.start(&["--database", &url, "--interval", interval]);
            let client = service.client();
            let load = Load::start(&[&service.url]);
            eventually("there is load", || (client.stat("accepted") > 2_000).then_some(()));
            service.signal(signal);
            let (code, errors) = service.wait();
            assert_eq!(code, Some(0), "{errors}");
            let tally = load.stop();
            for (key, value) in tally.accepted {
                *expected.entry(key).or_default() += value;
            }
            let counters = database.counters();
            for key in expected.keys().chain(counters.keys()) {
                let [stored, accepted] = [&counters, &expected].map(|all| all.get(key).copied().unwrap_or(0));
                let unanswered = tally.unanswered.get(key).map_or(&[][..], Vec::as_slice);
                assert!(
                    sums(unanswered).contains(&(stored - accepted)),
                    "{key}: {accepted} was accepted, {stored} is stored, no answer for {unanswered:?}"
                );
            }
            expected = counters;
        }
    });
}

#[test]
fn without_time_to_drain_the_rest_is_in_the_dead_letters() {
    let home = Home::new();
    let mut service = home.start(&["--interval", "1h", "--shutdown-within", "0s"]);
    service.client().increment("k", 7);
    service.signal("TERM");
    let (code, errors) = service.wait();
    assert_eq!(code, Some(1), "{errors}");
    assert_eq!(home.dead_letters().len(), 1);
    home.start(&[]).stop();
    assert_eq!(Database::sqlite(&home).counters()["k"], 7);
}

#[test]
fn being_killed_counts_nothing_twice_and_loses_only_what_was_pending() {
    with_each_database(|home, database| {
        let url = database.url();
        let service = home.start(&["--database", &url, "--interval", "1h", "--flush-at-count", "2"]);
        let client = service.client();
        client.increment("stored", 1);
        client.increment("stored", 1);
        client.increment("pending", 1);
        eventually("the one is stored", || (client.stat("flushed") == 2).then_some(()));
        service.kill();
        let service = home.start(&["--database", &url]);
        assert_eq!(service.client().total("stored"), Some(2));
        assert_eq!(service.client().total("pending"), None);
        service.stop();
    });
}
