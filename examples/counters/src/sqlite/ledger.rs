//! What is done inside a transaction.

use rusqlite::{Connection, OptionalExtension, params};

use crate::store::{Fate, LedgerId, Replay, Replayed, StoreError, overflow};

/// SQLite has no arrays, but takes apart JSON. Where a sum does not fit into 64 bits it silently
/// goes on with a rounded float, so the type of what was written is looked at.
const ADD: &str = "
    insert into counters (key, value)
    select delta.value ->> 0, delta.value ->> 1 from json_each(?1) as delta where true
    on conflict (key) do update set value = coalesce(counters.value, 0) + excluded.value
    returning key, typeof(value) = 'integer'";

pub(super) fn fate(step: &Connection, batch: LedgerId) -> Result<Option<Fate>, StoreError> {
    let query = "select applied from counter_batches where writer = ?1 and sequence = ?2";
    let mut statement = step.prepare_cached(query)?;
    let applied = statement.query_row(params![batch.writer, batch.sequence], |row| row.get(0));
    let applied: Option<bool> = applied.optional()?;
    Ok(applied.map(|applied| if applied { Fate::Applied } else { Fate::Void }))
}

pub(super) fn record(step: &Connection, batch: LedgerId, applied: bool) -> Result<(), StoreError> {
    let insert = "insert into counter_batches (writer, sequence, applied) values (?1, ?2, ?3)";
    step.prepare_cached(insert)?.execute(params![batch.writer, batch.sequence, applied])?;
    Ok(())
}

pub(super) fn is_known(step: &Connection, batch: LedgerId) -> Result<bool, StoreError> {
    let query = "select 1 from counter_writers where writer = ?1 and settled_below <= ?2";
    Ok(step.prepare_cached(query)?.exists(params![batch.writer, batch.sequence])?)
}

/// What [`add`] adds.
pub(super) fn to_json<'a>(deltas: impl Iterator<Item = (&'a str, i64)>) -> String {
    serde_json::Value::from_iter(deltas.map(|(key, value)| serde_json::json!([key, value]))).to_string()
}

pub(super) fn add(step: &Connection, deltas: &str) -> Result<(), StoreError> {
    let mut statement = step.prepare_cached(ADD)?;
    let mut written = statement.query(params![deltas])?;
    let mut too_much = None;
    while let Some(row) = written.next()? {
        if !row.get::<_, bool>(1)? {
            too_much = Some(overflow(&row.get::<_, String>(0)?));
        }
    }
    too_much.map_or(Ok(()), Err)
}

pub(super) fn replay(step: &Connection, letter: &Replay) -> Result<Replayed, StoreError> {
    let seen = "select 1 from counter_letters where id = ?1";
    if step.prepare_cached(seen)?.exists(params![letter.id])? {
        return Ok(Replayed::WasThere);
    }
    if let Some(batch) = letter.batch {
        match fate(step, batch)? {
            Some(Fate::Applied) => return Ok(Replayed::WasThere),
            Some(Fate::Void) => {}
            None if is_known(step, batch)? => record(step, batch, false)?,
            None => return Ok(Replayed::CannotTell),
        }
    }
    step.execute("insert into counter_letters (id) values (?1)", params![letter.id])?;
    add(step, &to_json(std::iter::once((letter.key.as_str(), letter.value))))?;
    Ok(Replayed::Added)
}
