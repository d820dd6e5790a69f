//! Counts page views by `sqlx`, each once: what to write for a client that no crate beside write-behind is made for.
//! Takes the address of a Postgres database.

mod store;

use std::time::Duration;

use sqlx::PgPool;
use write_behind::exactly_once::ExactlyOnce;
use write_behind::{Buffer, SummingBuffer};

use crate::store::PageViews;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or("postgres://localhost/postgres".to_owned());
    let pool = PgPool::connect(&address).await?;
    let sink = ExactlyOnce::new(PageViews::new(pool.clone()).await?);
    let views: SummingBuffer<String, i64> = Buffer::builder().start_async(sink)?;
    for n in 0..100_000 {
        views.add(if n % 3 == 0 { "/home" } else { "/about" }, 1)?;
    }
    views.shutdown_async(Duration::from_secs(10)).await?;
    let totals: Vec<(String, i64)> =
        sqlx::query_as("select page, views from page_views order by page").fetch_all(&pool).await?;
    for (page, views) in totals {
        println!("{page}: {views}");
    }
    Ok(())
}
