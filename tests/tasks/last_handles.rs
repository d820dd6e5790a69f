//! The last handle may be dropped in any place.

use std::cell::RefCell;
use std::future::pending;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder as Flavour, Runtime};
use write_behind::{
    AsyncDataBuffer, Buffer, DataBuffer, FailureCause, FlushContext, FlushError, FlushEvent, Observer,
    WeakBuffer,
};

use crate::sink::{Left, Lists, Sink, ms, secs};

thread_local! {
    static KEPT: RefCell<Option<Lists>> = const { RefCell::new(None) };
}

/// Keeps the last handle in a thread-local that is older than what the buffer itself keeps per thread,
/// and so is destroyed after that.
fn leave_with_the_thread(buffer: Lists) {
    let keep = move || {
        KEPT.set(Some(buffer.clone()));
        buffer.flush_and_wait("key", secs(60)).expect("it is flushed");
        buffer.insert("key", 2).expect("there is room");
    };
    thread::spawn(keep).join().expect("the thread ends in peace");
}

fn runtime() -> Runtime {
    Flavour::new_multi_thread().worker_threads(2).enable_time().build().expect("a runtime starts")
}

#[test]
fn at_the_end_of_a_thread_it_waits_for_a_blocking_sink() {
    struct Telling(mpsc::Sender<Vec<u32>>);
    impl DataBuffer<&'static str, Vec<u32>> for Telling {
        fn handle_flush(
            &self,
            _: &&'static str,
            data: &Vec<u32>,
            _: &FlushContext,
        ) -> Result<(), FlushError> {
            Ok(self.0.send(data.clone())?)
        }
    }
    let (sender, flushed) = mpsc::channel();
    let buffer: Lists = Buffer::builder().start(Telling(sender)).expect("it starts");
    buffer.insert("key", 1).expect("there is room");
    leave_with_the_thread(buffer);
    assert_eq!(flushed.try_iter().collect::<Vec<_>>(), [[1], [2]]);
}

#[test]
fn at_the_end_of_a_thread_it_leaves_an_async_sink_to_its_runtime() {
    let runtime = runtime();
    let (sink, log) = Sink::slow(ms(1));
    let builder = Buffer::builder().runtime(runtime.handle().clone());
    let buffer: Lists = builder.start_async(sink).expect("it starts");
    buffer.insert("key", 1).expect("there is room");
    leave_with_the_thread(buffer);
    while log.course() != "byby" {
        thread::yield_now();
    }
}

/// Holds its own buffer while it works.
struct Clinging {
    own: WeakBuffer<&'static str, Vec<u32>>,
    holding: Arc<Mutex<bool>>,
    patience: Duration,
}

impl AsyncDataBuffer<&'static str, Vec<u32>> for Clinging {
    async fn handle_flush(&self, _: &&'static str, _: &Vec<u32>, _: &FlushContext) -> Result<(), FlushError> {
        let _own = self.own.upgrade();
        *self.holding.lock().unwrap() = true;
        tokio::time::sleep(self.patience).await;
        Ok(())
    }
}

fn clinging(runtime: &Runtime, patience: Duration, left: Left) {
    let holding = Arc::default();
    let builder = Buffer::builder().runtime(runtime.handle().clone()).observer(left);
    let make = |own| Clinging { own, holding: Arc::clone(&holding), patience };
    let buffer: Lists = builder.start_async_cyclic(make).expect("it starts");
    buffer.insert("key", 1).expect("there is room");
    buffer.flush("key");
    while !*holding.lock().unwrap() {
        thread::yield_now();
    }
    buffer.insert("later", 1).expect("there is room");
}

/// The buffer lives as long as the callback holds it, and then drains by itself.
#[test]
fn inside_an_async_callback_it_leaves_the_buffer_draining() {
    let (runtime, left) = (runtime(), Left::default());
    clinging(&runtime, ms(5), left.clone());
    while left.flushed() < 2 {
        thread::yield_now();
    }
    assert_eq!(*left.0.lock().unwrap(), []);
}

#[test]
fn inside_a_callback_that_goes_with_its_runtime_it_reports_what_is_left() {
    for _ in 0..20 {
        let (runtime, left) = (runtime(), Left::default());
        clinging(&runtime, secs(3_600), left.clone());
        drop(runtime);
        assert_eq!(*left.0.lock().unwrap(), [(2, 2)]);
    }
}

/// Drops the last handle when it hears that a flush failed.
#[derive(Clone, Default)]
struct Careless(Arc<Mutex<Option<Lists>>>);

impl Observer for Careless {
    fn flush_failed(&self, _: &FlushEvent<'_>, _: usize, _: &FailureCause, _: Duration) {
        drop(self.0.lock().unwrap().take());
    }
}

#[test]
fn inside_an_observer_while_the_runtime_ends_it_reports_what_is_left() {
    for _ in 0..20 {
        let (runtime, left, careless) = (runtime(), Left::default(), Careless::default());
        let (sink, log) = Sink::new(|_| pending());
        let builder = Buffer::builder().runtime(runtime.handle().clone());
        let builder = builder.observer(careless.clone()).observer(left.clone());
        let buffer: Lists = builder.start_async(sink).expect("it starts");
        buffer.insert("key", 1).expect("there is room");
        buffer.flush("key");
        while log.course() != "b" {
            thread::yield_now();
        }
        buffer.insert("later", 1).expect("there is room");
        *careless.0.lock().unwrap() = Some(buffer);
        drop(runtime);
        assert_eq!((log.course(), left.0.lock().unwrap().clone()), ("bc".to_owned(), vec![(2, 2)]));
    }
}

/// A sink that owns its buffer keeps it open for as long as there is a runtime, and no longer.
#[test]
fn a_sink_that_owns_its_buffer_is_closed_with_the_runtime() {
    struct Owner(Arc<Mutex<Option<Lists>>>);
    impl AsyncDataBuffer<&'static str, Vec<u32>> for Owner {
        async fn handle_flush(
            &self,
            _: &&'static str,
            _: &Vec<u32>,
            _: &FlushContext,
        ) -> Result<(), FlushError> {
            let own = self.0.lock().unwrap().clone().expect("it owns its buffer");
            Ok(own.insert("again", 1)?)
        }
    }
    let (runtime, own, left) = (runtime(), Arc::<Mutex<_>>::default(), Left::default());
    let builder = Buffer::builder().runtime(runtime.handle().clone()).observer(left.clone());
    let buffer: Lists = builder.start_async(Owner(Arc::clone(&own))).expect("it starts");
    let weak = buffer.downgrade();
    *own.lock().unwrap() = Some(buffer);
    weak.upgrade().expect("the sink owns it").insert("key", 1).expect("there is room");
    weak.upgrade().expect("the sink owns it").flush("key");
    while left.flushed() < 1 {
        thread::yield_now();
    }
    drop(runtime);
    let buffer = own.lock().unwrap().take().expect("the sink owned it");
    let left = buffer.shutdown(secs(60)).expect_err("one is left").into_undelivered();
    assert_eq!(left.into_iter().map(|left| *left.key()).collect::<Vec<_>>(), ["again"]);
}
