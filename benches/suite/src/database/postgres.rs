//! Postgres: a private server, started for this and thrown away, or the one that
//! `WRITE_BEHIND_BENCH_POSTGRES` names (a connection URL), where everything is in a schema that is
//! dropped after each turn.

use std::pin::pin;
use std::time::{Duration, Instant};

use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, GenericClient, NoTls, Statement, Transaction};

use super::{AT_ONCE, Deltas, Extent, State, Workload, a_fiftieth, all};
use test_servers::PostgresServer;

use crate::record::Recording;
use crate::scale::Scale;
use crate::turns::take_turns;

const ADDRESS: &str = "WRITE_BEHIND_BENCH_POSTGRES";

/// Autovacuum would come in somebody's turn.
const SETUP: &str = "
    drop schema if exists write_behind_bench cascade;
    create schema write_behind_bench;
    set search_path to write_behind_bench;
    create table counters (key text primary key, value bigint not null) with (autovacuum_enabled = false);
    create table counter_writers (writer bigint primary key, settled_below bigint not null);
    create table counter_batches (
        writer bigint, sequence bigint, applied boolean not null, primary key (writer, sequence));
    insert into counter_writers values (1, 0);
    create temporary table delta (key text not null, value bigint not null) on commit delete rows";

const CLEAN_UP: &str = "drop schema write_behind_bench cascade";

const UPSERT: &str = "
    insert into counters (key, value) values ($1, $2)
    on conflict (key) do update set value = counters.value + excluded.value";

const UNNEST: &str = "
    insert into counters (key, value) select * from unnest($1::text[], $2::bigint[])
    on conflict (key) do update set value = counters.value + excluded.value";

const COPY: &str = "copy delta (key, value) from stdin (format binary)";

const MERGE: &str = "
    insert into counters (key, value) select key, value from delta
    on conflict (key) do update set value = counters.value + excluded.value";

/// As the counter service has it in examples/counters/src/postgres.rs.
const UNNEST_AND_LEDGER: &str = "
    with lane as (
        select writer from counter_writers where writer = $1 and settled_below <= $2 for share
    ), fresh as (
        insert into counter_batches (writer, sequence, applied) select writer, $2, true from lane
        on conflict do nothing returning sequence
    )
    insert into counters (key, value)
    select key, value from unnest($3::text[], $4::bigint[]) as delta (key, value)
    where exists (select from fresh) order by key collate \"C\"
    on conflict (key) do update set value = coalesce(counters.value, 0) + excluded.value";

/// The same, from the temporary table.
const MERGE_AND_LEDGER: &str = "
    with lane as (
        select writer from counter_writers where writer = $1 and settled_below <= $2 for share
    ), fresh as (
        insert into counter_batches (writer, sequence, applied) select writer, $2, true from lane
        on conflict do nothing returning sequence
    )
    insert into counters (key, value)
    select key, value from delta where exists (select from fresh) order by key collate \"C\"
    on conflict (key) do update set value = coalesce(counters.value, 0) + excluded.value";

#[derive(Debug, Clone, Copy)]
enum Write {
    /// A statement per key, each its own transaction.
    Singles,
    /// A statement per key, and a transaction around them.
    Transaction,
    Unnest,
    CopyAndMerge,
    UnnestAndLedger,
    CopyMergeAndLedger,
}

