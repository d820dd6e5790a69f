//! Hashes of sums, and entries that are refused, in a running buffer.

use redis::Commands;
use write_behind::exactly_once::ExactlyOnce;
use write_behind::{Buffer, Count, Sum, SummingBuffer};
use write_behind_redis::{Error, HashSums, RedisStore};

use crate::server::{LONG, Redis};

#[tokio::test(flavor = "multi_thread")]
async fn several_values_are_several_hashes() {
    let Some(redis) = Redis::start() else { return };
    let sums = HashSums::<(String, u64), (Count<i64>, Sum<i64>)>::new("requests").and("bytes");
    let store = RedisStore::connect(redis.url(), sums).await.unwrap();
    let buffer = Buffer::builder().start_async(ExactlyOnce::new(store)).unwrap();
    for _ in 0..2 {
        for bytes in [500, -20] {
            buffer.insert(("ada:1".to_owned(), 7), bytes).unwrap();
        }
        buffer.flush_all_and_wait_async(LONG).await.unwrap();
    }
    buffer.shutdown_async(LONG).await.unwrap();
    assert_eq!(redis.totals("requests").into_iter().collect::<Vec<_>>(), [(r"ada\:1:7".to_owned(), 4)]);
    assert_eq!(redis.totals("bytes").into_iter().collect::<Vec<_>>(), [(r"ada\:1:7".to_owned(), 960)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sum_that_does_not_fit_is_refused_in_all_hashes_and_the_others_count() {
    let Some(redis) = Redis::start() else { return };
    redis.ask(|redis| redis.hset::<_, _, _, ()>("bytes", "full", i64::MAX));
    redis.ask(|redis| redis.hset::<_, _, _, ()>("requests", "full", 7));
    let sums = HashSums::<String, (Count<i64>, Sum<i64>)>::new("requests").and("bytes");
    let store = RedisStore::connect(redis.url(), sums).await.unwrap();
    let buffer = Buffer::builder().start_async(ExactlyOnce::new(store)).unwrap();
    for page in ["a", "full", "z"] {
        buffer.insert(page.to_owned(), 1).unwrap();
    }
    let left = buffer.shutdown_async(LONG).await.unwrap_err().into_undelivered();
    let left: Vec<_> = left.into_iter().collect();
    assert!(left.len() == 1 && left[0].key() == "full" && !left[0].may_be_applied());
    let totals = |name| redis.totals(name).into_values().collect::<Vec<_>>();
    assert_eq!((totals("requests"), totals("bytes")), (vec![1, 7, 1], vec![1, i64::MAX, 1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_type_leaves_nothing_behind_and_the_batch_comes_again() {
    let Some(redis) = Redis::start() else { return };
    redis.ask(|redis| redis.set::<_, _, ()>("bytes", "a text"));
    let sums = HashSums::<String, (Count<i64>, Sum<i64>)>::new("requests").and("bytes");
    let store = RedisStore::connect(redis.url(), sums).await.unwrap();
    let buffer = Buffer::builder().start_async(ExactlyOnce::new(store)).unwrap();
    for page in ["a", "b"] {
        buffer.insert(page.to_owned(), 1).unwrap();
    }
    buffer.flush_all();
    let failed = || (buffer.stats().failures > 0).then_some(());
    tokio::task::block_in_place(|| test_servers::eventually("it fails", failed));
    assert!(redis.totals("requests").is_empty());
    redis.ask(|redis| redis.del::<_, ()>("bytes"));
    buffer.shutdown_async(LONG).await.unwrap();
    assert_eq!(redis.totals("requests").into_values().collect::<Vec<_>>(), [1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn hashes_that_are_not_as_many_as_values_are_refused_at_once() {
    let Some(redis) = Redis::start() else { return };
    let sums = HashSums::<String, Sum<i64>>::new("a").and("b");
    let error = RedisStore::connect(redis.url(), sums).await.unwrap_err();
    assert!(matches!(error, Error::Definition(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_buffers_share_their_hashes() {
    let Some(redis) = Redis::start() else { return };
    let mut buffers: Vec<SummingBuffer<String, i64>> = Vec::new();
    for _ in 0..4 {
        let store = RedisStore::connect(redis.url(), HashSums::new("views")).await.unwrap();
        buffers.push(Buffer::builder().start_async(ExactlyOnce::new(store)).unwrap());
    }
    for round in 0..20 {
        for buffer in &buffers {
            for page in 0..50 {
                buffer.add(&format!("page-{}", (page + round) % 100), 1).unwrap();
            }
            buffer.flush_all();
        }
    }
    for buffer in buffers {
        buffer.shutdown_async(LONG).await.unwrap();
    }
    assert_eq!(redis.totals("views").values().sum::<i64>(), 4_000);
    assert_eq!(redis.records(), Vec::<String>::new());
}
