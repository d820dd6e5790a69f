//! Totals that are exact while they are flushed.

use std::collections::BTreeSet;
use std::sync::Arc;

use redis::cmd;
use write_behind::exactly_once::{AsyncStore, ExactlyOnce, Fate, StoreError, read_exactly_async};
use write_behind::{BatchId, Buffer, FlushBatch, Sum, SummingBuffer, Writer};
use write_behind_redis::{HashSums, Ledger, RedisStore};

use crate::server::Redis;

async fn store(redis: &Redis) -> Arc<RedisStore<HashSums<String, Sum<i64>>>> {
    let ledger = Ledger::new().name("{shop}:ledger");
    Arc::new(RedisStore::connect_with(redis.url(), HashSums::new("views"), ledger).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_total_is_exact_while_it_is_flushed() {
    let Some(redis) = Redis::start() else { return };
    let store = store(&redis).await;
    let sink = ExactlyOnce::new(Arc::clone(&store));
    let buffer: SummingBuffer<String, i64> = Buffer::builder().flush_at_count(1).start_async(sink).unwrap();
    let (question, mut stored) = (cmd("HGET").arg("views").arg("page").to_owned(), BTreeSet::new());
    for expected in 1..=500 {
        buffer.add("page", 1).unwrap();
        let exact = read_exactly_async(&buffer, "page", async |batch| {
            Ok::<_, StoreError>(store.read::<Option<i64>>(&question, batch).await?)
        });
        let exact = exact.await.unwrap();
        let waiting: i64 = exact.waiting.iter().map(|views| views.0).sum();
        assert_eq!(exact.stored.unwrap_or(0) + waiting, expected);
        stored.insert(exact.stored);
    }
    assert!(stored.len() > 1, "it was flushed meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_ledger_has_of_a_batch_is_read_beside_the_answer() {
    let Some(redis) = Redis::start() else { return };
    let store = store(&redis).await;
    AsyncStore::<String, Sum<i64>>::register(&*store, Writer::new(7, 1)).await.unwrap();
    let batch = |sequence| FlushBatch::builder(7, sequence).entry("page".to_owned(), Sum(1), 1);
    let question = cmd("HMGET").arg("views").arg("page").arg("no").to_owned();
    let read = async |sequence: Option<u64>| {
        let batch = sequence.map(|sequence| BatchId::new(7, sequence));
        store.read::<(Option<i64>, Option<String>)>(&question, batch).await.unwrap()
    };
    assert_eq!((read(None).await.value, read(Some(1)).await.fate), ((None, None), None));
    store.apply(&batch(1).build()).await.unwrap();
    redis.ask(|redis| cmd("HSET").arg("views").arg("no").arg("number").exec(redis));
    store.apply(&batch(2).entry("no".to_owned(), Sum(1), 1).build()).await.unwrap();
    store.void(BatchId::new(7, 3), 1).await.unwrap();
    let first = read(Some(1)).await;
    assert_eq!((first.value, first.fate), ((Some(2), Some("number".to_owned())), Some(Fate::Applied)));
    assert!(matches!(read(Some(2)).await.fate, Some(Fate::AppliedExcept(refused)) if refused[0].place == 1));
    assert_eq!((read(Some(3)).await.fate, read(Some(4)).await.fate), (Some(Fate::Void), None));
}
