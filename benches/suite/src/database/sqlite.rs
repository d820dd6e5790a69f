//! SQLite: a file in a folder of its own, with the counter service's settings, new for each turn.

use std::path::Path;
use std::time::Instant;

use rusqlite::{Connection, Result, params};

use super::{Deltas, Extent, State, Workload, a_fiftieth, all};
use crate::record::Recording;
use crate::scale::Scale;
use crate::turns::take_turns;

const UPSERT: &str = "
    insert into counters (key, value) values (?1, ?2)
    on conflict (key) do update set value = counters.value + excluded.value";

/// SQLite has no arrays, but takes apart JSON.
const JSON: &str = "
    insert into counters (key, value)
    select delta.value ->> 0, delta.value ->> 1 from json_each(?1) as delta where true
    on conflict (key) do update set value = counters.value + excluded.value";

/// As the counter service has it in examples/counters/src/sqlite/ledger.rs: a sum that does not fit into 64
/// bits must be noticed.
const JSON_CHECKED: &str = "
    insert into counters (key, value)
    select delta.value ->> 0, delta.value ->> 1 from json_each(?1) as delta where true
    on conflict (key) do update set value = coalesce(counters.value, 0) + excluded.value
    returning key, typeof(value) = 'integer'";

struct Way {
    name: &'static str,
    extent: Extent,
    write: fn(&mut Connection, &Deltas) -> Result<()>,
}

/// Each statement of the first is a transaction and waits for the disk, so it does a fiftieth of the keys:
/// two thousand waits a turn say as much as more of them.
const WAYS: [Way; 6] = [
    Way { name: "single upserts", extent: a_fiftieth(1), write: upserts },
    Way { name: "single upserts, one transaction per 1000", extent: all(1_000), write: transaction },
    Way { name: "single upserts, one transaction per 10 000", extent: all(10_000), write: transaction },
    Way { name: "json_each, batches of 1000", extent: all(1_000), write: json },
    Way { name: "json_each, batches of 10 000", extent: all(10_000), write: json },
    Way { name: "json_each + overflow check, batches of 1000", extent: all(1_000), write: json_checked },
];

pub(super) fn run(scale: Scale, workload: &Workload, recording: &mut Recording) {
    println!("SQLite {}", rusqlite::version());
    for (state_name, state) in State::ALL {
        let samples = take_turns(scale.turns, &WAYS, |way| {
            measure(way, state, workload).unwrap_or_else(|error| panic!("{}: {error}", way.name))
        });
        recording.add(&["SQLite", state_name], WAYS.iter().map(|way| way.name).zip(samples).collect());
    }
}

fn measure(way: &Way, state: State, workload: &Workload) -> Result<f64> {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let mut connection = connect(&folder.path().join("counters.sqlite"))?;
    connection.execute_batch("create table counters (key text primary key, value bigint not null)")?;
    transaction(&mut connection, &workload.rows_before(state))?;
    // So that nobody pays for what was done before.
    connection.execute_batch("pragma wal_checkpoint(truncate)")?;
    let batches = workload.batches(way.extent);
    let start = Instant::now();
    batches.iter().try_for_each(|batch| (way.write)(&mut connection, batch))?;
    let elapsed = start.elapsed();
    let mut statement = connection.prepare("select key, value from counters")?;
    let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
    workload.check(way.name, state, way.extent, rows.collect::<Result<Deltas>>()?);
    Ok(workload.micros_per_key(elapsed, way.extent))
}

fn connect(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    Ok(connection)
}

fn upserts(connection: &mut Connection, batch: &Deltas) -> Result<()> {
    let mut upsert = connection.prepare_cached(UPSERT)?;
    for (key, value) in batch {
        upsert.execute(params![key, value])?;
    }
    Ok(())
}

fn transaction(connection: &mut Connection, batch: &Deltas) -> Result<()> {
    let step = connection.transaction()?;
    {
        let mut upsert = step.prepare_cached(UPSERT)?;
        for (key, value) in batch {
            upsert.execute(params![key, value])?;
        }
    }
    step.commit()
}

fn json(connection: &mut Connection, batch: &Deltas) -> Result<()> {
    connection.prepare_cached(JSON)?.execute(params![to_json(batch)])?;
    Ok(())
}

fn json_checked(connection: &mut Connection, batch: &Deltas) -> Result<()> {
    let step = connection.transaction()?;
    {
        let mut statement = step.prepare_cached(JSON_CHECKED)?;
        let mut written = statement.query(params![to_json(batch)])?;
        while let Some(row) = written.next()? {
            assert!(row.get::<_, bool>(1)?, "a sum does not fit");
        }
    }
    step.commit()
}

fn to_json(batch: &Deltas) -> String {
    serde_json::to_string(batch).expect("strings and numbers can be JSON")
}
