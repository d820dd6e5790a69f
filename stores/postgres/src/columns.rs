use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use tokio_postgres::types::ToSql;
use write_behind::{Count, Last, Max, Min, Sum};

/// What a single column of a key can hold. Implemented for texts, integers up to `i64`, `bool`, floats, bytes,
/// [`SystemTime`], and, by features of the same names, for what `uuid`, `chrono` and `time` have.
///
/// ```
/// use write_behind_postgres::Column;
///
/// #[derive(Clone, PartialEq, Eq, Hash)]
/// struct Account(i64);
///
/// impl Column for Account {
///     type Sql<'a> = i64;
///     const TYPE: &'static str = "bigint";
///     fn value(&self) -> i64 {
///         self.0
///     }
/// }
/// ```
pub trait Column {
    /// What the client knows how to write.
    type Sql<'a>: ToSql + Send + Sync
    where
        Self: 'a;

    /// The type that it is written as, and that the column has where the table is created.
    const TYPE: &'static str;

    /// The type that a column of sums has where the table is created. Provided: the same.
    const SUM_TYPE: &'static str = Self::TYPE;

    /// What is written.
    fn value(&self) -> Self::Sql<'_>;
}

/// The values of one column, one for each row: made by [`array()`].
#[derive(Debug)]
pub struct Array<'a>(Box<dyn ToSql + Send + Sync + 'a>);

impl Array<'_> {
    pub(crate) fn as_parameter(&self) -> &(dyn ToSql + Sync) {
        &*self.0
    }
}

/// The values of one column, for [`Columns`] and [`Values`] of your own: see there.
pub fn array<'a, T: ToSql + Send + Sync + 'a>(values: impl IntoIterator<Item = T>) -> Array<'a> {
    Array(Box::new(values.into_iter().collect::<Vec<T>>()))
}

/// What a key is in columns: a [`Column`] by itself, or a tuple of up to six. Implement it for a key of your own:
///
/// ```
/// use write_behind_postgres::{Array, Columns, array};
///
/// #[derive(Clone, PartialEq, Eq, Hash)]
/// struct PerMinute {
///     account: String,
///     minute: i64,
/// }
///
/// impl Columns for PerMinute {
///     fn types() -> Vec<&'static str> {
///         vec!["text", "bigint"]
///     }
///
///     fn arrays<'a>(keys: &[&'a Self]) -> Vec<Array<'a>> {
///         vec![array(keys.iter().map(|key| key.account.as_str())), array(keys.iter().map(|key| key.minute))]
///     }
/// }
/// ```
pub trait Columns: Sized {
    /// The type of each column.
    fn types() -> Vec<&'static str>;

    /// The values of each column, in the order of the keys.
    fn arrays<'a>(keys: &[&'a Self]) -> Vec<Array<'a>>;
}

/// How a new value and the one in the table become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Merge {
    /// They are added up. A sum that does not fit is refused.
    Add,
    /// The lesser one.
    Lesser,
    /// The greater one.
    Greater,
    /// The new one.
    Replace,
}

/// What a single value column can hold: [`Sum`], [`Count`], [`Min`], [`Max`] and [`Last`].
///
/// ```
/// use write_behind::{Max, Sum};
/// use write_behind_postgres::{Merge, Value};
///
/// assert_eq!((Sum::<i32>::TYPE, Sum::<i32>::TABLE_TYPE), ("integer", "bigint"));
/// assert_eq!((Sum::<i64>::MERGE, Max::<i64>::MERGE), (Merge::Add, Merge::Greater));
/// ```
pub trait Value {
    /// What the client knows how to write.
    type Sql<'a>: ToSql + Send + Sync
    where
        Self: 'a;

    /// The type that it is written as.
    const TYPE: &'static str;
    /// The type that the column has where the table is created.
    const TABLE_TYPE: &'static str;
    /// What becomes of it and of what is in the table.
    const MERGE: Merge;

    /// What is written.
    fn value(&self) -> Self::Sql<'_>;
}

/// A value column: what it is written as, its type where the table is created, and how it is merged.
pub type ValueColumn = (&'static str, &'static str, Merge);

/// What an aggregate is in columns: a [`Value`] by itself, or a tuple of up to six, in this order. Implement it for an
/// aggregate of your own:
///
/// ```
/// use write_behind_postgres::{Array, Merge, ValueColumn, Values, array};
///
/// struct Requests {
///     answered: i64,
///     slowest: i32,
/// }
///
/// impl Values for Requests {
///     fn columns() -> Vec<ValueColumn> {
///         vec![("bigint", "bigint", Merge::Add), ("integer", "integer", Merge::Greater)]
///     }
///
///     fn arrays<'a>(data: &[&'a Self]) -> Vec<Array<'a>> {
///         vec![array(data.iter().map(|data| data.answered)), array(data.iter().map(|data| data.slowest))]
///     }
/// }
/// ```
pub trait Values: Sized {
    /// The columns.
    fn columns() -> Vec<ValueColumn>;

