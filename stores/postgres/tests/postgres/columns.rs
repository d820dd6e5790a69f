//! Keys and aggregates of several columns.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use write_behind::exactly_once::ExactlyOnce;
use write_behind::{Buffer, Count, Last, Max, Min, Sum};
use write_behind_postgres::{PostgresStore, Sums};

use crate::database::{Database, LONG};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_flushed_again_is_merged_as_the_aggregate_does_it() {
    type Key = (Arc<str>, SystemTime);
    type Summary = (Count<i32>, Sum<i32>, Min<i32>, Max<i32>, Last<i32>);
    let Some(database) = Database::new().await else { return };
    let sums = Sums::<Key, Summary>::new("traffic").key("account").key("minute");
    let sums = sums.value("n").value("total").value("least").value("most").value("latest");
    let store = PostgresStore::connect(database.config(), sums).await.unwrap();
    let buffer = Buffer::builder().start_async(ExactlyOnce::new(store)).unwrap();
    let minute = SystemTime::UNIX_EPOCH + Duration::from_secs(120);
    for items in [[5, i32::MAX - 9], [2, 7], [-1, 8]] {
        for item in items {
            buffer.insert((Arc::from("ada"), minute), item).unwrap();
        }
        buffer.flush_all_and_wait_async(LONG).await.unwrap();
    }
    buffer.shutdown_async(LONG).await.unwrap();
    let query = "select account, minute, n, total, least, most, latest from traffic";
    let row = database.client.query_one(query, &[]).await.unwrap();
    assert_eq!((row.get(0), row.get(1)), ("ada", minute));
    assert_eq!((row.get::<_, i64>(2), row.get::<_, i64>(3)), (6, i64::from(i32::MAX) + 12), "sums are wide");
    assert_eq!((row.get(4), row.get(5), row.get(6)), (-1, i32::MAX - 9, 8));
}

#[tokio::test(flavor = "multi_thread")]
async fn integers_of_all_sizes_bytes_and_floats_are_stored() {
    type Key = (i16, u16, u32, bool, Vec<u8>, &'static str);
    let Some(database) = Database::new().await else { return };
    let sums = Sums::<Key, Sum<f64>>::new("t").key("a").key("b").key("c").key("d").key("e").key("f");
    let store = PostgresStore::connect(database.config(), sums.value("v")).await.unwrap();
    let buffer = Buffer::builder().start_async(ExactlyOnce::new(store)).unwrap();
    let key: Key = (-1, u16::MAX, u32::MAX, true, vec![0, 255], "f");
    for _ in 0..2 {
        buffer.insert(key.clone(), 0.5).unwrap();
        buffer.flush_all_and_wait_async(LONG).await.unwrap();
    }
    buffer.shutdown_async(LONG).await.unwrap();
    let row = database.client.query_one("select a, b, c, d, e, f, v from t", &[]).await.unwrap();
    assert_eq!(
        (row.get::<_, i16>(0), row.get::<_, i32>(1), row.get::<_, i64>(2)),
        (-1, 65_535, 4_294_967_295)
    );
    assert_eq!((row.get::<_, bool>(3), row.get::<_, &[u8]>(4), row.get(5)), (true, &[0, 255][..], "f"));
    assert_eq!(row.get::<_, f64>(6), 1.0);
}

#[cfg(all(feature = "uuid", feature = "chrono", feature = "time"))]
#[tokio::test(flavor = "multi_thread")]
async fn uuids_and_dates_are_keys() {
    type Key = (uuid::Uuid, chrono::NaiveDate, time::OffsetDateTime);
    let Some(database) = Database::new().await else { return };
    let sums = Sums::<Key, Sum<i64>>::new("days").key("id").key("day").key("at").value("n");
    let store = PostgresStore::connect(database.config(), sums).await.unwrap();
    let buffer = Buffer::builder().start_async(ExactlyOnce::new(store)).unwrap();
    let day = chrono::NaiveDate::from_ymd_opt(2024, 2, 29).unwrap();
    let key = (uuid::Uuid::from_u128(7), day, time::OffsetDateTime::UNIX_EPOCH);
    for _ in 0..2 {
        buffer.insert(key, 1).unwrap();
        buffer.flush_all_and_wait_async(LONG).await.unwrap();
    }
    buffer.shutdown_async(LONG).await.unwrap();
    let query = "select n from days where day = '2024-02-29' and at = 'epoch'
                 and id = '00000000-0000-0000-0000-000000000007'";
    assert_eq!(database.number(query).await, 2);
}
