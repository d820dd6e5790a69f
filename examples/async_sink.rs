//! A minute's read: a sink with an async client, a call that hangs, and how it still counts once.
//!
//!     cargo run --release --example async_sink

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::sleep;
use write_behind::{AsyncBatchDataBuffer, BatchId, Buffer, FlushBatch, FlushError, Sum, SummingBuffer};

/// Pretends to be an async client of a database, which holds the ids of the batches it was sent.
#[derive(Default)]
struct Client(Mutex<BTreeSet<BatchId>>);

impl Client {
    /// One transaction: records the id and adds the sums, unless the id is there already.
    async fn apply(&self, id: BatchId, _sums: &[(&String, i64)]) -> Result<(), String> {
        sleep(Duration::from_millis(20)).await; // the network
        let (new, count) = {
            let mut ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            (ids.insert(id), ids.len())
        };
        println!("           {}", if new { "stored" } else { "the database has this batch: counts once" });
        if new && count == 1 {
            println!("           but the answer is lost: the call hangs");
            std::future::pending::<()>().await; // until it is dropped
        }
        Ok(())
    }
}

struct PageViews(Client);
type Batch = FlushBatch<String, Sum<i64>>;

impl AsyncBatchDataBuffer<String, Sum<i64>> for PageViews {
    async fn handle_flush_batch(&self, batch: &Batch) -> Result<(), FlushError> {
        let sums: Vec<_> = batch.sorted().iter().map(|entry| (entry.key(), entry.data().0)).collect();
        println!("flush      attempt {}: {sums:?}", batch.attempt());
        Ok(self.0.apply(batch.id(), &sums).await?) // after the flush timeout it is dropped in here
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let views: SummingBuffer<String, i64> = Buffer::builder()
        .interval(Duration::from_millis(300))
        .flush_timeout(Duration::from_secs(1)) // and about one more until the next attempt
        .start_async(PageViews(Client::default()))?;

    let tasks = [1, 2, 3].map(|_| {
        let views = views.clone(); // an insert does not wait, so there is nothing to await
        tokio::spawn(async move { (0..100).try_for_each(|_| views.increment("/home")) })
    });
    for task in tasks {
        task.await??;
    }
    println!("insert     300 views by 3 tasks; pending: {}", views.count("/home").pending);
    sleep(Duration::from_millis(800)).await;
    views.add("/home", 7)?;
    println!("insert     7 more meanwhile; total: {:?}", views.total("/home"));
    views.flush_and_wait_async("/home", Duration::from_secs(5)).await?;

    views.add("/news", 5)?;
    println!("shutdown   what is left is flushed now");
    views.shutdown_async(Duration::from_secs(5)).await?;
    let stats = views.stats();
    println!("           {} inserts = {} flushed, {} retry", stats.accepted, stats.flushed, stats.retries);
    Ok(())
}
