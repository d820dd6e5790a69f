//! How generations and batches are laid out in rows. Numbers are little-endian; what the codec writes is preceded by
//! its length.

use std::sync::Arc;

use crate::batch::{BatchId, Content, Entry, FlushReason};
use crate::engine::flights::{Past, Standing};
use crate::failure::{FailureCause, contained};
use crate::journal::{Codec, CodecError};
use crate::key::KeptHash;

/// A batch that is to be sent, in the order of sequences.
const IN_TURN: u8 = 0;

/// Whether a batch goes before others that have lower sequences.
pub(super) fn goes_first(row: &[u8]) -> bool {
    row.first().is_some_and(|kind| *kind != IN_TURN)
}

type Written = Result<(), CodecError>;

/// A batch as it was found.
pub(crate) struct Found<K, V> {
    pub(crate) content: Content<K, V>,
    pub(crate) standing: Standing,
}

/// Writes a key's generations, oldest first.
pub(super) fn write_generations<K: 'static, V: 'static>(
    codec: &dyn Codec<K, V>,
    generations: &mut dyn Iterator<Item = (&V, u32)>,
    out: &mut Vec<u8>,
) -> Written {
    for (data, count) in generations {
        out.extend(count.to_le_bytes());
        framed(out, |out| codec.encode_data(data, out))?;
    }
    Ok(())
}

pub(super) fn read_generations<K: 'static, V: 'static>(
    codec: &dyn Codec<K, V>,
    row: &[u8],
) -> Result<Vec<(V, u32)>, CodecError> {
    let mut reader = Reader(row);
    let mut generations = Vec::with_capacity(1);
    while !reader.0.is_empty() {
        let count = u32::from_le_bytes(reader.array()?);
        generations.push((codec.decode_data(reader.framed()?)?, count));
    }
    if generations.is_empty() {
        return Err("no generation in it".into());
    }
    Ok(generations)
}

pub(super) fn write_batch<K: 'static, V: 'static>(
    codec: &dyn Codec<K, V>,
    entries: &[Entry<K, V>],
    standing: &Standing,
    out: &mut Vec<u8>,
) -> Written {
    let (kind, past) = match standing {
        Standing::Sent { ahead: false } => (IN_TURN, None),
        Standing::Sent { ahead: true } => (6, None),
        Standing::GivenUp(past) => (1, Some(past)),
        Standing::Kept { past, whole, handed_over } => {
            (2 + u8::from(*whole) + 2 * u8::from(*handed_over), Some(past))
        }
    };
    out.push(kind);
    if let Some(Past { attempts, cause, frozen }) = past {
        out.push(u8::from(*frozen));
        out.extend(attempts.to_le_bytes());
        framed(out, |out| {
            out.extend(cause.to_string().as_bytes());
            Ok(())
        })?;
    }
    entries.iter().try_for_each(|entry| {
        out.extend(entry.count.to_le_bytes());
        out.push(entry.reason.code());
        framed(out, |out| codec.encode_key(&entry.key, out))?;
        framed(out, |out| codec.encode_data(&entry.data, out))
    })
}

/// Lets a codec work. A panic of it is a failure of it.
pub(super) fn code<T>(work: impl FnOnce() -> Result<T, CodecError>) -> Result<T, CodecError> {
    contained(work).unwrap_or_else(|panicked| Err(panicked.to_string().into()))
}

/// Where its keys belong is not known yet.
pub(super) fn read_batch<K: 'static, V: 'static>(
    codec: &dyn Codec<K, V>,
    id: BatchId,
    row: &[u8],
    weigh: impl Fn(&V) -> u64,
) -> Result<Found<K, V>, CodecError> {
    let mut reader = Reader(row);
    let [kind] = reader.array()?;
    let mut past = || -> Result<Past, CodecError> {
        let frozen = reader.array::<1>()? != [0];
        let attempts = u32::from_le_bytes(reader.array()?);
        let cause = String::from_utf8_lossy(reader.framed()?).into_owned();
        Ok(Past { attempts, cause: FailureCause::Error(Arc::from(CodecError::from(cause))), frozen })
    };
    let standing = match kind {
        IN_TURN | 6 => Standing::Sent { ahead: kind != IN_TURN },
        1 => Standing::GivenUp(past()?),
        2..=5 => Standing::Kept { past: past()?, whole: kind % 2 == 1, handed_over: kind >= 4 },
        _ => return Err(format!("{kind} is no standing that a batch has").into()),
    };
    let mut entries = Vec::new();
    while !reader.0.is_empty() {
        let count = u64::from_le_bytes(reader.array()?);
        let [code] = reader.array()?;
        let reason = FlushReason::of_code(code).ok_or_else(|| format!("{code} is no reason to flush"))?;
        let key = codec.decode_key(reader.framed()?)?;
        let data = codec.decode_data(reader.framed()?)?;
        let weight = weigh(&data);
        let index = u32::try_from(entries.len())?;
        let (hash, partition, counts_as_key, late) = (KeptHash::of(0), 0, true, 0);
        entries.push(Entry { key, data, count, weight, reason, hash, partition, index, counts_as_key, late });
    }
    if entries.is_empty() {
        return Err("no entry in it".into());
    }
    Ok(Found { content: Content { id, entries }, standing })
}

/// What `write` writes, after its length.
fn framed(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Written) -> Written {
    let start = out.len();
    out.extend([0; 4]);
    write(out)?;
    let length = u32::try_from(out.len() - start - 4)?;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, length: usize) -> Result<&'a [u8], CodecError> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or("it ends too early")?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        Ok(self.bytes(N)?.try_into()?)
    }

    fn framed(&mut self) -> Result<&'a [u8], CodecError> {
        let length = u32::from_le_bytes(self.array()?);
        self.bytes(length as usize)
    }
}
