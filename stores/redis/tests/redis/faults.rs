//! Answers that are lost, servers that are killed, and what is left of the ledger.

use std::time::Duration;

use redis::Commands;
use tokio::task::block_in_place;
use write_behind::exactly_once::{AsyncStore, ExactlyOnce, Fate};
use write_behind::{BatchId, Buffer, FlushBatch, RetryPolicy, Sum, SummingBuffer, Writer};
use write_behind_redis::{Arguments, HashSums, Ledger, OwnScript, RedisStore};

use crate::server::{LONG, Redis};

fn start(store: RedisStore<HashSums<String, Sum<i64>>>) -> SummingBuffer<String, i64> {
    let quick = RetryPolicy::new().delay(Duration::from_millis(20)).cap(Duration::from_millis(100));
    Buffer::builder().retry(quick).start_async(ExactlyOnce::new(store).prune_every(8)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_are_exact_while_redis_is_killed_again_and_again() {
    const ROUNDS: i64 = 20;
    let Some(mut redis) = Redis::start() else { return };
    let store = RedisStore::connect(redis.url(), HashSums::new("views")).await.unwrap();
    assert_eq!(store.doubts().await.unwrap(), Vec::<String>::new());
    let buffer = start(store);
    for round in 0..ROUNDS {
        for page in 0..50 {
            buffer.add(&format!("page-{page}"), 1).unwrap();
        }
        buffer.flush_all();
        if round % 5 == 4 {
            block_in_place(|| redis.restart());
        }
    }
    buffer.shutdown_async(LONG).await.unwrap();
    let totals = redis.totals("views");
    assert!(totals.len() == 50 && totals.values().all(|views| *views == ROUNDS), "{totals:?}");
    assert_eq!(redis.records(), Vec::<String>::new(), "the ledger is empty in the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_stays_small_and_expires() {
    let Some(redis) = Redis::start() else { return };
    let ledger = Ledger::new().forget_after(Duration::from_secs(1_000));
    let store = RedisStore::connect_with(redis.url(), HashSums::new("views"), ledger).await.unwrap();
    let buffer = start(store);
    for _ in 0..100 {
        buffer.add("page", 1).unwrap();
        buffer.flush_all_and_wait_async(LONG).await.unwrap();
    }
    let [record] = &redis.records()[..] else { panic!("one instance") };
    let fields = redis.hash(record);
    assert!((3..=12).contains(&fields.len()), "{fields:?}");
    assert!(fields["gate"].parse::<u64>().unwrap() > 80, "{fields:?}");
    let seconds: i64 = redis.ask(|redis| redis.ttl(record));
    assert!((900..=1_000).contains(&seconds), "{seconds}");
    buffer.shutdown_async(LONG).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_in_doubt_can_be_asked_for() {
    let Some(redis) = Redis::start() else { return };
    let sums = HashSums::<String, Sum<i64>>::new("views");
    let store = RedisStore::connect(redis.url(), sums).await.unwrap();
    assert_eq!(store.void(BatchId::new(7, 5), 1).await.unwrap(), Fate::Unregistered);
    let fields = [("gate", "3"), ("epoch", "1"), ("4", "applied")];
    redis.ask(|redis| redis.hset_multiple::<_, _, _, ()>("write_behind:0000000000000007", &fields));
    assert_eq!(store.void(BatchId::new(7, 5), 1).await.unwrap(), Fate::Void);
    assert_eq!(store.void(BatchId::new(7, 5), 1).await.unwrap(), Fate::Void);
    assert_eq!(store.void(BatchId::new(7, 4), 1).await.unwrap(), Fate::Applied);
    assert_eq!(store.void(BatchId::new(7, 2), 1).await.unwrap(), Fate::Settled);
}

fn batch(sequence: u64) -> FlushBatch<String, Sum<i64>> {
    FlushBatch::builder(7, sequence).entry("page".to_owned(), Sum(1), 1).build()
}

/// For calls that do not say for which keys.
fn of_views<S: AsyncStore<String, Sum<i64>>>(store: S) -> impl AsyncStore<String, Sum<i64>> {
    store
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_void_settled_or_of_nobody_is_not_applied() {
    let Some(redis) = Redis::start() else { return };
    let store = of_views(RedisStore::connect(redis.url(), HashSums::new("views")).await.unwrap());
    assert_eq!(store.apply(&batch(1)).await.unwrap(), Fate::Unregistered);
    store.register(Writer::new(7, 1)).await.unwrap();
    for (sequence, fate) in [(1, Fate::Applied), (2, Fate::Applied), (3, Fate::Void)] {
        if fate == Fate::Void {
            store.void(BatchId::new(7, sequence), 1).await.unwrap();
        }
        assert_eq!(store.apply(&batch(sequence)).await.unwrap(), fate);
    }
    store.prune(Writer::new(7, 1), 3).await.unwrap();
    store.register(Writer::new(7, 1)).await.unwrap();
    assert_eq!(store.apply(&batch(2)).await.unwrap(), Fate::Settled);
    redis.ask(|redis| redis.persist::<_, ()>("write_behind:0000000000000007"));
    assert_eq!(store.apply(&batch(4)).await.unwrap(), Fate::Applied);
    assert!(redis.ask(|redis| redis.ttl::<_, i64>("write_behind:0000000000000007")) > 0);
    store.retire(Writer::new(7, 1)).await.unwrap();
    assert_eq!(store.apply(&batch(4)).await.unwrap(), Fate::Unregistered);
    assert_eq!(redis.totals("views")["page"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_lose_data_are_told() {
    let options = |port: u16| ["--port", &port.to_string(), "--save", ""].map(str::to_owned).into();
    let Some(redis) = Redis::start_with(options) else { return };
    let sums = HashSums::<String, Sum<i64>>::new("views");
    let store = RedisStore::connect(redis.url(), sums).await.unwrap();
    let doubts = store.doubts().await.unwrap();
    assert_eq!(doubts, ["appendonly is no, and not yes", "appendfsync is everysec, and not always"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_fails_is_run_again() {
    let Some(redis) = Redis::start() else { return };
    let code = "if redis.call('EXISTS', 'ready') == 0 then error('not ready', 0) end
                redis.call('INCRBY', keys[1], args[1])";
    let script = OwnScript::new(code, |batch: &FlushBatch<String, Sum<i64>>| {
        let total: i64 = batch.entries().iter().map(|entry| entry.data().0).sum();
        Arguments::new().key("total").arg(total.to_string())
    });
    let store = RedisStore::connect(redis.url(), script).await.unwrap();
    let quick = RetryPolicy::new().delay(Duration::from_millis(20));
    let buffer: SummingBuffer<String, i64> =
        Buffer::builder().retry(quick).start_async(ExactlyOnce::new(store)).unwrap();
    buffer.add("a", 1).unwrap();
    buffer.add("b", 2).unwrap();
    buffer.flush_all();
    block_in_place(|| test_servers::eventually("it fails", || (buffer.stats().retries > 1).then_some(())));
    assert_eq!(redis.ask(|redis| redis.get::<_, Option<i64>>("total")), None);
    redis.ask(|redis| redis.set::<_, _, ()>("ready", 1));
    buffer.shutdown_async(LONG).await.unwrap();
    assert_eq!(redis.ask(|redis| redis.get::<_, Option<i64>>("total")), Some(3));
}
