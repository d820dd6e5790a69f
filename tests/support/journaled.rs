use write_behind::Builder;
#[cfg(feature = "journal")]
use write_behind::{Aggregate, Key};

/// With a journal that nobody will read, if `WRITE_BEHIND_TEST_JOURNAL` is set: what the contract says holds with it too.
#[cfg(feature = "journal")]
pub(crate) fn journaled<K: Key, V: Aggregate>(builder: Builder<K, V>) -> Builder<K, V> {
    use write_behind::journal::{Codec, CodecError, Journal, SimulatedDisk};

    struct Blank;

    impl<K, V> Codec<K, V> for Blank {
        fn encode_key(&self, _: &K, _: &mut Vec<u8>) -> Result<(), CodecError> {
            Ok(())
        }

        fn decode_key(&self, _: &[u8]) -> Result<K, CodecError> {
            Err("nobody reads it".into())
        }

        fn encode_data(&self, _: &V, _: &mut Vec<u8>) -> Result<(), CodecError> {
            Ok(())
        }

        fn decode_data(&self, _: &[u8]) -> Result<V, CodecError> {
            Err("nobody reads it".into())
        }
    }

    if std::env::var_os("WRITE_BEHIND_TEST_JOURNAL").is_none() {
        return builder;
    }
    builder.journal(Journal::with_codec("journal", Blank).simulated(&SimulatedDisk::new(1)))
}

#[cfg(not(feature = "journal"))]
pub(crate) fn journaled<K, V>(builder: Builder<K, V>) -> Builder<K, V> {
    builder
}
