//! Runtimes of all kinds, several of them, and runtimes that end before the buffer does.

use std::future::pending;
use std::sync::mpsc;
use std::time::Instant;

use tokio::runtime::{Builder as Flavour, Runtime};
use write_behind::{
    AsyncDataBuffer, Buffer, BuildError, DataBuffer, DeadLetter, FlushContext, FlushError, FlushWaitError,
    InsertErrorKind, Overflow, RetryPolicy, UndeliveredState, Verdict, WeakBuffer,
};

use crate::sink::{Left, Lists, Sink, ms, secs};

fn one_thread() -> Runtime {
    Flavour::new_current_thread().enable_time().build().expect("a runtime starts")
}

fn two_threads() -> Runtime {
    Flavour::new_multi_thread().worker_threads(2).enable_time().build().expect("a runtime starts")
}

fn each_flavour(scenario: impl Fn(Runtime)) {
    scenario(one_thread());
    scenario(two_threads());
}

#[test]
fn all_calls_work_on_either_flavour() {
    each_flavour(|runtime| {
        let (sink, log) = Sink::slow(ms(1));
        runtime.block_on(async {
            let builder = Buffer::builder().max_keys(1).interval(ms(5));
            let buffer: Lists = builder.start_async(sink).expect("it starts");
            buffer.insert("a", 1).expect("there is room");
            buffer.insert_async("b", 2, secs(60)).await.expect("room appears");
            buffer.flush_and_wait_async("b", secs(60)).await.expect("it is flushed");
            buffer.wait_for_room_async(secs(60)).await.expect("there is room");
            buffer.insert("c", 3).expect("there is room");
            buffer.flush_all_and_wait_async(secs(60)).await.expect("it is flushed");
            buffer.insert("d", 4).expect("there is room");
            buffer.shutdown_async(secs(60)).await.expect("it is flushed");
        });
        assert_eq!(log.course(), "bybybyby");
    });
}

/// Blocking calls work where blocking is allowed.
#[test]
fn blocking_calls_work_from_spawn_blocking() {
    each_flavour(|runtime| {
        let (sink, log) = Sink::slow(ms(1));
        runtime.block_on(async {
            let overflow = Overflow::FlushOldest { timeout: secs(60) };
            let builder = Buffer::builder().max_keys(1).overflow(overflow);
            let buffer: Lists = builder.start_async(sink).expect("it starts");
            let blocking = move || {
                buffer.insert("a", 1).expect("there is room");
                buffer.insert("b", 2).expect("room is made");
                buffer.flush_and_wait("b", secs(60)).expect("it is flushed");
                buffer.insert("c", 3).expect("there is room");
                buffer.shutdown(secs(60)).expect("it is flushed");
            };
            tokio::task::spawn_blocking(blocking).await.expect("it does not panic");
        });
        assert_eq!(log.course(), "bybyby");
    });
}

#[test]
fn the_sink_may_have_another_runtime_than_its_callers() {
    let (of_sink, one, other) = (two_threads(), one_thread(), two_threads());
    let (sink, log) = Sink::slow(ms(1));
    let buffer: Lists =
        Buffer::builder().runtime(of_sink.handle().clone()).start_async(sink).expect("it starts");
    for (runtime, key) in [(&one, "a"), (&other, "b")] {
        runtime.block_on(async {
            buffer.insert(key, 1).expect("there is room");
            buffer.flush_and_wait_async(key, secs(60)).await.expect("it is flushed");
        });
    }
    drop((one, other));
    // Waiting in a runtime that has ended leaves nothing that the buffer stumbles over.
    buffer.insert("c", 1).expect("there is room");
    buffer.shutdown(secs(60)).expect("it is flushed");
    assert_eq!(log.course(), "bybyby");
}

#[test]
fn without_a_usable_runtime_it_does_not_start() {
    let refusal = |runtime: Option<&Runtime>| {
        let mut builder = Buffer::builder();
        if let Some(runtime) = runtime {
            builder = builder.runtime(runtime.handle().clone());
        }
        let started: Result<Lists, _> = builder.start_async(Sink::slow(ms(0)).0);
        match started {
            Err(error @ BuildError::Runtime(_)) => error.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert!(refusal(None).contains("outside"));
    let timeless = Flavour::new_current_thread().build().expect("a runtime starts");
    assert!(refusal(Some(&timeless)).contains("enable_time"));
}

#[test]
fn on_a_runtime_that_has_ended_it_does_not_start() {
    let runtime = two_threads();
    let handle = runtime.handle().clone();
    drop(runtime);
    let started: Result<Lists, _> = Buffer::builder().runtime(handle).start_async(Sink::slow(ms(0)).0);
    assert!(matches!(started, Err(BuildError::Runtime(_))), "{started:?}");
}

/// What becomes of each key is in its name.
struct Stuck;

impl AsyncDataBuffer<&'static str, Vec<u32>> for Stuck {
    async fn handle_flush(
        &self,
        key: &&'static str,
        _: &Vec<u32>,
        _: &FlushContext,
    ) -> Result<(), FlushError> {
        match *key {
            "in the callback" => pending().await,
            "flushed" => Ok(()),
            "in handle_error" => Err(FlushError::not_applied("down").give_up()),
            _ => Err("down".into()),
        }
    }

    async fn handle_error(
        &self,
        letter: DeadLetter<&'static str, Vec<u32>>,
    ) -> Verdict<&'static str, Vec<u32>> {
        let _kept = letter;
        pending().await
    }
}