struct Way(&'static str, Extent, Write);

/// Each statement of the first is a transaction and waits for the disk, so it does a fiftieth of the keys:
/// two thousand waits a turn say as much as more of them.
const WAYS: [Way; 12] = [
    Way("single upserts", a_fiftieth(1_000), Write::Singles),
    Way("single upserts, one transaction per 1000", all(1_000), Write::Transaction),
    Way("UNNEST, batches of 1000", all(1_000), Write::Unnest),
    Way("UNNEST, batches of 10 000", all(10_000), Write::Unnest),
    Way("UNNEST, 100 000 at once", all(AT_ONCE), Write::Unnest),
    Way("COPY + merge, batches of 1000", all(1_000), Write::CopyAndMerge),
    Way("COPY + merge, batches of 10 000", all(10_000), Write::CopyAndMerge),
    Way("COPY + merge, 100 000 at once", all(AT_ONCE), Write::CopyAndMerge),
    Way("UNNEST + ledger, batches of 1000", all(1_000), Write::UnnestAndLedger),
    Way("UNNEST + ledger, batches of 10 000", all(10_000), Write::UnnestAndLedger),
    Way("COPY + merge + ledger, batches of 1000", all(1_000), Write::CopyMergeAndLedger),
    Way("COPY + merge + ledger, batches of 10 000", all(10_000), Write::CopyMergeAndLedger),
];

/// Where to find a Postgres, and what stops it when it is dropped, also by a panic. `None`, and a line that says so,
/// where there is none.
pub(crate) fn given(scale: Scale) -> Option<(String, Option<PostgresServer>)> {
    let required = std::env::var_os("WRITE_BEHIND_REQUIRE_SERVERS").is_some_and(|value| value == "1");
    if !scale.real && !required {
        println!("Postgres is left out of a mere check; WRITE_BEHIND_REQUIRE_SERVERS=1 takes it in");
        return None;
    }
    if let Ok(url) = std::env::var(ADDRESS) {
        return Some((url, None));
    }
    let server = PostgresServer::start()?;
    Some((server.url(), Some(server)))
}

/// Where there is no Postgres, it does nothing.
pub(super) fn run(scale: Scale, workload: &Workload, recording: &mut Recording) {
    let Some((url, _server)) = given(scale) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be had");
    for (state_name, state) in State::ALL {
        let samples = take_turns(scale.turns, &WAYS, |way| {
            let measured = runtime.block_on(measure(&url, way, state, workload));
            measured.unwrap_or_else(|error| panic!("{}: {error:?}", way.0))
        });
        recording.add(&["Postgres", state_name], WAYS.iter().map(|way| way.0).zip(samples).collect());
    }
}

/// A new connection and new tables each time, so that nobody meets what another has left.
async fn measure(url: &str, way: &Way, state: State, workload: &Workload) -> Result<f64, Error> {
    let &Way(name, extent, write) = way;
    let (mut client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    client.batch_execute(SETUP).await?;
    unnest(&client, &client.prepare(UNNEST).await?, &workload.rows_before(state)).await?;
    client.batch_execute("vacuum analyze counters").await?;
    // Not everybody may; it keeps what was written before from being paid for now.
    let _ = client.batch_execute("checkpoint").await;
    let elapsed = time(&mut client, write, &workload.batches(extent)).await?;
    let rows = client.query("select key, value from counters", &[]).await?;
    workload.check(name, state, extent, rows.iter().map(|row| (row.get(0), row.get(1))));
    client.batch_execute(CLEAN_UP).await?;
    Ok(workload.micros_per_key(elapsed, extent))
}

async fn time(client: &mut Client, write: Write, batches: &[Deltas]) -> Result<Duration, Error> {
    let (statement, copy) = (client.prepare(write.statement()).await?, client.prepare(COPY).await?);
    let start = Instant::now();
    for (batch, sequence) in batches.iter().zip(0_i64..) {
        match write {
            Write::Singles => singles(client, &statement, batch).await?,
            Write::Transaction => {
                let step = client.transaction().await?;
                singles(&step, &statement, batch).await?;
                step.commit().await?;
            }
            Write::Unnest => unnest(client, &statement, batch).await?,
            Write::CopyAndMerge => {
                let step = client.transaction().await?;
                copy_in(&step, &copy, batch).await?;
                step.execute(&statement, &[]).await?;
                step.commit().await?;
            }
            Write::UnnestAndLedger => {
                let (keys, values) = columns(batch);
                client.execute(&statement, &[&1_i64, &sequence, &keys, &values]).await?;
            }
            Write::CopyMergeAndLedger => {
                let step = client.transaction().await?;
                copy_in(&step, &copy, batch).await?;
                step.execute(&statement, &[&1_i64, &sequence]).await?;
                step.commit().await?;
            }
        }
    }
    Ok(start.elapsed())
}

impl Write {
    fn statement(self) -> &'static str {
        match self {
            Write::Singles | Write::Transaction => UPSERT,
            Write::Unnest => UNNEST,
            Write::CopyAndMerge => MERGE,
            Write::UnnestAndLedger => UNNEST_AND_LEDGER,
            Write::CopyMergeAndLedger => MERGE_AND_LEDGER,
        }
    }
}

async fn singles(client: &impl GenericClient, upsert: &Statement, batch: &Deltas) -> Result<(), Error> {
    for (key, value) in batch {
        client.execute(upsert, &[key, value]).await?;
    }
    Ok(())
}

async fn unnest(client: &Client, statement: &Statement, batch: &Deltas) -> Result<(), Error> {
    let (keys, values) = columns(batch);
    client.execute(statement, &[&keys, &values]).await?;
    Ok(())
}

fn columns(batch: &Deltas) -> (Vec<&str>, Vec<i64>) {
    batch.iter().map(|(key, value)| (key.as_str(), value)).unzip()
}

async fn copy_in(step: &Transaction<'_>, copy: &Statement, batch: &Deltas) -> Result<(), Error> {
    let sink = step.copy_in(copy).await?;
    let mut rows = pin!(BinaryCopyInWriter::new(sink, &[Type::TEXT, Type::INT8]));
    for (key, value) in batch {
        rows.as_mut().write(&[key, value]).await?;
    }
    rows.finish().await?;
    Ok(())
}
