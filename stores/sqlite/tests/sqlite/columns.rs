//! Keys and aggregates of several columns.

use std::sync::Arc;
use std::time::Duration;

use write_behind::exactly_once::ExactlyOnce;
use write_behind::{Buffer, Count, Last, Max, Min, Sum};
use write_behind_sqlite::{SqliteStore, Sums};

use crate::file::File;

const LONG: Duration = Duration::from_secs(600);

#[test]
fn what_is_flushed_again_is_merged_as_the_aggregate_does_it() {
    type Key = (Arc<str>, u32);
    type Summary = (Count<i64>, Sum<i64>, Min<i64>, Max<i64>, Last<i64>);
    let file = File::new();
    let sums = Sums::<Key, Summary>::new("traffic").key("account").key("minute");
    let sums = sums.value("n").value("total").value("least").value("most").value("latest");
    let store = SqliteStore::open(file.path(), sums).unwrap();
    let buffer = Buffer::builder().start(ExactlyOnce::new(store)).unwrap();
    for items in [[5, 9], [2, 7], [-1, 8]] {
        for item in items {
            buffer.insert((Arc::from("ada"), 7), item).unwrap();
        }
        buffer.flush_all_and_wait(LONG).unwrap();
    }
    buffer.shutdown(LONG).unwrap();
    let row = file.connection.query_row("select * from traffic", (), |row| {
        Ok((0..7).map(|column| row.get::<_, rusqlite::types::Value>(column).unwrap()).collect::<Vec<_>>())
    });
    let numbers = [7, 6, 30, -1, 9, 8].map(rusqlite::types::Value::Integer);
    let row = row.unwrap();
    assert_eq!((&row[0], &row[1..]), (&rusqlite::types::Value::Text("ada".into()), &numbers[..]));
}

#[test]
fn floats_and_wide_integers_are_stored_and_what_does_not_fit_is_given_up() {
    let file = File::new();
    let sums = Sums::<u64, Sum<f64>>::new("weights").key("parcel").value("weight");
    let store = SqliteStore::open(file.path(), sums).unwrap();
    let buffer = Buffer::builder().start(ExactlyOnce::new(store)).unwrap();
    for parcel in [7, u64::MAX, 7] {
        buffer.insert(parcel, 0.5).unwrap();
    }
    let left: Vec<_> = buffer.shutdown(LONG).unwrap_err().into_undelivered().into_iter().collect();
    assert_eq!(left.iter().map(|left| *left.key()).collect::<Vec<_>>(), [u64::MAX]);
    assert_eq!(file.number("select sum(weight) = 1.0 from weights"), 1);
}

#[cfg(all(feature = "uuid", feature = "chrono", feature = "time"))]
#[test]
fn uuids_and_dates_are_keys() {
    type Key = (uuid::Uuid, chrono::NaiveDate, time::OffsetDateTime);
    let file = File::new();
    let sums = Sums::<Key, Sum<i64>>::new("days").key("id").key("day").key("at").value("n");
    let store = SqliteStore::open(file.path(), sums).unwrap();
    let buffer = Buffer::builder().start(ExactlyOnce::new(store)).unwrap();
    let day = chrono::NaiveDate::from_ymd_opt(2024, 2, 29).unwrap();
    let key = (uuid::Uuid::from_u128(7), day, time::OffsetDateTime::UNIX_EPOCH);
    for _ in 0..2 {
        buffer.insert(key, 1).unwrap();
        buffer.flush_all_and_wait(LONG).unwrap();
    }
    buffer.shutdown(LONG).unwrap();
    assert_eq!(file.number("select n from days where day = '2024-02-29'"), 2);
}
