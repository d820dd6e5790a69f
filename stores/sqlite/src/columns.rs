use std::borrow::Cow;
use std::sync::Arc;

use rusqlite::types::{ToSql, ToSqlOutput};
use write_behind::{Count, Last, Max, Min, Sum};

/// What a single column of a key can hold. Implemented for texts, integers, `bool`, bytes, and, by features of the
/// same names, for what `uuid`, `chrono` and `time` have.
///
/// ```
/// use rusqlite::types::ToSqlOutput;
/// use write_behind_sqlite::Column;
///
/// #[derive(Clone, PartialEq, Eq, Hash)]
/// struct Account(u32);
///
/// impl Column for Account {
///     const TYPE: &'static str = "integer";
///     fn value(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
///         self.0.value()
///     }
/// }
/// ```
pub trait Column {
    /// The column's type where the table is created.
    const TYPE: &'static str;

    /// What is written.
    ///
    /// # Errors
    ///
    /// It cannot be stored (an integer past 63 bits): its entry is given up.
    fn value(&self) -> rusqlite::Result<ToSqlOutput<'_>>;
}

/// What a key is in columns: a [`Column`] by itself, or a tuple of up to six. Implement it for a key of your own:
///
/// ```
/// use rusqlite::types::ToSqlOutput;
/// use write_behind_sqlite::{Column, Columns};
///
/// #[derive(Clone, PartialEq, Eq, Hash)]
/// struct PerMinute {
///     account: String,
///     minute: i64,
/// }
///
/// impl Columns for PerMinute {
///     fn types() -> Vec<&'static str> {
///         <(String, i64)>::types()
///     }
///
///     fn bind<'a>(&'a self, row: &mut Vec<ToSqlOutput<'a>>) -> rusqlite::Result<()> {
///         row.extend([self.account.value()?, self.minute.value()?]);
///         Ok(())
///     }
/// }
/// ```
pub trait Columns {
    /// The type of each column.
    fn types() -> Vec<&'static str>;

    /// Adds the value of each column to the row.
    ///
    /// # Errors
    ///
    /// As [`Column::value`].
    fn bind<'a>(&'a self, row: &mut Vec<ToSqlOutput<'a>>) -> rusqlite::Result<()>;
}

/// How a new value and the one in the table become one.
///
/// ```
/// use write_behind::{Max, Sum};
/// use write_behind_sqlite::{Merge, Value};
///
/// assert_eq!((Sum::<i64>::MERGE, Max::<i64>::MERGE), (Merge::Add, Merge::Greater));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Merge {
    /// They are added up. A sum of integers that does not fit is refused.
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
/// use write_behind::Sum;
/// use write_behind_sqlite::Value;
///
/// assert_eq!(Sum::<f64>::TYPE, "real");
/// ```
pub trait Value {
    /// The column's type where the table is created.
    const TYPE: &'static str;
    /// What becomes of it and of what is in the table.
    const MERGE: Merge;

    /// What is written.
    ///
    /// # Errors
    ///
    /// As [`Column::value`].
    fn value(&self) -> rusqlite::Result<ToSqlOutput<'_>>;
}

/// What an aggregate is in columns: a [`Value`] by itself, or a tuple of up to six, in this order.
///
/// ```
/// use write_behind::{Count, Max, Sum};
/// use write_behind_sqlite::{Merge, Values};
///
/// type Summary = (Count<i64>, Sum<i64>, Max<i64>);
/// assert_eq!(Summary::columns()[2], ("integer", Merge::Greater));
/// ```
pub trait Values {
    /// The type of each column, and how it is merged.
    fn columns() -> Vec<(&'static str, Merge)>;

    /// Adds the value of each column to the row.
    ///
    /// # Errors
    ///
    /// As [`Column::value`].
    fn bind<'a>(&'a self, row: &mut Vec<ToSqlOutput<'a>>) -> rusqlite::Result<()>;
}

macro_rules! columns {
    ($sql:literal: $($type:ty)+) => {$(
        impl Column for $type {
            const TYPE: &'static str = $sql;

            fn value(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                self.to_sql()
            }
        }
    )+};
}

columns!("text": String &'static str Box<str> Arc<str> Cow<'static, str>);
columns!("integer": i8 i16 i32 i64 isize u8 u16 u32 bool);
columns!("real": f32 f64);
columns!("blob": Vec<u8>);
#[cfg(feature = "uuid")]
columns!("blob": uuid::Uuid);
#[cfg(feature = "chrono")]
columns!("text": chrono::NaiveDate chrono::NaiveDateTime chrono::DateTime<chrono::Utc>);
#[cfg(feature = "time")]
columns!("text": time::Date time::PrimitiveDateTime time::OffsetDateTime);

/// What may not fit into the 64 bits with a sign that SQLite has.
macro_rules! wide_columns {
    ($($type:ty)+) => {$(
        impl Column for $type {
            const TYPE: &'static str = "integer";

            fn value(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                let value = i64::try_from(*self);
                value.map(Into::into).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
            }
        }
    )+};
}

wide_columns!(u64 usize);

impl<C: Column> Columns for C {
    fn types() -> Vec<&'static str> {
        vec![C::TYPE]
    }

    fn bind<'a>(&'a self, row: &mut Vec<ToSqlOutput<'a>>) -> rusqlite::Result<()> {
        row.push(self.value()?);
        Ok(())
    }
}

macro_rules! values {
    ($($aggregate:ident $merge:ident)+) => {$(
        impl<T: Column> Value for $aggregate<T> {
            const TYPE: &'static str = T::TYPE;
            const MERGE: Merge = Merge::$merge;

            fn value(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                self.0.value()
            }
        }
    )+};
}

values!(Sum Add Min Lesser Max Greater Last Replace);

impl<I> Value for Count<I> {
    const TYPE: &'static str = "integer";
    const MERGE: Merge = Merge::Add;

    fn value(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let count = i64::try_from(Count::value(self));
        count.map(Into::into).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
    }
}

impl<C: Value> Values for C {
    fn columns() -> Vec<(&'static str, Merge)> {
        vec![(C::TYPE, C::MERGE)]
    }

    fn bind<'a>(&'a self, row: &mut Vec<ToSqlOutput<'a>>) -> rusqlite::Result<()> {
        row.push(self.value()?);
        Ok(())
    }
}

macro_rules! tuples {
    ($($member:ident $index:tt),+) => {
        impl<$($member: Column),+> Columns for ($($member,)+) {
            fn types() -> Vec<&'static str> {
                vec![$($member::TYPE),+]
            }

            fn bind<'a>(&'a self, row: &mut Vec<ToSqlOutput<'a>>) -> rusqlite::Result<()> {
                $(row.push(self.$index.value()?);)+
                Ok(())
            }
        }

        impl<$($member: Value),+> Values for ($($member,)+) {
            fn columns() -> Vec<(&'static str, Merge)> {
                vec![$(($member::TYPE, $member::MERGE)),+]
            }

            fn bind<'a>(&'a self, row: &mut Vec<ToSqlOutput<'a>>) -> rusqlite::Result<()> {
                $(row.push(self.$index.value()?);)+
                Ok(())
            }
        }
    };
}

tuples!(A 0, B 1);
tuples!(A 0, B 1, C 2);
tuples!(A 0, B 1, C 2, D 3);
tuples!(A 0, B 1, C 2, D 3, E 4);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5);
