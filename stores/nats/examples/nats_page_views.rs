//! Counts page views through a NATS stream into SQLite, each once. In a project of your own:
//!
//! ```sh
//! cargo add write-behind --features tokio
//! cargo add write-behind-nats write-behind-sqlite
//! cargo add tokio --features macros,rt-multi-thread,time
//! ```
//!
//! It needs a server with JetStream: `nats-server -js`.

use std::sync::Arc;
use std::time::Duration;

use write_behind::exactly_once::{ExactlyOnce, OnThreads};
use write_behind::{Buffer, SummingBuffer};
use write_behind_nats::{BatchStream, NatsStore};
use write_behind_sqlite::{SqliteStore, Sums};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or("nats://localhost".to_owned());

    // Where batches end up, with the ledger that makes each count once. In production this is rather Postgres.
    let totals = SqliteStore::open("views.db", Sums::new("page_views").key("page").value("views"))?;
    let totals = Arc::new(OnThreads::new(Arc::new(totals)));
    let stream = BatchStream::new("page_views");
    let store = Arc::new(NatsStore::connect(address, stream, Arc::clone(&totals)).await?);
    let sink = ExactlyOnce::new(Arc::clone(&store));
    let views: SummingBuffer<String, i64> =
        Buffer::builder().interval(Duration::from_secs(1)).start_async(sink)?;

    // Moves batches to SQLite, as long as this process lives. Any number of processes may do that.
    let mover = tokio::spawn(async move {
        loop {
            let pause = match store.move_some().await {
                Ok(0) => Duration::from_millis(100),
                Ok(_) => Duration::ZERO,
                Err(error) => {
                    eprintln!("will try again: {error}");
                    Duration::from_secs(1)
                }
            };
            tokio::time::sleep(pause).await;
        }
    });

    for n in 0..100_000 {
        views.add(if n % 3 == 0 { "/home" } else { "/about" }, 1)?;
    }

    // Everything that was accepted is in the stream, and what this process has published in SQLite, when this is `Ok`.
    views.shutdown_async(Duration::from_secs(10)).await?;
    mover.abort();

    let file = totals.store().connection().lock().map_err(|_| "a panic in SQLite")?;
    let mut all = file.prepare("select page, views from page_views")?;
    let rows = all.query_map((), |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
    for row in rows {
        let (page, views) = row?;
        println!("{page}: {views}");
    }
    println!("run it again, and it counts on");
    Ok(())
}
