//! How keys and data become bytes.

/// Turns keys and data into bytes and back.
pub trait Codec<K, V>: Send + Sync + 'static {
    /// Appends a key.
    fn encode_key(&self, key: &K, out: &mut Vec<u8>) -> Result<(), CodecError>;
    /// Reads a key.
    fn decode_key(&self, bytes: &[u8]) -> Result<K, CodecError>;
    /// Appends data.
    fn encode_data(&self, data: &V, out: &mut Vec<u8>) -> Result<(), CodecError>;
    /// Reads data.
    fn decode_data(&self, bytes: &[u8]) -> Result<V, CodecError>;
}

/// Why.
pub type CodecError = Box<dyn std::error::Error + Send + Sync>;
