//! Counts page views in Redis, each once. In a project of your own:
//!
//! ```sh
//! cargo add write-behind --features tokio
//! cargo add write-behind-redis
//! cargo add redis --features tokio-comp
//! cargo add tokio --features macros,rt-multi-thread
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use redis::AsyncCommands;
use write_behind::exactly_once::ExactlyOnce;
use write_behind::{Buffer, Count};
use write_behind_redis::{HashSums, RedisStore};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or("redis://localhost".to_owned());

    // A field for each page and hour, in the hash `page_views`.
    let sums = HashSums::<(String, u32), Count>::new("page_views");
    let store = RedisStore::connect(address.as_str(), sums).await?;
    for doubt in store.doubts().await? {
        println!("a crash of Redis may lose views: {doubt}");
    }
    let views = Buffer::builder().interval(Duration::from_secs(1)).start_async(ExactlyOnce::new(store))?;

    // From as many tasks as you like: a handle is cheap to clone, and an insert does not wait for Redis.
    let tasks = (0..4).map(|_| {
        let views = views.clone();
        tokio::spawn(async move {
            for n in 0..100_000 {
                let page = if n % 3 == 0 { "/home" } else { "/about" };
                views.insert((page.to_owned(), n % 4), ()).expect("there is room");
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await?;
    }

    // Everything that was accepted is in Redis when this returns `Ok`.
    views.shutdown_async(Duration::from_secs(10)).await?;

    let mut redis = redis::Client::open(address)?.get_multiplexed_async_connection().await?;
    let totals: BTreeMap<String, i64> = redis.hgetall("page_views").await?;
    for (page, views) in totals {
        println!("{page}: {views}");
    }
    println!("run it again, and it counts on");
    Ok(())
}
