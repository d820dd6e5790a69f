//! The kit judges the stores over a real server.

use std::collections::BTreeMap;
use std::sync::Arc;

use redis::Commands;
use write_behind::conformance::{Conformance, Report};
use write_behind::exactly_once::ExactlyOnce;
use write_behind::{FlushBatch, Sum};
use write_behind_redis::{Arguments, HashSums, OwnScript, RedisStore, WriteScript};

use crate::server::Redis;

const VIEWS: &str = "views";

async fn judge<W: WriteScript<String, Sum<i64>>>(
    redis: &Redis,
    seed: u64,
    write: W,
    refuse: impl FnMut(Option<&String>),
) -> Report {
    // One store for all, so that there is one connection at most that is not closed.
    let store = Arc::new(RedisStore::connect(redis.url(), write).await.unwrap());
    let kit = Conformance::new(|n| format!("page-{n}"), Sum).seed(seed).refuse(refuse).journaled();
    let make = || ExactlyOnce::new(Arc::clone(&store)).prune_every(4);
    let read = async || {
        redis.settle();
        let number = |total: String| total.trim_start_matches('x').parse().unwrap();
        let totals = redis.hash(VIEWS).into_iter().map(|(page, total)| (page, number(total)));
        totals.collect::<BTreeMap<String, i64>>()
    };
    let report = kit.run_async(make, read).await;
    println!("{report}");
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn hashes_count_each_insert_once() {
    for seed in test_servers::seeds() {
        let Some(redis) = Redis::start() else { return };
        // A total that is no number refuses to be added to.
        let refuse = |page: Option<&String>| {
            for (page, total) in redis.hash(VIEWS) {
                if let Some(total) = total.strip_prefix('x') {
                    redis.ask(|redis| redis.hset::<_, _, _, ()>(VIEWS, page, total));
                }
            }
            if let Some(page) = page {
                let total: Option<i64> = redis.ask(|redis| redis.hget(VIEWS, page));
                let total = format!("x{}", total.unwrap_or(0));
                redis.ask(|redis| redis.hset::<_, _, _, ()>(VIEWS, page, total));
            }
        };
        judge(&redis, seed, HashSums::new(VIEWS), refuse).await.assert_exactly_once();
    }
}

const CODE: &str = "
    local refused = {}
    for n = 1, #args, 2 do
        if redis.call('SISMEMBER', keys[2], args[n]) == 1 then
            refused[#refused + 1] = { (n - 1) / 2, 'forbidden' }
        else
            redis.call('HINCRBY', keys[1], args[n], args[n + 1])
        end
    end
    return refused";

#[tokio::test(flavor = "multi_thread")]
async fn a_script_of_the_users_own_counts_each_insert_once() {
    for seed in test_servers::seeds() {
        let Some(redis) = Redis::start() else { return };
        let refuse = |page: Option<&String>| {
            redis.ask(|redis| redis.del::<_, ()>("forbidden"));
            page.into_iter().for_each(|page| redis.ask(|redis| redis.sadd::<_, _, ()>("forbidden", page)));
        };
        let script = OwnScript::new(CODE, |batch: &FlushBatch<String, Sum<i64>>| {
            let arguments = Arguments::new().key(VIEWS).key("forbidden");
            batch.entries().iter().fold(arguments, |arguments, entry| {
                arguments.arg(entry.key().as_str()).arg(entry.data().0.to_string())
            })
        });
        judge(&redis, seed, script, refuse).await.assert_exactly_once();
    }
}
