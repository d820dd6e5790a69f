//! All counters at once, when those who wrote before are gone.

use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use tokio::time::{Instant, sleep};

use crate::store::StoreError;

/// How long to wait for the sessions of others to end.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

const OTHERS: &str = "
    select count(*) from pg_stat_activity where pid <> pg_backend_pid()
    and datname = current_database() and application_name = current_setting('application_name')";

/// What a process was writing when it was killed is still carried out, and its session ends after
/// that. Read before, the counters would lack it for ever.
pub(super) async fn load(client: &ClientWrapper) -> Result<Vec<(String, i64)>, StoreError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let others: i64 = client.query_one(OTHERS, &[]).await?.get(0);
        if others == 0 {
            break;
        }
        if Instant::now() >= deadline {
            tracing::warn!(
                "{others} other sessions use this database; --hydrate is for its only writer: \
                 reads will not show what others write"
            );
            break;
        }
        sleep(PAUSE).await;
    }
    let rows = client.query("select key, coalesce(value, 0) from counters", &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
