use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec::{Codec, CodecError};

/// Writes with `serde` and `postcard`.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Postcard;

fn write(value: &impl Serialize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    *out = ::postcard::to_extend(value, std::mem::take(out))?;
    Ok(())
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let (value, rest) = ::postcard::take_from_bytes(bytes)?;
    if rest.is_empty() { Ok(value) } else { Err("there is more than was read".into()) }
}

impl<K: Serialize + DeserializeOwned, V: Serialize + DeserializeOwned> Codec<K, V> for Postcard {
    fn encode_key(&self, key: &K, out: &mut Vec<u8>) -> Result<(), CodecError> {
        write(key, out)
    }

    fn decode_key(&self, bytes: &[u8]) -> Result<K, CodecError> {
        read(bytes)
    }

    fn encode_data(&self, data: &V, out: &mut Vec<u8>) -> Result<(), CodecError> {
        write(data, out)
    }

    fn decode_data(&self, bytes: &[u8]) -> Result<V, CodecError> {
        read(bytes)
    }
}
