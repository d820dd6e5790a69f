use std::time::Duration;

use super::{Aggregate, words};

/// What [`Sum`] can add up. Implemented for all integers, for `f32`/`f64` and for [`Duration`].
///
/// ```
/// use write_behind::{Addend, Aggregate, Sum};
///
/// #[derive(Debug, Clone, Copy, PartialEq)]
/// struct Cents(i64);
///
/// impl Addend for Cents {
///     const ZERO: Self = Cents(0);
///
///     fn checked_add(self, other: Self) -> Option<Self> {
///         self.0.checked_add(other.0).map(Cents)
///     }
/// }
///
/// let mut price = Sum::start(Cents(250));
/// price.absorb(Cents(49));
/// assert_eq!(price, Sum(Cents(299)));
/// ```
pub trait Addend: Copy + Send + Sync + 'static {
    /// The neutral element.
    const ZERO: Self;

    /// `self + other`, or `None` if the result does not fit. Floats always fit: they round, and
    /// past their range become infinite.
    fn checked_add(self, other: Self) -> Option<Self>;
}

/// An [`Addend`] that can be counted up one by one. Implemented for all integers and for `f32`/`f64`.
///
/// ```
/// use write_behind::{Addend, Increment};
///
/// #[derive(Clone, Copy)]
/// struct Tickets(u32);
///
/// impl Addend for Tickets {
///     const ZERO: Self = Tickets(0);
///
///     fn checked_add(self, other: Self) -> Option<Self> {
///         self.0.checked_add(other.0).map(Tickets)
///     }
/// }
///
/// impl Increment for Tickets {
///     const ONE: Self = Tickets(1);
/// }
/// # assert_eq!(Tickets::ZERO.checked_add(Tickets::ONE).map(|tickets| tickets.0), Some(1));
/// ```
pub trait Increment: Addend {
    /// What [`increment`](crate::Buffer::increment) adds.
    const ONE: Self;
}

/// Keeps one total. Weighs 1, however many inserts it absorbed.
///
/// An addition that would overflow is never done: the generation is closed early with the total it
/// has, flushed, and the item starts the next one. What reaches the sink adds up exactly.
///
/// ```
/// use write_behind::{Aggregate, Sum};
///
/// let mut bytes = Sum::start(200_u8);
/// bytes.absorb(50);
/// assert_eq!(bytes, Sum(250));
/// assert!(!bytes.accepts(&6)); // flushed as 250, and 6 begins the next one
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Sum<T>(pub T);

impl<T: Addend> Aggregate for Sum<T> {
    type Item = T;

    fn start(item: T) -> Self {
        Sum(item)
    }

    fn absorb(&mut self, item: T) {
        if let Some(total) = self.0.checked_add(item) {
            self.0 = total;
        } else {
            debug_assert!(false, "absorb is called only after accepts");
        }
    }

    fn merge(&mut self, later: Self) {
        self.absorb(later.0);
    }

    fn accepts(&self, item: &T) -> bool {
        self.0.checked_add(*item).is_some()
    }

    fn accepts_merge(&self, later: &Self) -> bool {
        self.accepts(&later.0)
    }

    #[inline]
    fn lane_words() -> usize {
        words::words_of::<T>()
    }

    #[inline]
    fn to_words(&self, words: &mut [u64]) {
        words::write(&self.0, words);
    }

    #[inline]
    fn from_words(words: &[u64]) -> Option<Self> {
        words::read(words).map(Sum)
    }
}

macro_rules! integer_addends {
    ($($integer:ty)*) => {$(
        impl Addend for $integer {
            const ZERO: Self = 0;

            #[inline]
            fn checked_add(self, other: Self) -> Option<Self> {
                <$integer>::checked_add(self, other)
            }
        }

        impl Increment for $integer {
            const ONE: Self = 1;
        }
    )*};
}

integer_addends!(i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize);

macro_rules! float_addends {
    ($($float:ty)*) => {$(
        impl Addend for $float {
            const ZERO: Self = 0.0;

            #[inline]
            fn checked_add(self, other: Self) -> Option<Self> {
                Some(self + other)
            }
        }

        impl Increment for $float {
            const ONE: Self = 1.0;
        }
    )*};
}

float_addends!(f32 f64);

impl Addend for Duration {
    const ZERO: Self = Duration::ZERO;

    #[inline]
    fn checked_add(self, other: Self) -> Option<Self> {
        Duration::checked_add(self, other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_would_overflow_in_either_direction() {
        assert!(!Sum(i64::MAX).accepts(&1));
        assert!(!Sum(i64::MIN).accepts(&-1));
        assert!(!Sum(u8::MAX).accepts_merge(&Sum(1)));
        assert!(Sum(i64::MAX).accepts(&-1));
    }

    #[test]
    fn durations_add_up_and_refuse_what_does_not_fit() {
        let mut time = Sum::start(Duration::from_secs(1));
        time.absorb(Duration::from_millis(500));
        assert_eq!(time, Sum(Duration::from_millis(1_500)));
        assert!(!time.accepts(&Duration::MAX));
    }

    #[test]
    fn adds_and_weighs_one() {
        let mut total = Sum::start(40_i64);
        total.absorb(3);
        total.merge(Sum(-1));
        assert_eq!(total, Sum(42));
        assert_eq!(total.weight(), 1);
        assert_eq!(total.growth(&7), 0);
    }
}
