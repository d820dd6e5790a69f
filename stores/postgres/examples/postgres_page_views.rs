//! Counts page views in Postgres, each once. In a project of your own:
//!
//! ```sh
//! cargo add write-behind --features tokio
//! cargo add write-behind-postgres
//! cargo add tokio --features macros,rt-multi-thread
//! ```

use std::time::Duration;

use write_behind::exactly_once::ExactlyOnce;
use write_behind::{Buffer, Count};
use write_behind_postgres::{PostgresStore, Sums};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or("postgres://localhost/postgres".to_owned());

    // Two key columns, one value column; the table is created if it is missing.
    let sums = Sums::<(String, i32), Count>::new("page_views").key("page").key("hour").value("views");
    let store = PostgresStore::connect(address.parse()?, sums).await?;
    let database = store.pool().clone();
    let views = Buffer::builder().interval(Duration::from_secs(1)).start_async(ExactlyOnce::new(store))?;

    // From as many tasks as you like: a handle is cheap to clone, and an insert does not wait for the database.
    let tasks = (0..4).map(|_| {
        let views = views.clone();
        tokio::spawn(async move {
            for n in 0..100_000 {
                let page = if n % 3 == 0 { "/home" } else { "/about" };
                views.insert((page.to_owned(), n % 24), ()).expect("there is room");
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await?;
    }

    // Everything that was accepted is in the database when this returns `Ok`.
    views.shutdown_async(Duration::from_secs(10)).await?;

    let query = "select page, sum(views)::bigint from page_views group by page order by page";
    for row in database.get().await?.query(query, &[]).await? {
        println!("{}: {}", row.get::<_, String>(0), row.get::<_, i64>(1));
    }
    println!("run it again, and it counts on");
    Ok(())
}
