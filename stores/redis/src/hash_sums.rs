use std::fmt;
use std::marker::PhantomData;

use write_behind::FlushBatch;

use crate::field::{Amounts, Field};
use crate::script::{Arguments, WriteScript};

/// Hashes to which batches are added: a field for each key ([`Field`]), a hash for each value ([`Amounts`]).
///
/// ```no_run
/// use write_behind::{Buffer, Count, Sum, exactly_once::ExactlyOnce};
/// use write_behind_redis::{HashSums, RedisStore};
///
/// type Key = (String, u64); // account and minute, in Redis `ada:7`
/// type Traffic = (Count<i64>, Sum<i64>);
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sums = HashSums::<Key, Traffic>::new("requests").and("bytes");
/// let store = RedisStore::connect("redis://localhost", sums).await?;
/// let traffic = Buffer::builder().start_async(ExactlyOnce::new(store))?;
/// traffic.insert(("ada".to_owned(), 7), 512)?;
/// traffic.shutdown_async(std::time::Duration::from_secs(10)).await?;
/// # Ok(())
/// # }
/// ```
///
/// A sum past 63 bits, or a field that holds no number, is refused: its entry is given up alone, and the rest of its
/// batch counts. Minima, maxima and floats are for [a script of your own](crate::OwnScript).
///
/// Cost: one script for a batch, record included, in one round trip; two commands for each entry and hash. Redis does
/// nothing else meanwhile.
pub struct HashSums<K, V> {
    hashes: Vec<String>,
    types: PhantomData<fn(K, V)>,
}

impl<K, V> HashSums<K, V> {
    /// The hash of the only value, or of the first.
    #[must_use]
    pub fn new(hash: impl Into<String>) -> Self {
        HashSums { hashes: vec![hash.into()], types: PhantomData }
    }

    /// The hash of the next value.
    #[must_use]
    pub fn and(mut self, hash: impl Into<String>) -> Self {
        self.hashes.push(hash.into());
        self
    }
}

impl<K: Field + 'static, V: Amounts + 'static> WriteScript<K, V> for HashSums<K, V> {
    fn code(&self) -> &str {
        include_str!("lua/hash_sums.lua")
    }

    fn arguments(&self, batch: &FlushBatch<K, V>) -> Arguments {
        let mut arguments = Arguments { keys: self.hashes.clone(), args: Vec::new() };
        for entry in batch.entries() {
            arguments.args.push(entry.key().field().as_bytes().to_vec());
            arguments
                .args
                .extend(entry.data().amounts().iter().map(|amount| amount.to_string().into_bytes()));
        }
        arguments
    }

    fn problem(&self) -> Option<String> {
        let (named, needed) = (self.hashes.len(), V::LEN);
        (named != needed).then(|| format!("{named} hashes are named, and the aggregate has {needed} values"))
    }
}

impl<K, V> fmt::Debug for HashSums<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashSums").field("hashes", &self.hashes).finish()
    }
}
