//! A batch as a message.

use serde::{Deserialize, Serialize};

use crate::store::{Deltas, LedgerId};

#[derive(Serialize)]
struct Outgoing<'a> {
    batch: String,
    keys: &'a [&'a str],
    values: &'a [i64],
}

#[derive(Deserialize)]
struct Incoming {
    batch: String,
    keys: Vec<String>,
    values: Vec<i64>,
}

/// A batch that was published.
pub(super) struct Batch {
    pub(super) id: LedgerId,
    keys: Vec<String>,
    values: Vec<i64>,
}

impl Batch {
    pub(super) fn deltas(&self) -> Deltas<'_> {
        Deltas { keys: self.keys.iter().map(String::as_str).collect(), values: self.values.clone() }
    }
}

pub(super) fn compose(id: LedgerId, deltas: &Deltas<'_>) -> String {
    let message = Outgoing { batch: id.to_string(), keys: &deltas.keys, values: &deltas.values };
    serde_json::to_string(&message).expect("text and numbers can always be written as JSON")
}

pub(super) fn parse(payload: &[u8]) -> Result<Batch, String> {
    let Incoming { batch, keys, values } =
        serde_json::from_slice(payload).map_err(|error| format!("it is no batch: {error}"))?;
    if keys.len() != values.len() {
        return Err(format!("it has {} keys and {} values", keys.len(), values.len()));
    }
    Ok(Batch { id: batch.parse()?, keys, values })
}
