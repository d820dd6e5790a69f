//! Processes that were replaced and do not know it: what they still ask of Redis, and when it gets there.

use redis::Commands;
use test_servers::{Proxy, Spoil};
use tokio::task::block_in_place;
use write_behind::exactly_once::{AsyncStore, Fate};
use write_behind::{BatchId, FlushBatch, Sum, Writer};
use write_behind_redis::{HashSums, RedisStore};

use crate::server::Redis;

const RECORD: &str = "write_behind:0000000000000007";

fn batch(sequence: u64, epoch: u64) -> FlushBatch<String, Sum<i64>> {
    FlushBatch::builder(7, sequence).epoch(epoch).entry("page".to_owned(), Sum(1), 1).build()
}

/// For calls that do not say for which keys.
fn of_views<S: AsyncStore<String, Sum<i64>>>(store: S) -> impl AsyncStore<String, Sum<i64>> {
    store
}

async fn store(port: u16) -> impl AsyncStore<String, Sum<i64>> {
    let url = format!("redis://127.0.0.1:{port}");
    of_views(RedisStore::connect(url, HashSums::new("views")).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_was_held_back_until_another_process_took_over_does_nothing() {
    let Some(redis) = Redis::start() else { return };
    let proxy = Proxy::start(redis.server.port());
    let (zombie, successor) = (store(proxy.port()).await, store(redis.server.port()).await);
    assert_eq!(zombie.register(Writer::new(7, 1)).await.unwrap(), 1);
    // So that Redis knows the script.
    assert_eq!(zombie.apply(&batch(1, 1)).await.unwrap(), Fate::Applied);
    proxy.spoil_next(Spoil::Delay);
    zombie.apply(&batch(2, 1)).await.unwrap_err();
    assert_eq!(successor.register(Writer::new(7, 2)).await.unwrap(), 2);
    block_in_place(|| proxy.delayed().arrive());
    assert_eq!(redis.totals("views")["page"], 1);
    assert_eq!(successor.apply(&batch(2, 2)).await.unwrap(), Fate::Applied);
    assert_eq!(redis.totals("views")["page"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_replaced_changes_nothing() {
    let Some(redis) = Redis::start() else { return };
    let store = store(redis.server.port()).await;
    store.register(Writer::new(7, 1)).await.unwrap();
    store.apply(&batch(1, 1)).await.unwrap();
    assert_eq!(store.apply(&batch(1, 2)).await.unwrap(), Fate::Unregistered);
    assert_eq!(store.void(BatchId::new(7, 2), 2).await.unwrap(), Fate::Unregistered);
    assert_eq!(store.register(Writer::new(7, 2)).await.unwrap(), 2);
    let before = redis.hash(RECORD);
    assert_eq!(store.apply(&batch(2, 1)).await.unwrap(), Fate::Superseded { by: 2 });
    assert_eq!(store.void(BatchId::new(7, 3), 1).await.unwrap(), Fate::Superseded { by: 2 });
    store.prune(Writer::new(7, 1), 9).await.unwrap();
    store.retire(Writer::new(7, 1)).await.unwrap();
    assert_eq!(store.register(Writer::new(7, 1)).await.unwrap(), 2);
    assert_eq!(redis.hash(RECORD), before);
    assert_eq!(store.apply(&batch(1, 2)).await.unwrap(), Fate::Applied, "as it was recorded");
    assert_eq!(redis.totals("views")["page"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_come_back_does_not_expire() {
    let Some(redis) = Redis::start() else { return };
    let store = store(redis.server.port()).await;
    let expires = || redis.ask(|redis| redis.ttl::<_, i64>(RECORD)) > 0;
    store.register(Writer::new(7, 1)).await.unwrap();
    store.apply(&batch(1, 1)).await.unwrap();
    store.prune(Writer::new(7, 1), 2).await.unwrap();
    assert!(expires());
    store.register(Writer::new(7, 2)).await.unwrap();
    assert!(!expires());
    store.apply(&batch(2, 2)).await.unwrap();
    store.void(BatchId::new(7, 3), 2).await.unwrap();
    store.prune(Writer::new(7, 2), 3).await.unwrap();
    assert!(!expires());
    store.retire(Writer::new(7, 2)).await.unwrap();
    assert_eq!(redis.records(), Vec::<String>::new());
}
