//! What keys are, and what finds them.

mod kept_hash;

use std::borrow::{Cow, ToOwned};
use std::ffi::{OsStr, OsString};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use equivalent::Equivalent;

pub(crate) use kept_hash::KeptHash;

/// What keys must be able to do. Their methods run under the locks of partitions. A panic of `Hash` or
/// `Eq` inside an insert or a read goes to its caller; a key whose `Clone` panics while it is being
/// flushed may stay in flight for good, and others of its batch with it.
///
/// ```
/// use write_behind::Key;
///
/// #[derive(Hash, PartialEq, Eq, Clone)]
/// struct Minute {
///     account: u64,
///     since_epoch: u32,
/// }
///
/// fn is_key<K: Key>() {}
/// is_key::<Minute>();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the key of a buffer: keys are `Hash + Eq + Clone + Send + Sync + 'static`",
    label = "not a key"
)]
pub trait Key: Hash + Eq + Clone + Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<K: Hash + Eq + Clone + Send + Sync + 'static> Key for K {}

/// A borrowed form of a key `K`, from which one can be made: what
/// [`add`](crate::Buffer::add) and [`insert_ref`](crate::Buffer::insert_ref) take. The key is made only if
/// it is new.
///
/// Implemented for every key itself; for `str`, slices, `Path` and `OsStr` where keys are owned (`String`),
/// shared (`Arc<str>`), boxed, or `Cow`s; and for the [`Parts`] of compound keys.
///
/// Implement it for the borrowed form of a key of your own, together with [`Equivalent`]. Both forms must
/// have the same hash, which they have if they derive it from the same parts in the same order.
///
/// ```
/// use std::sync::Arc;
/// use write_behind::{Buffer, Equivalent, Sum, ToKey};
///
/// #[derive(Hash, PartialEq, Eq, Clone)]
/// struct Page {
///     tenant: Arc<str>,
///     path: String,
/// }
///
/// #[derive(Hash)]
/// struct PageRef<'a> {
///     tenant: &'a str,
///     path: &'a str,
/// }
///
/// impl Equivalent<Page> for PageRef<'_> {
///     fn equivalent(&self, page: &Page) -> bool {
///         self.tenant == &*page.tenant && self.path == page.path
///     }
/// }
///
/// impl ToKey<Page> for PageRef<'_> {
///     fn to_key(&self) -> Page {
///         Page { tenant: self.tenant.into(), path: self.path.to_owned() }
///     }
/// }
///
/// # fn store(_: &Page, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
/// let views = Buffer::builder().start(store)?;
/// views.add(&PageRef { tenant: "acme", path: "/home" }, 1)?;
/// views.add(&PageRef { tenant: "acme", path: "/home" }, 2)?; // allocates nothing
/// assert_eq!(views.total(&PageRef { tenant: "acme", path: "/home" }), Some(3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "a key of type `{K}` cannot be made from `{Self}`",
    label = "not a borrowed form of the key",
    note = "pass `&key`, a `&str` where keys are strings of some kind, `Parts` of a tuple, or implement `ToKey<{K}>`"
)]
pub trait ToKey<K>: Hash + Equivalent<K> {
    /// The key that this is equivalent to.
    fn to_key(&self) -> K;
}

impl<K: Hash + Eq + Clone> ToKey<K> for K {
    #[inline]
    fn to_key(&self) -> K {
        self.clone()
    }
}

macro_rules! to_key {
    ($($borrowed:ty => $($key:ty),+;)+) => {$($(
        impl ToKey<$key> for $borrowed {
            #[inline]
            fn to_key(&self) -> $key {
                self.into()
            }
        }
    )+)+};
}

to_key! {
    str => String, Box<str>, Rc<str>, Arc<str>;
    Path => PathBuf, Box<Path>, Rc<Path>, Arc<Path>;
    OsStr => OsString, Box<OsStr>, Rc<OsStr>, Arc<OsStr>;
}

macro_rules! slice_to_key {
    ($($key:ident)+) => {$(
        impl<T: Clone + Hash + Eq> ToKey<$key<[T]>> for [T] {
            #[inline]
            fn to_key(&self) -> $key<[T]> {
                self.into()
            }
        }
    )+};
}

