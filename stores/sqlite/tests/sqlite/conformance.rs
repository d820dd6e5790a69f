//! The kit judges the stores over a real file.

use rusqlite::{Transaction, params};
use write_behind::conformance::{Conformance, Report, Scenario};
use write_behind::exactly_once::{ExactlyOnce, Rejection};
use write_behind::{FlushBatch, Sum};
use write_behind_sqlite::{Error, SqliteStore, WriteBatch};

use crate::file::{File, views};

/// `WRITE_BEHIND_SEEDS` says how many there are (default 1).
fn seeds() -> std::ops::Range<u64> {
    let many = std::env::var("WRITE_BEHIND_SEEDS");
    0..many.map_or(1, |many| many.parse().expect("WRITE_BEHIND_SEEDS is a number"))
}

fn judge<W: WriteBatch<String, Sum<i64>>>(file: &File, seed: u64, write: impl Fn() -> W) -> Report {
    let make = || ExactlyOnce::new(SqliteStore::open(file.path(), write()).unwrap()).prune_every(4);
    Conformance::new(|n| format!("page-{n}"), Sum)
        .seed(seed)
        .refuse(|page| file.refuse(page))
        .journaled()
        .run(make, || file.totals("select page, views from page_views"))
}

#[test]
fn sums_count_each_insert_once_however_a_key_is_refused() {
    // Undoes a row, undoes what the statement did before it, and undoes everything.
    for raise in ["abort", "fail", "rollback"] {
        for seed in seeds() {
            let file = File::new();
            SqliteStore::open(file.path(), views()).unwrap();
            file.set_up_refusing(raise);
            let report = judge(&file, seed, views);
            println!("{raise}: {report}");
            report.assert_exactly_once();
        }
    }
}

/// Stops at the first key that is refused.
fn all_or_none(
    step: &Transaction<'_>,
    batch: &FlushBatch<String, Sum<i64>>,
) -> Result<Vec<Rejection>, Error> {
    for entry in batch.entries() {
        let upsert = "insert into page_views values (?1, ?2)
                      on conflict do update set views = views + excluded.views";
        step.prepare_cached(upsert)?.execute(params![entry.key(), entry.data().0])?;
    }
    Ok(Vec::new())
}

#[test]
fn sql_of_the_users_own_counts_each_insert_once() {
    for seed in seeds() {
        let file = File::new();
        SqliteStore::open(file.path(), views()).unwrap();
        file.set_up_refusing("abort");
        judge(&file, seed, || all_or_none).assert_exactly_once();
    }
}

#[test]
fn the_ledger_is_empty_in_the_end() {
    let file = File::new();
    SqliteStore::open(file.path(), views()).unwrap();
    let make = || ExactlyOnce::new(SqliteStore::open(file.path(), views()).unwrap());
    let kit = Conformance::new(|n| format!("page-{n}"), Sum::<i64>);
    let report = kit
        .only([Scenario::Plain, Scenario::AnswerLost])
        .run(make, || file.totals("select page, views from page_views"));
    report.assert_exactly_once();
    assert_eq!(file.number("select count(*) from write_behind_fates"), 0);
    assert_eq!(file.number("select count(*) from write_behind_writers"), 0);
}
