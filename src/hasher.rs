//! How keys are hashed.

use std::fmt;
use std::hash::{BuildHasher, Hasher};

/// The default hasher: foldhash, seeded at random for each buffer.
///
/// Fast, and hard to attack without knowing the seed, but not cryptographic. If strangers choose
/// the keys and can measure you, set [`Builder::hasher`](crate::Builder::hasher) to `std::hash::RandomState`.
///
/// ```
/// use std::hash::BuildHasher;
/// use write_behind::RandomState;
///
/// let (one, other) = (RandomState::default(), RandomState::default());
/// assert_eq!(one.hash_one("key"), one.hash_one("key"));
/// assert_ne!(one.hash_one("key"), other.hash_one("key")); // seeded apart
/// ```
#[derive(Debug, Clone, Default)]
pub struct RandomState(hashbrown::DefaultHashBuilder);

impl BuildHasher for RandomState {
    type Hasher = DefaultHasher;

    #[inline]
    fn build_hasher(&self) -> DefaultHasher {
        DefaultHasher(self.0.build_hasher())
    }
}

/// The hasher of [`RandomState`].
#[derive(Clone)]
pub struct DefaultHasher(<hashbrown::DefaultHashBuilder as BuildHasher>::Hasher);

impl fmt::Debug for DefaultHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DefaultHasher")
    }
}

macro_rules! forward_writes {
    ($($write:ident($written:ty))+) => {$(
        #[inline]
        fn $write(&mut self, written: $written) {
            self.0.$write(written);
        }
    )+};
}

impl Hasher for DefaultHasher {
    forward_writes! {
        write(&[u8])
        write_u8(u8) write_u16(u16) write_u32(u32) write_u64(u64) write_u128(u128) write_usize(usize)
        write_i8(i8) write_i16(i16) write_i32(i32) write_i64(i64) write_i128(i128) write_isize(isize)
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0.finish()
    }
}
