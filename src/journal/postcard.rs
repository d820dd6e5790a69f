use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec::{Codec, CodecError};

/// Encodes keys and data with serde, in the format of the crate `postcard`: small, and stable since its version 1.
/// Numbers take fewer bytes the smaller they are.
///
/// Fields have no names in it. Adding, removing or moving one, or a variant of an enum, makes another schema.
///
/// ```
/// use write_behind::Sum;
/// use write_behind::journal::{Codec, CodecError, Postcard};
///
/// fn round_trip(codec: impl Codec<String, Sum<i64>>) -> Result<(), CodecError> {
///     let mut bytes = Vec::new();
///     codec.encode_data(&Sum(7), &mut bytes)?;
///     assert_eq!((bytes.len(), codec.decode_data(&bytes)?), (1, Sum(7)));
///
///     bytes.push(0);
///     assert!(codec.decode_data(&bytes).is_err());
///     Ok(())
/// }
///
/// round_trip(Postcard)?;
/// # Ok::<(), CodecError>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Postcard;

impl<K, V> Codec<K, V> for Postcard
where
    K: Serialize + DeserializeOwned,
    V: Serialize + DeserializeOwned,
{
    fn encode_key(&self, key: &K, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        encode(key, bytes)
    }

    fn decode_key(&self, bytes: &[u8]) -> Result<K, CodecError> {
        decode(bytes)
    }

    fn encode_data(&self, data: &V, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        encode(data, bytes)
    }

    fn decode_data(&self, bytes: &[u8]) -> Result<V, CodecError> {
        decode(bytes)
    }
}

fn encode(value: &impl Serialize, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
    Ok(postcard::serialize_with_flavor(value, Append(bytes))?)
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    match postcard::take_from_bytes(bytes)? {
        (value, []) => Ok(value),
        (_, rest) => Err(format!("{} bytes too many", rest.len()).into()),
    }
}

/// Of postcard's own flavours, none appends to what is somebody else's.
struct Append<'a>(&'a mut Vec<u8>);

impl Flavor for Append<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::fmt::Debug;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::aggregate::{Count, Last, Max, Min, Sum};

    fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) {
        let mut bytes = vec![42];
        encode(&value, &mut bytes).unwrap();
        assert_eq!(bytes[0], 42, "what was there before");
        assert_eq!(decode::<T>(&bytes[1..]).unwrap(), value);
        bytes.push(0);
        assert!(decode::<T>(&bytes[1..]).is_err(), "a byte too many");
    }

    proptest! {
        #[test]
        fn keys_come_back(number: u64, text: String, signed: i128, parts: (u8, Option<char>, Vec<u16>)) {
            comes_back(number);
            comes_back(text);
            comes_back(signed);
            comes_back(parts);
        }

        #[test]
        fn aggregates_come_back(a: i64, b: u128, f: f64, text: String, list: Vec<String>, set: BTreeSet<u32>) {
            comes_back(Sum(a));
            comes_back(Sum(b));
            comes_back(Sum(Duration::from_nanos(a.unsigned_abs())));
            comes_back(Count::<()>::from(a.unsigned_abs()));
            comes_back((Min(a), Max(b), Last(text.clone())));
            comes_back(Sum(if f.is_nan() { 0.0 } else { f }));
            comes_back(BTreeMap::from([(text, Sum(a))]));
            comes_back(list);
            comes_back(set);
        }

        #[test]
        fn random_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode::<u64>(&bytes);
            let _ = decode::<String>(&bytes);
            let _ = decode::<(Sum<i64>, Count, Min<u16>, Max<f32>, Last<Option<String>>)>(&bytes);
            let _ = decode::<Vec<Vec<u64>>>(&bytes);
            let _ = decode::<BTreeMap<String, Sum<Duration>>>(&bytes);
        }

        #[test]
        fn what_is_cut_off_is_refused(text in ".{1,20}", cut in 0_usize..20) {
            let mut bytes = Vec::new();
            encode(&text, &mut bytes).unwrap();
            prop_assert!(decode::<String>(&bytes[..cut.min(bytes.len() - 1)]).is_err());
        }
    }
}
