//! Counts page views in a SQLite file, each once. In a project of your own:
//!
//! ```sh
//! cargo add write-behind write-behind-sqlite rusqlite
//! ```

use std::time::Duration;

use write_behind::exactly_once::ExactlyOnce;
use write_behind::{Buffer, Count};
use write_behind_sqlite::{SqliteStore, Sums};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::temp_dir().join("page_views.db");

    // Two key columns, one value column; the table is created if it is missing.
    let sums = Sums::<(String, u32), Count>::new("page_views").key("page").key("hour").value("views");
    let store = SqliteStore::open(&path, sums)?;
    let views = Buffer::builder().interval(Duration::from_secs(1)).start(ExactlyOnce::new(store))?;

    // From as many threads as you like: a handle is cheap to clone.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let views = views.clone();
            scope.spawn(move || {
                for n in 0..100_000_u32 {
                    let page = if n % 3 == 0 { "/home" } else { "/about" };
                    views.insert((page.to_owned(), n % 24), ()).expect("there is room");
                }
            });
        }
    });

    // Everything that was accepted is in the file when this returns `Ok`.
    views.shutdown(Duration::from_secs(10))?;

    let file = rusqlite::Connection::open(&path)?;
    let mut rows = file.prepare("select page, sum(views) from page_views group by page order by page")?;
    for row in rows.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))? {
        let (page, total) = row?;
        println!("{page}: {total}");
    }
    println!("in {}: run it again, and it counts on", path.display());
    Ok(())
}
