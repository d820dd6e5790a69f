use std::hash::BuildHasher;
#[cfg(feature = "test-util")]
use std::sync::Arc;

use super::Builder;
use crate::aggregate::Aggregate;
use crate::buffer::{Buffer, WeakBuffer};
#[cfg(any(feature = "tokio", feature = "test-util"))]
use crate::driver::clock::Clock;
#[cfg(feature = "test-util")]
use crate::driver::clock::{Listener, ManualClock};
use crate::driver::core::{Core, Driver};
use crate::driver::journal::Journal;
#[cfg(not(feature = "journal"))]
use crate::driver::journal::Opened;
#[cfg(feature = "tokio")]
use crate::driver::run::tasks;
use crate::driver::run::threads;
use crate::driver::user::callbacks::Callbacks;
use crate::driver::wait::life::Phase;
use crate::error::BuildError;
#[cfg(feature = "tokio")]
use crate::into_sink::IntoAsyncSink;
use crate::into_sink::{Erased, IntoSink};
use crate::key::Key;

/// # Starting
impl<K: Key, V: Aggregate, S: BuildHasher + Send + Sync + 'static> Builder<K, V, S> {
    /// Starts the buffer. All blocking sinks of a process share their threads, which come when there is work
    /// and go when all buffers rest: at most 1 024 callbacks at once.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, DataBuffer, FlushContext, FlushError, Sum};
    ///
    /// struct Totals;
    ///
    /// impl DataBuffer<String, Sum<i64>> for Totals {
    ///     fn handle_flush(&self, page: &String, views: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
    ///         println!("{page}: {}", views.0);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let views = Buffer::builder().start(Totals)?;
    /// views.add("/home", 1)?;
    /// views.shutdown(Duration::from_secs(10))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`BuildError::Invalid`] names an option with an impossible value; [`BuildError::Thread`] if
    /// there is no thread yet and none could be started; [`BuildError::Journal`] if the journal cannot be used: it is in
    /// use, damaged, or another buffer's.
    pub fn start<Kind>(self, sink: impl IntoSink<K, V, Kind>) -> Result<Buffer<K, V, S>, BuildError> {
        self.start_cyclic(|_| sink)
    }

    /// As [`start`](Self::start), for a sink that needs to reach its own buffer: `make_sink` gets a
    /// weak handle to it, which can be upgraded once the buffer runs. While the buffer shuts down it takes no
    /// inserts, from its sink neither.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, DataBuffer, FlushContext, FlushError, Sum, WeakBuffer};
    ///
    /// struct Totals {
    ///     own: WeakBuffer<String, Sum<i64>>,
    /// }
    ///
    /// impl DataBuffer<String, Sum<i64>> for Totals {
    ///     fn handle_flush(&self, page: &String, views: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
    ///         // None while the buffer is being made and when its last handle is gone.
    ///         let newer = self.own.upgrade().map_or(0, |own| own.count(page).pending);
    ///         println!("{page}: {}, and {newer} inserts since", views.0);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let views = Buffer::builder().start_cyclic(|own| Totals { own })?;
    /// views.add("/home", 1)?;
    /// views.shutdown(Duration::from_secs(10))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_cyclic<D, F, Kind>(self, make_sink: F) -> Result<Buffer<K, V, S>, BuildError>
    where
        D: IntoSink<K, V, Kind>,
        F: FnOnce(WeakBuffer<K, V, S>) -> D,
    {
        let buffer = self.assemble(|weak| make_sink(weak).erase(), Driver::Threads)?;
        let core = buffer.core();
        #[cfg(feature = "test-util")]
        listen(core);
        if let Err(error) = threads::start(core) {
            core.leave_journal();
            core.life.enter(Phase::Retired);
            return Err(BuildError::Thread(error));
        }
        Ok(buffer)
    }

    /// Starts the buffer with an async sink: one scheduler task on the runtime, and a task for each
    /// batch while it is being flushed. Feature `tokio`.
    ///
    /// The buffer's time is the runtime's: in a test with `start_paused` it stands still and jumps with
    /// it. Should the runtime shut down before the buffer does, the buffer closes and what was not
    /// flushed is handed back by [`Buffer::shutdown`], or reported to the observers when the last
    /// handle is dropped.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{AsyncDataBuffer, Buffer, FlushContext, FlushError, Sum};
    ///
    /// struct Totals;
    ///
    /// impl AsyncDataBuffer<String, Sum<i64>> for Totals {
    ///     async fn handle_flush(&self, page: &String, views: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
    ///         println!("{page}: {}", views.0);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let views = Buffer::builder().start_async(Totals)?;
    /// views.add("/home", 1)?;
    /// views.shutdown_async(Duration::from_secs(10)).await?; // or the end of the program loses it
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`BuildError::Invalid`] names an option with an impossible value; [`BuildError::Runtime`] if
    /// this is called outside a runtime and none is [given](Self::runtime), or if that one has no
    /// timer or has been shut down.
    #[cfg(feature = "tokio")]
    pub fn start_async<Kind>(
        self,
        sink: impl IntoAsyncSink<K, V, Kind>,
    ) -> Result<Buffer<K, V, S>, BuildError> {
        self.start_async_cyclic(|_| sink)
    }

    /// [`start_async`](Self::start_async) for a sink that needs to reach its own buffer. Feature
    /// `tokio`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{AsyncDataBuffer, Buffer, FlushContext, FlushError, Sum, WeakBuffer};
    ///
    /// struct Totals {
    ///     own: WeakBuffer<String, Sum<i64>>,
    /// }
    ///
    /// impl AsyncDataBuffer<String, Sum<i64>> for Totals {
    ///     async fn handle_flush(&self, page: &String, views: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
    ///         let waiting = self.own.upgrade().map_or(0, |own| own.stats().pending);
    ///         println!("{page}: {}; {waiting} inserts are waiting", views.0);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let views = Buffer::builder().start_async_cyclic(|own| Totals { own })?;
    /// views.add("/home", 1)?;
    /// views.shutdown_async(Duration::from_secs(10)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`start_async`](Self::start_async).
    #[cfg(feature = "tokio")]
    pub fn start_async_cyclic<D, F, Kind>(mut self, make_sink: F) -> Result<Buffer<K, V, S>, BuildError>
    where
        D: IntoAsyncSink<K, V, Kind>,
        F: FnOnce(WeakBuffer<K, V, S>) -> D,
    {
        let given = self.runtime.take().ok_or(());
        let runtime = given.or_else(|()| tokio::runtime::Handle::try_current()).map_err(|_| {
            BuildError::Runtime("start_async was called outside of one and Builder::runtime gave none")
        })?;
        tasks::check(&runtime)?;
        if let Clock::System(_) = self.clock {
            self.clock = Clock::of_runtime(&runtime);
        }
        let make_sink = |weak| make_sink(weak).erase();
        let buffer = self.assemble(make_sink, Driver::Runtime)?;
        #[cfg(feature = "test-util")]
        listen(buffer.core());
        tasks::start(buffer.core(), &runtime)?;
        Ok(buffer)
    }

    /// Starts the buffer without any threads, for tests: its work is done inside
    /// [`ManualClock::advance`] and inside calls that wait, on the calling thread. A call that waits
    /// lets time pass by itself. Meant for one thread. It runs the same way every time, given
    /// [`seed`](Self::seed) and, for the order across keys, a [`hasher`](Self::hasher) that is not
    /// seeded at random. Feature `test-util`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, ManualClock, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let clock = ManualClock::new();
    /// let views = Buffer::builder().start_inline(store, &clock)?;
    /// views.add("/home", 1)?;
    /// clock.advance(Duration::from_secs(5)); // calls `store`
    /// assert_eq!(views.stats().flushed, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start), but for the thread.
    #[cfg(feature = "test-util")]
    pub fn start_inline<Kind>(
        self,
        sink: impl IntoSink<K, V, Kind>,
        clock: &ManualClock,
    ) -> Result<Buffer<K, V, S>, BuildError> {
        self.start_inline_cyclic(|_| sink, clock)
    }

    /// [`start_inline`](Self::start_inline) for a sink that needs to reach its own buffer. Feature
    /// `test-util`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, ManualClock, Sum};
    ///
    /// let clock = ManualClock::new();
    /// let make_sink = |own: write_behind::WeakBuffer<String, Sum<i64>>| {
    ///     move |page: &String, _: &Sum<i64>| {
    ///         let own = own.upgrade().ok_or("it is being dropped")?;
    ///         println!("{page}: {} inserts are waiting", own.stats().pending);
    ///         Ok::<(), &str>(())
    ///     }
    /// };
    /// let views = Buffer::builder().start_inline_cyclic(make_sink, &clock)?;
    /// views.add("/home", 1)?;
    /// clock.advance(Duration::from_secs(5));
    /// assert_eq!(views.stats().flushed, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`start_inline`](Self::start_inline).
    #[cfg(feature = "test-util")]
    pub fn start_inline_cyclic<D, F, Kind>(
        self,
        make_sink: F,
        clock: &ManualClock,
    ) -> Result<Buffer<K, V, S>, BuildError>
    where
        D: IntoSink<K, V, Kind>,
        F: FnOnce(WeakBuffer<K, V, S>) -> D,
    {
        let make_sink = |weak| make_sink(weak).erase();
        let buffer = self.clock(clock).assemble(make_sink, Driver::Inline)?;
        listen(buffer.core());
        Ok(buffer)
    }

    fn assemble(
        self,
        make_sink: impl FnOnce(WeakBuffer<K, V, S>) -> Erased<K, V>,
        driver: Driver,
    ) -> Result<Buffer<K, V, S>, BuildError> {
        let Builder { settings, hasher, clock, observers, interval_policy, .. } = self;
        #[cfg(feature = "journal")]
        settings.validate(self.journal.is_some())?;
        #[cfg(not(feature = "journal"))]
        settings.validate(false)?;
        // The standard library's hasher is seeded by the system.
        let instance = std::hash::RandomState::new().hash_one("instance");
        #[cfg(feature = "journal")]
        let opened = self.journal.map(|journal| journal.open(instance)).transpose()?;
        #[cfg(not(feature = "journal"))]
        let opened = None::<Opened<K, V>>;
        let head = opened.as_ref().map(|opened| opened.head);
        let instance = head.map_or(instance, |head| head.instance);
        let buffer = Buffer::cyclic(|weak| {
            let callbacks = Callbacks::new(instance, make_sink(weak).0, observers, interval_policy);
            let journal = opened.map(Journal::new);
            Core::new(settings, clock, hasher, callbacks, instance, journal, driver)
        });
        #[cfg(feature = "test-util")]
        if self.stages_always {
            buffer.core().intake.lanes.stage_always();
        }
        if let Some(head) = head {
            Core::open_journal(buffer.core(), head.next_sequence)?;
        }
        Ok(buffer)
    }
}

/// Has a manual clock tell the buffer when time moves.
#[cfg(feature = "test-util")]
fn listen<K: Key, V: Aggregate, S: BuildHasher + Send + Sync + 'static>(core: &Arc<Core<K, V, S>>) {
    if let Clock::Manual(clock) = &core.clock {
        let listener: Arc<dyn Listener> = Arc::clone(core) as Arc<dyn Listener>;
        clock.listen(Arc::downgrade(&listener));
    }
}
