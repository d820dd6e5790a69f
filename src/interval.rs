//! How long a generation may stay, decided one by one.

use std::time::Duration;

/// Decides for each generation how long it may stay, instead of the fixed
/// [`Builder::interval`](crate::Builder::interval): an important customer's data sooner, a quiet
/// key's later, or by what happened to the key before.
///
/// Set one with [`Builder::interval_policy`](crate::Builder::interval_policy). Closures
/// `Fn(&K, &V, Duration) -> Duration` are policies.
///
/// The buffer forgets a key when it is flushed. A policy that follows a key's history keeps it by
/// itself (and sees to it that it stays bounded): it is told when each generation starts, and the
/// sink, which may share it through an `Arc`, sees what each one amounted to.
///
/// ```
/// use std::time::Duration;
/// use write_behind::{Buffer, Sum};
/// # fn write_account(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
///
/// let large_first = |_: &String, amount: &Sum<i64>, _: Duration| match amount.0.abs() {
///     0..10_000 => Duration::from_secs(60),
///     _ => Duration::from_secs(1),
/// };
/// let buffer = Buffer::builder()
///     .interval(Duration::from_secs(60)) // the longest
///     .interval_policy(large_first)
///     .start(write_account)?;
/// # buffer.insert("ada".into(), 1)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait IntervalPolicy<K, V>: Send + Sync + 'static {
    /// The longest time that the generation of `key` that starts now may stay; `data` is the aggregate
    /// of its first insert. Raised to 1 ms and lowered to [`Builder::interval`](crate::Builder::interval)
    /// if it is not between them. [`Builder::jitter`](crate::Builder::jitter) is added to it.
    ///
    /// Asked once per generation, and once more when its data is put back
    /// ([`Verdict::Requeue`](crate::Verdict::Requeue); `data` is then what was put back). `now` is the
    /// time on the buffer's clock, which began near the start of the buffer and never jumps: the
    /// difference of two is the time between them.
    ///
    /// Runs under the lock of the key's partition: it must be quick, must not call the buffer and
    /// should not do I/O.
    ///
    /// # Panics
    ///
    /// A panic is contained and counted in [`Stats::panics`](crate::Stats::panics). The insert is
    /// accepted all the same, and its generation stays for `Builder::interval`.
    fn interval(&self, key: &K, data: &V, now: Duration) -> Duration;
}

impl<K, V, P: IntervalPolicy<K, V>> IntervalPolicy<K, V> for std::sync::Arc<P> {
    fn interval(&self, key: &K, data: &V, now: Duration) -> Duration {
        P::interval(self, key, data, now)
    }
}

impl<K, V, F> IntervalPolicy<K, V> for F
where
    F: Fn(&K, &V, Duration) -> Duration + Send + Sync + 'static,
{
    fn interval(&self, key: &K, data: &V, now: Duration) -> Duration {
        self(key, data, now)
    }
}