slice_to_key!(Box Rc Arc);

impl<T: Clone + Hash + Eq> ToKey<Vec<T>> for [T] {
    #[inline]
    fn to_key(&self) -> Vec<T> {
        self.to_vec()
    }
}

impl<'a, B: ?Sized + Hash + Eq + ToOwned> ToKey<Cow<'a, B>> for B {
    #[inline]
    fn to_key(&self) -> Cow<'a, B> {
        Cow::Owned(self.to_owned())
    }
}

/// The borrowed parts of a key that is a tuple of two, three or four: `Parts(("acme", "/home"))` finds
/// `(String, String)` and `(Arc<str>, String)`, without making either.
///
/// ```
/// use std::sync::Arc;
/// use write_behind::{Buffer, Parts, Sum};
///
/// # fn store(_: &(Arc<str>, String), _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
/// let views = Buffer::builder().start(store)?; // keys are (Arc<str>, String)
/// let (tenant, page) = ("acme", "/home");
/// views.add(&Parts((tenant, page)), 1)?;
/// assert_eq!(views.total(&Parts((tenant, page))), Some(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts<T>(
    /// References to the parts, in their order.
    pub T,
);

macro_rules! parts {
    ($($part:ident $key:ident $index:tt),+) => {
        impl<$($part: ?Sized + Hash),+> Hash for Parts<($(&$part,)+)> {
            #[inline]
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.0.hash(state);
            }
        }

        impl<$($key, $part: ?Sized + Equivalent<$key>),+> Equivalent<($($key,)+)> for Parts<($(&$part,)+)> {
            #[inline]
            fn equivalent(&self, key: &($($key,)+)) -> bool {
                $(self.0.$index.equivalent(&key.$index))&&+
            }
        }

        impl<$($key, $part: ?Sized + ToKey<$key>),+> ToKey<($($key,)+)> for Parts<($(&$part,)+)> {
            #[inline]
            fn to_key(&self) -> ($($key,)+) {
                ($(self.0.$index.to_key(),)+)
            }
        }
    };
}

parts!(A K0 0, B K1 1);
parts!(A K0 0, B K1 1, C K2 2);
parts!(A K0 0, B K1 1, C K2 2, D K3 3);

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    use super::*;

    fn finds<K: Hash + Eq + std::fmt::Debug, Q: ?Sized + ToKey<K>>(borrowed: &Q, other: &Q) {
        let hasher = RandomState::new();
        let key = borrowed.to_key();
        assert_eq!(hasher.hash_one(borrowed), hasher.hash_one(&key), "{key:?}");
        assert!(borrowed.equivalent(&key) && !other.equivalent(&key), "{key:?}");
    }

    #[test]
    fn borrowed_forms_find_the_keys_that_they_make() {
        finds::<String, str>("a", "b");
        finds::<Arc<str>, str>("a", "b");
        finds::<Rc<str>, str>("a", "b");
        finds::<Box<str>, str>("a", "b");
        finds::<Cow<'static, str>, str>("a", "b");
        finds::<Arc<[u8]>, [u8]>(&[1], &[2]);
        finds::<Vec<u8>, [u8]>(&[1], &[2]);
        finds::<Box<[u8]>, [u8]>(&[1], &[2]);
        finds::<Arc<Path>, Path>(Path::new("a"), Path::new("b"));
        finds::<u64, u64>(&1, &2);
        finds::<Arc<str>, Arc<str>>(&"a".into(), &"b".into());
    }

    #[test]
    fn parts_find_tuples_of_whatever_they_make() {
        finds::<(String, String), _>(&Parts(("a", "b")), &Parts(("a", "c")));
        finds::<(Arc<str>, u64), _>(&Parts(("a", &1)), &Parts(("b", &1)));
        finds::<(u64, Box<str>, u8), _>(&Parts((&1, "b", &3)), &Parts((&1, "b", &4)));
        finds::<(u64, String, u8, u8), _>(&Parts((&1, "b", &3, &4)), &Parts((&1, "b", &3, &5)));
    }
}
