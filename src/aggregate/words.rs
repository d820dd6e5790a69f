//! Numbers as machine words, for aggregates that lanes can keep.

use std::any::Any;
use std::time::Duration;

/// How many words a value of this type is; 0 if it is none of those that are known.
///
/// The compiler knows the answer when it knows `T`: nothing of this is left in a program.
#[inline]
pub(super) fn words_of<T: Any>() -> usize {
    known_words(&None::<T>).unwrap_or(0)
}

/// As [`words_of`], for types of which any two values can be compared.
#[inline]
pub(super) fn words_of_ordered<T: Any>() -> usize {
    let nothing: &dyn Any = &None::<T>;
    if nothing.is::<Option<f32>>() || nothing.is::<Option<f64>>() { 0 } else { words_of::<T>() }
}

/// Writes a value down in as many words as it is.
#[inline]
pub(super) fn write<T: Any>(value: &T, words: &mut [u64]) {
    write_known(value, words);
}

/// What was written down there.
#[inline]
pub(super) fn read<T: Any>(words: &[u64]) -> Option<T> {
    let mut value = None::<T>;
    read_known(&mut value, words);
    value
}

macro_rules! known {
    ($($number:ty, $words:literal: |$value:ident| $write:expr, |$read:ident| $back:expr;)+) => {
        #[inline]
        fn known_words(nothing: &dyn Any) -> Option<usize> {
            $(if nothing.is::<Option<$number>>() {
                return Some($words);
            })+
            None
        }

        #[inline]
        fn write_known(value: &dyn Any, words: &mut [u64]) {
            $(if let Some(&$value) = value.downcast_ref::<$number>() {
                let written: [u64; $words] = $write;
                words[..$words].copy_from_slice(&written);
            })+
        }

        #[inline]
        fn read_known(value: &mut dyn Any, words: &[u64]) {
            $(if let Some(value) = value.downcast_mut::<Option<$number>>() {
                let $read = words;
                *value = $back;
            })+
        }
    };
}

known! {
    i64, 1: |value| [value as u64], |words| Some(words[0] as i64);
    u64, 1: |value| [value], |words| Some(words[0]);
    i32, 1: |value| [value as u64], |words| Some(words[0] as i32);
    u32, 1: |value| [u64::from(value)], |words| Some(words[0] as u32);
    usize, 1: |value| [value as u64], |words| Some(words[0] as usize);
    isize, 1: |value| [value as u64], |words| Some(words[0] as isize);
    i16, 1: |value| [value as u64], |words| Some(words[0] as i16);
    u16, 1: |value| [u64::from(value)], |words| Some(words[0] as u16);
    i8, 1: |value| [value as u64], |words| Some(words[0] as i8);
    u8, 1: |value| [u64::from(value)], |words| Some(words[0] as u8);
    f64, 1: |value| [value.to_bits()], |words| Some(f64::from_bits(words[0]));
    f32, 1: |value| [u64::from(value.to_bits())], |words| Some(f32::from_bits(words[0] as u32));
    i128, 2: |value| [value as u64, (value >> 64) as u64],
        |words| Some((u128::from(words[1]) << 64 | u128::from(words[0])) as i128);
    u128, 2: |value| [value as u64, (value >> 64) as u64],
        |words| Some(u128::from(words[1]) << 64 | u128::from(words[0]));
    Duration, 2: |value| [value.as_secs(), u64::from(value.subsec_nanos())],
        |words| Some(Duration::new(words[0], words[1] as u32));
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;

    fn comes_back<T: Any + Copy + Debug + PartialEq>(values: &[T]) {
        for value in values {
            let mut words = [7; 3];
            write(value, &mut words[..words_of::<T>()]);
            assert_eq!(read::<T>(&words), Some(*value));
        }
        assert!(words_of::<T>() > 0);
    }

    #[test]
    fn what_is_written_comes_back() {
        comes_back(&[i8::MIN, -1, 0, i8::MAX]);
        comes_back(&[i16::MIN, -1, 0, i16::MAX]);
        comes_back(&[i32::MIN, -1, 0, i32::MAX]);
        comes_back(&[i64::MIN, -1, 0, i64::MAX]);
        comes_back(&[i128::MIN, -1, 0, 1 << 64, i128::MAX]);
        comes_back(&[isize::MIN, -1, isize::MAX]);
        comes_back(&[u8::MAX, 0]);
        comes_back(&[u16::MAX, 0]);
        comes_back(&[u32::MAX, 0]);
        comes_back(&[u64::MAX, 0]);
        comes_back(&[u128::MAX, 0, 1 << 64]);
        comes_back(&[usize::MAX, 0]);
        comes_back(&[f32::MIN, -0.5, f32::INFINITY]);
        comes_back(&[f64::MIN, -0.5, f64::INFINITY]);
        comes_back(&[Duration::MAX, Duration::ZERO, Duration::from_nanos(1_000_000_001)]);
    }

    #[test]
    fn what_is_not_known_has_no_words() {
        assert_eq!((words_of::<String>(), words_of::<(u64, u64)>()), (0, 0));
        assert_eq!(read::<String>(&[1]), None);
        assert_eq!((words_of_ordered::<f64>(), words_of_ordered::<i64>()), (0, 1));
    }
}
