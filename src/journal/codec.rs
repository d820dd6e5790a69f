use std::error::Error;
use std::sync::Arc;

/// Why something could not be encoded or decoded: whatever the codec has to say.
pub type CodecError = Box<dyn Error + Send + Sync>;

/// How keys and data are written to a journal, and read again. `Postcard` does it for all that serde can write and
/// read; a codec of your own is for other types, or for a layout that you want to decide about.
///
/// What is encoded is read by whatever version of your program starts next with the same file. Change the name of the
/// schema whenever that could not read it.
///
/// A codec must not panic, whatever it is given to decode.
///
/// # Example
///
/// Sums by numbers, 8 bytes each:
///
#[cfg_attr(feature = "journal", doc = "```")]
#[cfg_attr(not(feature = "journal"), doc = "```ignore")]
/// use write_behind::Sum;
/// use write_behind::journal::{Codec, CodecError};
///
/// struct Fixed;
///
/// impl Codec<u64, Sum<i64>> for Fixed {
///     fn encode_key(&self, page: &u64, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
///         bytes.extend_from_slice(&page.to_be_bytes());
///         Ok(())
///     }
///
///     fn decode_key(&self, bytes: &[u8]) -> Result<u64, CodecError> {
///         Ok(u64::from_be_bytes(bytes.try_into()?))
///     }
///
///     fn encode_data(&self, views: &Sum<i64>, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
///         bytes.extend_from_slice(&views.0.to_be_bytes());
///         Ok(())
///     }
///
///     fn decode_data(&self, bytes: &[u8]) -> Result<Sum<i64>, CodecError> {
///         Ok(Sum(i64::from_be_bytes(bytes.try_into()?)))
///     }
/// }
///
/// let mut bytes = Vec::new();
/// Fixed.encode_data(&Sum(-3), &mut bytes)?;
/// assert_eq!(Fixed.decode_data(&bytes)?, Sum(-3));
/// assert!(Fixed.decode_data(&bytes[1..]).is_err());
/// # Ok::<(), CodecError>(())
/// ```
pub trait Codec<K, V>: Send + Sync + 'static {
    /// Appends a key. Equal keys must be encoded alike, always, and keys that differ must not: the bytes are how the
    /// journal tells one key from another. A hash map within a key, for instance, has no such order.
    ///
    /// # Errors
    ///
    /// The key cannot be encoded. What has been appended is not used.
    fn encode_key(&self, key: &K, bytes: &mut Vec<u8>) -> Result<(), CodecError>;

    /// The key that was encoded as these bytes, all of them.
    ///
    /// # Errors
    ///
    /// The bytes are no key.
    fn decode_key(&self, bytes: &[u8]) -> Result<K, CodecError>;

    /// Appends what is kept of a key, so that [`decode_data`](Self::decode_data) makes the same of it: as large, as
    /// heavy, and with the same effect where it is flushed.
    ///
    /// # Errors
    ///
    /// The data cannot be encoded. What has been appended is not used.
    fn encode_data(&self, data: &V, bytes: &mut Vec<u8>) -> Result<(), CodecError>;

    /// The data that was encoded as these bytes, all of them.
    ///
    /// # Errors
    ///
    /// The bytes are no data.
    fn decode_data(&self, bytes: &[u8]) -> Result<V, CodecError>;
}

impl<K, V, C: Codec<K, V> + ?Sized> Codec<K, V> for Arc<C> {
    fn encode_key(&self, key: &K, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        C::encode_key(self, key, bytes)
    }

    fn decode_key(&self, bytes: &[u8]) -> Result<K, CodecError> {
        C::decode_key(self, bytes)
    }

    fn encode_data(&self, data: &V, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        C::encode_data(self, data, bytes)
    }

    fn decode_data(&self, bytes: &[u8]) -> Result<V, CodecError> {
        C::decode_data(self, bytes)
    }
}
