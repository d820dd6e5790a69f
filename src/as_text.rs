//! Batches and their ids as text: for dead letters, and for queues between a buffer and its storage.

use std::str::FromStr;
#[cfg(feature = "serde")]
use std::sync::Arc;

#[cfg(feature = "serde")]
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::batch::BatchId;
#[cfg(feature = "serde")]
use crate::batch::{Content, Entry, FlushBatch, FlushReason};

/// A text that is no id of a batch.
///
/// ```
/// use write_behind::BatchId;
///
/// let error = "7".parse::<BatchId>().unwrap_err();
/// assert_eq!(error.to_string(), "\"7\" is no id of a batch");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no id of a batch")]
#[non_exhaustive]
pub struct ParseBatchIdError {
    text: String,
}

/// Reads what [`Display`](std::fmt::Display) has written.
///
/// ```
/// use write_behind::BatchId;
///
/// let id: BatchId = "00000000000000a1-7".parse()?;
/// assert_eq!((id.instance, id.sequence), (0xa1, 7));
/// # Ok::<(), write_behind::ParseBatchIdError>(())
/// ```
impl FromStr for BatchId {
    type Err = ParseBatchIdError;

    fn from_str(text: &str) -> Result<Self, ParseBatchIdError> {
        let id = text.split_once('-').and_then(|(instance, sequence)| {
            let instance = u64::from_str_radix(instance, 16).ok()?;
            Some(BatchId { instance, sequence: sequence.parse().ok()? })
        });
        id.ok_or_else(|| ParseBatchIdError { text: text.to_owned() })
    }
}

#[cfg(feature = "serde")]
#[derive(Serialize, Deserialize)]
struct Message<E> {
    id: String,
    entries: Vec<E>,
}

#[cfg(feature = "serde")]
#[derive(Serialize, Deserialize)]
struct Row<K, V> {
    key: K,
    data: V,
    count: u64,
}

/// Its id and its entries, each with `key`, `data` and `count`: what a batch needs to be applied elsewhere, once.
/// Feature `serde`.
///
/// ```
/// use write_behind::{FlushBatch, Sum};
///
/// let batch = FlushBatch::builder(0xa1, 7).entry("/home".to_owned(), Sum(3), 2).build();
/// let text = serde_json::to_string(&batch)?;
/// assert_eq!(text, r#"{"id":"00000000000000a1-7","entries":[{"key":"/home","data":3,"count":2}]}"#);
/// let there: FlushBatch<String, Sum<i64>> = serde_json::from_str(&text)?;
/// assert_eq!((there.id(), there.entries()[0].data()), (batch.id(), &Sum(3)));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[cfg(feature = "serde")]
impl<K: Serialize, V: Serialize> Serialize for FlushBatch<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rows = self.entries().iter();
        let rows = rows.map(|entry| Row { key: entry.key(), data: entry.data(), count: entry.count() });
        let entries: Vec<Row<&K, &V>> = rows.collect();
        Message { id: self.id().to_string(), entries }.serialize(serializer)
    }
}

/// As a first attempt of epoch 1 that settles nothing: what is settled and who was replaced concerns whoever sent it.
/// What a queue has accepted counts, whoever has taken over from its sender meanwhile. At least one entry. Feature
/// `serde`.
#[cfg(feature = "serde")]
impl<'de, K: Deserialize<'de>, V: Deserialize<'de>> Deserialize<'de> for FlushBatch<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Message { id, entries } = Message::<Row<K, V>>::deserialize(deserializer)?;
        let id = id.parse().map_err(de::Error::custom)?;
        if entries.is_empty() {
            return Err(de::Error::custom("a batch has entries"));
        }
        let entry = |(row, index)| {
            let Row { key, data, count } = row;
            Entry::of(key, data, count, FlushReason::Requested, index)
        };
        let entries = entries.into_iter().zip(0..).map(entry).collect();
        Ok(FlushBatch { content: Arc::new(Content { id, entries }), attempt: 1, settled_below: 0, epoch: 1 })
    }
}
