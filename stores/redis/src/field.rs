use std::borrow::Cow;
use std::sync::Arc;

use write_behind::{Count, Sum};

/// What a key is called in a hash. Implemented for texts (as they are), integers (in decimal) and tuples of up to
/// four, whose parts stand with a `:` between them: `("ada", 7)` is `ada:7`. A `:` or `\` inside a part of a tuple has a
/// `\` before it, so that different keys are different fields.
///
/// ```
/// use write_behind_redis::Field;
///
/// assert_eq!((("a:b", 7).field(), "a:b".field()), (r"a\:b:7".into(), "a:b".into()));
/// ```
pub trait Field {
    /// The field.
    fn field(&self) -> Cow<'_, str>;
}

/// A number that is added to a field: [`Sum`] of integers up to `i64`, and [`Count`].
pub trait Amount {
    /// What is added.
    fn amount(&self) -> i64;
}

/// What an aggregate adds to each hash: an [`Amount`] by itself, or a tuple of up to four, in this order.
///
/// ```
/// use write_behind::{Count, Sum};
/// use write_behind_redis::Amounts;
///
/// assert_eq!((Count::<i64>::from(2), Sum(7_i64)).amounts(), [2, 7]);
/// ```
pub trait Amounts {
    /// How many.
    const LEN: usize;

    /// What is added to each.
    fn amounts(&self) -> Vec<i64>;
}

macro_rules! texts {
    ($($text:ty)+) => {$(
        impl Field for $text {
            fn field(&self) -> Cow<'_, str> {
                Cow::Borrowed(self)
            }
        }
    )+};
}

texts!(String &'static str Box<str> Arc<str> Cow<'static, str>);

macro_rules! integers {
    ($($integer:ty)+) => {$(
        impl Field for $integer {
            fn field(&self) -> Cow<'_, str> {
                self.to_string().into()
            }
        }
    )+};
}

integers!(i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize);

macro_rules! amounts {
    ($($integer:ty)+) => {$(
        impl Amount for Sum<$integer> {
            fn amount(&self) -> i64 {
                self.0.into()
            }
        }
    )+};
}

amounts!(i8 i16 i32 i64 u8 u16 u32);

impl<I> Amount for Count<I> {
    fn amount(&self) -> i64 {
        // Nobody has inserted so often.
        i64::try_from(self.value()).unwrap_or(i64::MAX)
    }
}

impl<A: Amount> Amounts for A {
    const LEN: usize = 1;

    fn amounts(&self) -> Vec<i64> {
        vec![self.amount()]
    }
}

/// Adds a part of a tuple.
fn push(field: &mut String, part: &str) {
    for character in part.chars() {
        if matches!(character, ':' | '\\') {
            field.push('\\');
        }
        field.push(character);
    }
}

macro_rules! tuples {
    ($len:literal: $($member:ident $index:tt),+) => {
        impl<$($member: Field),+> Field for ($($member,)+) {
            fn field(&self) -> Cow<'_, str> {
                let mut field = String::new();
                $(
                    if $index > 0 {
                        field.push(':');
                    }
                    push(&mut field, &self.$index.field());
                )+
                field.into()
            }
        }

        impl<$($member: Amount),+> Amounts for ($($member,)+) {
            const LEN: usize = $len;

            fn amounts(&self) -> Vec<i64> {
                vec![$(self.$index.amount()),+]
            }
        }
    };
}

tuples!(2: A 0, B 1);
tuples!(3: A 0, B 1, C 2);
tuples!(4: A 0, B 1, C 2, D 3);