const STUCK: [&str; 4] = ["in the callback", "in handle_error", "pending", "retrying"];

/// A buffer with a key in each place where its runtime can leave it behind.
fn stuck_buffer(runtime: &Runtime, left: Left) -> Lists {
    let retry = RetryPolicy::new().delay(secs(3_600)).cap(secs(3_600));
    let builder = Buffer::builder().runtime(runtime.handle().clone()).max_keys(5);
    let builder =
        builder.interval(secs(3_600)).retry(retry).flush_timeout(secs(3_600)).observer(left.clone());
    let overflow = Overflow::Block { timeout: secs(3_600) };
    let buffer: Lists = builder.overflow(overflow).start_async(Stuck).expect("it starts");
    for key in STUCK.into_iter().chain(["flushed"]) {
        buffer.insert(key, 1).expect("there is room");
        if key != "pending" {
            buffer.flush(key);
        }
    }
    while left.given_up() < 1
        || buffer.stats().retries < 1
        || buffer.stats().flushes < 4
        || buffer.stats().flushed == 0
    {
        std::thread::yield_now();
    }
    buffer
}

/// Everything that was not flushed is handed back, and nobody is left waiting.
#[test]
fn a_runtime_that_ends_first_leaves_an_exact_account() {
    for round in 0..20 {
        let (runtime, left) = (two_threads(), Left::default());
        let buffer = stuck_buffer(&runtime, left.clone());
        buffer.insert("fills it up", 1).expect("there is room");
        let (told, heard) = mpsc::channel();
        let waits: [fn(&Lists) -> bool; 3] = [
            |buffer| buffer.insert("one more", 1).is_ok(),
            |buffer| buffer.flush_and_wait("in the callback", secs(3_600)).is_ok(),
            |buffer| buffer.flush_all_and_wait(secs(3_600)).is_ok(),
        ];
        for wait in waits {
            let (buffer, told) = (buffer.clone(), told.clone());
            std::thread::spawn(move || told.send(wait(&buffer)));
        }
        if round % 2 == 0 {
            runtime.shutdown_background();
        } else {
            drop(runtime);
        }
        for _ in 0..3 {
            heard.recv_timeout(secs(60)).expect("nobody is left waiting");
        }
        let error = buffer.insert("too late", 1).expect_err("it is closed");
        assert_eq!(error.kind, InsertErrorKind::Closed);
        let mut undelivered = Vec::new();
        while undelivered.len() < 5 {
            // A task that still runs on another thread may bring the last of it a moment later.
            let more = buffer.shutdown(secs(60)).expect_err("much is left").into_undelivered();
            undelivered.extend(more);
        }
        let mut keys: Vec<_> = undelivered.iter().map(|left| *left.key()).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["fills it up", "in handle_error", "in the callback", "pending", "retrying"][..]);
        let stats = buffer.stats();
        assert_eq!((stats.returned, stats.flushed, stats.in_flight, stats.pending), (5, 1, 0, 0));
        assert_eq!((stats.panics, stats.balance()), (0, 0));
        drop(buffer);
        let reported = || left.0.lock().unwrap().iter().map(|(keys, _)| keys).sum::<usize>();
        // The task that had it may tell of it a moment after it was handed back.
        let patience = Instant::now() + secs(300);
        while reported() == 0 && Instant::now() < patience {
            std::thread::yield_now();
        }
        assert_eq!(reported(), 1, "only what handle_error had; the rest was handed back");
    }
}

#[test]
fn what_a_runtime_left_behind_is_reported_when_the_last_handle_goes() {
    let (runtime, left) = (one_thread(), Left::default());
    let builder = Buffer::builder().runtime(runtime.handle().clone()).observer(left.clone());
    let buffer: Lists = builder.start_async(Sink::new(|_| pending()).0).expect("it starts");
    buffer.insert("a", 1).expect("there is room");
    buffer.insert("b", 2).expect("there is room");
    drop(runtime);
    assert!(buffer.is_closed());
    assert_eq!(*left.0.lock().unwrap(), []);
    drop(buffer);
    assert_eq!(*left.0.lock().unwrap(), [(2, 2)]);
}

/// The last handle belongs to a task and goes with it, while the runtime ends.
#[test]
fn a_last_handle_that_goes_with_the_runtime_is_reported_too() {
    each_flavour(|runtime| {
        let left = Left::default();
        let builder = Buffer::builder().runtime(runtime.handle().clone()).observer(left.clone());
        let buffer: Lists = builder.start_async(Sink::new(|_| pending()).0).expect("it starts");
        buffer.insert("a", 1).expect("there is room");
        runtime.spawn(async move {
            let _buffer = buffer;
            pending::<()>().await;
        });
        drop(runtime);
        assert_eq!(*left.0.lock().unwrap(), [(1, 1)]);
    });
}

