//! A minute's read: what is buffered, when it is flushed, and what a failed flush does.
//!
//!     cargo run --release --example quickstart

use std::error::Error;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use write_behind::{
    Buffer, DataBuffer, DeadLetter, FlushContext, FlushError, RetryPolicy, Sum, SummingBuffer, Verdict,
};

/// Where the totals go. A real one would write to a database.
struct PageViews {
    started: Instant,
    stored: Mutex<Vec<(String, i64)>>,
    outages: AtomicU32,
}

impl DataBuffer<String, Sum<i64>> for PageViews {
    fn handle_flush(&self, page: &String, views: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
        let at = self.started.elapsed().as_millis();
        if page == "/broken" {
            println!("{at:>5} ms  flush  {page:<8} +{:<3} the database refuses this one", views.0);
            return Err("constraint violated".into());
        }
        if page == "/news" && self.outages.fetch_add(1, Ordering::Relaxed) == 0 {
            println!("{at:>5} ms  flush  {page:<8} +{:<3} the database is away, just now", views.0);
            return Err("connection refused".into());
        }
        println!("{at:>5} ms  flush  {page:<8} +{:<3} stored", views.0);
        self.stored.lock().map_err(|error| error.to_string())?.push((page.clone(), views.0));
        Ok(())
    }

    fn handle_error(&self, letter: DeadLetter<String, Sum<i64>>) -> Verdict<String, Sum<i64>> {
        let at = self.started.elapsed().as_millis();
        let (page, views) = (letter.key(), letter.data().0);
        let (attempts, cause) = (letter.attempts(), letter.cause());
        println!("{at:>5} ms  error  {page:<8} +{views:<3} given up after {attempts} attempts: {cause}");
        Verdict::Forget // a real one would write it to a dead-letter file before
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let sink = PageViews { started: Instant::now(), stored: Mutex::default(), outages: AtomicU32::new(0) };
    let views: SummingBuffer<String, i64> = Buffer::builder()
        .interval(Duration::from_millis(150))
        .retry(RetryPolicy::fixed(3, Duration::from_millis(100)))
        .start(sink)?;

    println!("    0 ms  insert 600 views of two pages, and 10 of a page that cannot be stored");
    for _ in 0..300 {
        views.increment("/home")?;
        views.increment("/news")?;
    }
    views.add("/broken", 10)?;
    println!(
        "          pending: /home {:?}, /news {:?}",
        views.count("/home").pending,
        views.count("/news").pending
    );

    // Waits for the flush, its retries included, and returns the real error.
    views.flush_and_wait("/home", Duration::from_secs(5))?;
    println!("          /home was asked for and did not wait for its 150 ms; /news does");
    if let Err(error) = views.flush_and_wait("/broken", Duration::from_secs(5)) {
        println!(
            "          /broken: {error}, because: {}",
            error.source().map_or(String::new(), ToString::to_string)
        );
    }

    views.add("/home", 42)?;
    println!("          shutting down: what is left is flushed now");
    views.shutdown(Duration::from_secs(5))?;
    let stats = views.stats();
    println!("          {} inserts = {} flushed + {} given up", stats.accepted, stats.flushed, stats.gave_up);
    Ok(())
}
