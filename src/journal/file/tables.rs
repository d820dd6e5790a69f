//! What is in a journal's file.

use std::ops::Range;

use redb::{Database, ReadTransaction, ReadableDatabase, TableDefinition, TableError};

use super::trouble::Trouble;
use crate::driver::journal::disk::{Changes, Head};

/// Goes up when an older version could not read what a newer one writes.
pub(crate) const FORMAT: u32 = 1;

/// Whatever has this table is a journal.
const ABOUT: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("write-behind journal");
pub(crate) const PENDING: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("pending");
pub(crate) const BATCHES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("batches");

/// Batches of another file.
pub(super) struct Carried<'a> {
    /// None if there are no batches.
    pub(super) from: Option<&'a Database>,
    pub(super) ranges: &'a [Range<u64>],
}

/// Makes the tables in a file that has none.
pub(super) fn write_new(
    database: &Database,
    schema: &str,
    head: &Head,
    all: &Changes,
    carried: Carried<'_>,
) -> Result<(), Trouble> {
    let transaction = database.begin_write().map_err(redb::Error::from)?;
    say_what_it_is(&transaction, schema)?;
    write_within(&transaction, head, all)?;
    if let Some(from) = carried.from {
        carry(&transaction, from, carried.ranges)?;
    }
    Ok(transaction.commit().map_err(redb::Error::from)?)
}

fn say_what_it_is(transaction: &redb::WriteTransaction, schema: &str) -> Result<(), redb::Error> {
    let mut about = transaction.open_table(ABOUT)?;
    about.insert("format", FORMAT.to_le_bytes().as_slice())?;
    about.insert("schema", schema.as_bytes())?;
    Ok(())
}

fn carry(
    transaction: &redb::WriteTransaction,
    from: &Database,
    ranges: &[Range<u64>],
) -> Result<(), Trouble> {
    let from = from.begin_read().map_err(redb::Error::from)?;
    let from = from.open_table(BATCHES).map_err(redb::Error::from)?;
    let mut batches = transaction.open_table(BATCHES).map_err(redb::Error::from)?;
    for range in ranges {
        let mut next = range.start;
        for row in from.range(range.clone()).map_err(redb::Error::from)? {
            let (sequence, content) = row.map_err(redb::Error::from)?;
            if sequence.value() != next {
                break;
            }
            batches.insert(next, content.value()).map_err(redb::Error::from)?;
            next += 1;
        }
        if next < range.end {
            return Err(lacks(next));
        }
    }
    Ok(())
}

pub(super) fn lacks(sequence: u64) -> Trouble {
    Trouble::Damaged(format!("batch {sequence} is missing"))
}

#[cfg(test)]
pub(crate) fn write_format(database: &Database, format: u32) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(ABOUT)?.insert("format", format.to_le_bytes().as_slice())?;
    Ok(transaction.commit()?)
}

/// All or nothing, and on the disk when it returns.
pub(crate) fn write(database: &Database, head: &Head, changes: &Changes) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    write_within(&transaction, head, changes)?;
    Ok(transaction.commit()?)
}

fn write_within(
    transaction: &redb::WriteTransaction,
    head: &Head,
    changes: &Changes,
) -> Result<(), redb::Error> {
    transaction.open_table(ABOUT)?.insert("head", head_to_bytes(head).as_slice())?;
    let mut pending = transaction.open_table(PENDING)?;
    for (key, value) in changes.pending.iter() {
        match value {
            Some(value) => drop(pending.insert(key, value)?),
            None => drop(pending.remove(key)?),
        }
    }
    let mut batches = transaction.open_table(BATCHES)?;
    for (sequence, content) in &changes.batches {
        match content {
            Some(content) => drop(batches.insert(sequence, content.as_slice())?),
            None => drop(batches.remove(sequence)?),
        }
    }
    Ok(())
}

/// Who wrote the file, provided that it is of this schema.
pub(crate) fn read_head(database: &Database, schema: &str) -> Result<Head, Trouble> {
    let transaction = database.begin_read().map_err(redb::Error::from)?;
    let about = match transaction.open_table(ABOUT) {
        Ok(about) => about,
        Err(TableError::Storage(error)) => return Err(error.into()),
        Err(_) => return Err(Trouble::Foreign),
    };
    let row = |name: &str| match about.get(name)? {
        Some(value) => Ok(value.value().to_vec()),
        None => Err(Trouble::Damaged(format!("it does not say its {name}"))),
    };
    let format = row("format")?;
    let format = u32::from_le_bytes(format.try_into().map_err(|_| misshapen("format"))?);
    if format > FORMAT {
        return Err(Trouble::Newer(format));
    }
    let file = String::from_utf8(row("schema")?).map_err(|_| misshapen("schema"))?;
    if file != schema {
        return Err(Trouble::Schema { file, here: schema.into() });
    }
    check_tables(&transaction)?;
    head_from_bytes(&row("head")?).ok_or_else(|| misshapen("head"))
}

fn check_tables(transaction: &ReadTransaction) -> Result<(), redb::Error> {
    transaction.open_table(PENDING)?;
    transaction.open_table(BATCHES)?;
    Ok(())
}

fn misshapen(name: &str) -> Trouble {
    Trouble::Damaged(format!("its {name} is unreadable"))
}

fn head_to_bytes(head: &Head) -> [u8; 24] {
    let mut bytes = [0; 24];
    for (part, value) in bytes.chunks_exact_mut(8).zip([head.instance, head.epoch, head.next_sequence]) {
        part.copy_from_slice(&value.to_le_bytes());
    }
    bytes
}

fn head_from_bytes(bytes: &[u8]) -> Option<Head> {
    let bytes: &[u8; 24] = bytes.try_into().ok()?;
    let mut numbers = bytes.chunks_exact(8).map(|part| part.try_into().map(u64::from_le_bytes).ok());
    let mut next = || numbers.next().flatten();
    Some(Head { instance: next()?, epoch: next()?, next_sequence: next()? })
}