/// A buffer with threads of its own goes on when a runtime ends, and dropping its last handle does
/// not hold up a runtime's thread.
#[test]
fn dropping_a_buffer_with_threads_does_not_block_a_runtime() {
    struct Gated(std::sync::Mutex<mpsc::Receiver<()>>, mpsc::Sender<u32>);
    impl DataBuffer<&'static str, Vec<u32>> for Gated {
        fn handle_flush(
            &self,
            _: &&'static str,
            data: &Vec<u32>,
            _: &FlushContext,
        ) -> Result<(), FlushError> {
            self.0.lock().unwrap().recv()?;
            let _ = self.1.send(data[0]);
            Ok(())
        }
    }
    each_flavour(|runtime| {
        let ((open, gate), (done, flushed)) = (mpsc::channel(), mpsc::channel());
        let buffer: Lists = Buffer::builder()
            .drop_timeout(secs(3_600))
            .start(Gated(std::sync::Mutex::new(gate), done))
            .expect("it starts");
        buffer.insert("key", 7).expect("there is room");
        runtime.block_on(async { drop(buffer) });
        drop(runtime);
        open.send(()).expect("the callback waits for it");
        assert_eq!(flushed.recv_timeout(secs(60)), Ok(7));
    });
}

/// `UndeliveredState` tells how far each had got.
#[test]
fn the_account_says_how_far_each_key_had_got() {
    let runtime = one_thread();
    let retry = RetryPolicy::new().delay(secs(3_600)).cap(secs(3_600));
    let builder = Buffer::builder().runtime(runtime.handle().clone()).retry(retry);
    let buffer: Lists = builder.interval(secs(3_600)).start_async(Stuck).expect("it starts");
    for key in STUCK {
        buffer.insert(key, 1).expect("there is room");
        if key != "pending" {
            buffer.flush(key);
        }
    }
    runtime.block_on(async {
        while buffer.stats().failures < 2 || buffer.stats().flushes < 3 {
            tokio::task::yield_now().await;
        }
    });
    drop(runtime);
    let left = buffer.shutdown(secs(60)).expect_err("all is left").into_undelivered();
    for left in left {
        let (key, state) = (*left.key(), left.state().clone());
        let fits = match state {
            UndeliveredState::Pending => key == "pending",
            UndeliveredState::Retrying { attempts: 1, .. } => key == "retrying" || key == "in the callback",
            UndeliveredState::InCallback => key == "in the callback",
            UndeliveredState::GivenUp { attempts: 1, .. } => key == "in handle_error",
            _ => false,
        };
        assert!(fits, "{key}: {state:?}");
        assert_eq!(left.batch().is_some(), key != "pending");
        assert_eq!(left.may_be_applied(), key == "retrying" || key == "in the callback");
        assert_eq!(left.data(), &[1]);
    }
}

/// A waiting call may be made inside a callback of another buffer, and not of the same one.
#[tokio::test]
async fn an_async_callback_may_wait_for_another_buffer() {
    struct Relay(Lists, WeakBuffer<&'static str, Vec<u32>>);
    impl AsyncDataBuffer<&'static str, Vec<u32>> for Relay {
        async fn handle_flush(
            &self,
            key: &&'static str,
            _: &Vec<u32>,
            _: &FlushContext,
        ) -> Result<(), FlushError> {
            let own = self.1.upgrade().expect("a handle is left");
            let would_deadlock = |error| assert!(matches!(error, FlushWaitError::WouldDeadlock));
            would_deadlock(own.flush_and_wait_async(key, secs(60)).await.unwrap_err());
            would_deadlock(own.flush_all_and_wait_async(secs(60)).await.unwrap_err());
            would_deadlock(own.flush_and_wait(key, secs(60)).unwrap_err());
            let full = own.insert_async("another", 1, secs(60)).await.unwrap_err();
            assert_eq!(full.kind, InsertErrorKind::Full);
            assert_eq!(own.wait_for_room_async(secs(60)).await, Err(InsertErrorKind::Full));
            self.0.insert(*key, 1)?;
            self.0.flush_and_wait_async(key, secs(60)).await?;
            Ok(())
        }
    }
    let (sink, log) = Sink::slow(ms(1));
    let inner: Lists = Buffer::builder().start_async(sink).expect("it starts");
    let builder = Buffer::builder().max_keys(1);
    let outer: Lists = builder.start_async_cyclic(|weak| Relay(inner, weak)).expect("it starts");
    outer.insert("key", 1).expect("there is room");
    outer.flush_and_wait_async("key", secs(60)).await.expect("it is flushed");
    assert_eq!((log.course().as_str(), outer.stats().panics), ("by", 0));
}
