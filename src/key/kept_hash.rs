/// What is kept of a key's hash, so that it need not be hashed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeptHash(u32);

impl KeptHash {
    /// As many as the state of a timer leaves room for in 32.
    pub(crate) const BITS: u32 = 28;

    /// Not the lowest bits of the hash's low half, which in a bad hash are no better than others and in a
    /// middling one, such as a product, worse.
    #[inline]
    pub(crate) fn of(hash: u64) -> Self {
        KeptHash(hash as u32 >> (u32::BITS - Self::BITS))
    }

    /// The one with these [`bits`](Self::bits).
    #[inline]
    pub(crate) fn from_bits(bits: u32) -> Self {
        debug_assert!(bits >> Self::BITS == 0, "more bits than are kept");
        KeptHash(bits)
    }

    #[inline]
    pub(crate) fn bits(self) -> u32 {
        self.0
    }

    /// The hash that a table sees: it chooses a place by the lowest bits and tells keys apart by the
    /// highest.
    #[inline]
    pub(crate) fn spread(self) -> u64 {
        u64::from(self.0) << (u64::BITS - Self::BITS) | u64::from(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_sees_all_of_it_at_both_ends() {
        let hash = KeptHash::of(0xdead_beef_1234_567f);
        assert_eq!(hash.bits(), 0x0123_4567);
        assert_eq!(hash.spread(), 0x1234_5670_0123_4567);
    }
}