    /// The values of each column, in the order of the rows.
    fn arrays<'a>(data: &[&'a Self]) -> Vec<Array<'a>>;
}

macro_rules! columns {
    ($sql:literal, sums $sums:literal, as $target:ty: $($type:ty)+) => {$(
        impl Column for $type {
            type Sql<'a> = $target;

            const TYPE: &'static str = $sql;
            const SUM_TYPE: &'static str = $sums;

            fn value(&self) -> $target {
                <$target>::from(*self)
            }
        }
    )+};
    ($sql:literal, by $get:ident, as $target:ty: $($type:ty)+) => {$(
        impl Column for $type {
            type Sql<'a> = &'a $target;

            const TYPE: &'static str = $sql;

            fn value(&self) -> &$target {
                self.$get()
            }
        }
    )+};
}

columns!("text", by as_ref, as str: String &'static str Box<str> Arc<str> Cow<'static, str>);
columns!("bytea", by as_slice, as [u8]: Vec<u8>);
columns!("smallint", sums "bigint", as i16: i8 i16 u8);
columns!("integer", sums "bigint", as i32: i32 u16);
columns!("bigint", sums "bigint", as i64: i64 u32);
columns!("real", sums "double precision", as f32: f32);
columns!("double precision", sums "double precision", as f64: f64);
columns!("boolean", sums "boolean", as bool: bool);
columns!("timestamptz", sums "timestamptz", as SystemTime: SystemTime);
#[cfg(feature = "uuid")]
columns!("uuid", sums "uuid", as uuid::Uuid: uuid::Uuid);
#[cfg(feature = "chrono")]
columns!("date", sums "date", as chrono::NaiveDate: chrono::NaiveDate);
#[cfg(feature = "chrono")]
columns!("timestamp", sums "timestamp", as chrono::NaiveDateTime: chrono::NaiveDateTime);
#[cfg(feature = "chrono")]
columns!("timestamptz", sums "timestamptz", as chrono::DateTime<chrono::Utc>: chrono::DateTime<chrono::Utc>);
#[cfg(feature = "time")]
columns!("date", sums "date", as time::Date: time::Date);
#[cfg(feature = "time")]
columns!("timestamp", sums "timestamp", as time::PrimitiveDateTime: time::PrimitiveDateTime);
#[cfg(feature = "time")]
columns!("timestamptz", sums "timestamptz", as time::OffsetDateTime: time::OffsetDateTime);

macro_rules! values {
    ($($aggregate:ident $merge:ident $type:ident)+) => {$(
        impl<T: Column> Value for $aggregate<T> {
            type Sql<'a> = T::Sql<'a> where Self: 'a;

            const TYPE: &'static str = T::TYPE;
            const TABLE_TYPE: &'static str = T::$type;
            const MERGE: Merge = Merge::$merge;

            fn value(&self) -> T::Sql<'_> {
                self.0.value()
            }
        }
    )+};
}

values!(Sum Add SUM_TYPE Min Lesser TYPE Max Greater TYPE Last Replace TYPE);

impl<I> Value for Count<I> {
    type Sql<'a>
        = i64
    where
        Self: 'a;

    const TYPE: &'static str = "bigint";
    const TABLE_TYPE: &'static str = "bigint";
    const MERGE: Merge = Merge::Add;

    fn value(&self) -> i64 {
        // Nobody has inserted so often.
        i64::try_from(Count::value(self)).unwrap_or(i64::MAX)
    }
}

impl<C: Column> Columns for C {
    fn types() -> Vec<&'static str> {
        vec![C::TYPE]
    }

    fn arrays<'a>(keys: &[&'a Self]) -> Vec<Array<'a>> {
        vec![array(keys.iter().map(|key| key.value()))]
    }
}

impl<C: Value> Values for C {
    fn columns() -> Vec<ValueColumn> {
        vec![(C::TYPE, C::TABLE_TYPE, C::MERGE)]
    }

    fn arrays<'a>(data: &[&'a Self]) -> Vec<Array<'a>> {
        vec![array(data.iter().map(|data| data.value()))]
    }
}

macro_rules! tuples {
    ($($member:ident $index:tt),+) => {
        impl<$($member: Column),+> Columns for ($($member,)+) {
            fn types() -> Vec<&'static str> {
                vec![$($member::TYPE),+]
            }

            fn arrays<'a>(keys: &[&'a Self]) -> Vec<Array<'a>> {
                vec![$(array(keys.iter().map(|key| key.$index.value()))),+]
            }
        }

        impl<$($member: Value),+> Values for ($($member,)+) {
            fn columns() -> Vec<ValueColumn> {
                vec![$(($member::TYPE, $member::TABLE_TYPE, $member::MERGE)),+]
            }

            fn arrays<'a>(data: &[&'a Self]) -> Vec<Array<'a>> {
                vec![$(array(data.iter().map(|data| data.$index.value()))),+]
            }
        }
    };
}

tuples!(A 0, B 1);
tuples!(A 0, B 1, C 2);
tuples!(A 0, B 1, C 2, D 3);
tuples!(A 0, B 1, C 2, D 3, E 4);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5);
