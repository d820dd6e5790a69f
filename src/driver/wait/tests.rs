//! An async call that is dropped half-way loses nothing and leaves no waiter behind.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use crate::aggregate::Sum;
use crate::batch::FlushContext;
use crate::buffer::Buffer;
use crate::driver::user::context::in_async_code;
use crate::failure::FlushError;
use crate::{AsyncDataBuffer, RetryPolicy};

const LONG: Duration = Duration::from_secs(3_600);

type Counters = Buffer<u8, Sum<i64>>;

/// Acknowledges when it is asked for the second time.
struct Hesitant;

impl AsyncDataBuffer<u8, Sum<i64>> for Hesitant {
    async fn handle_flush(&self, _: &u8, _: &Sum<i64>, context: &FlushContext) -> Result<(), FlushError> {
        if context.attempt() == 1 { Err("not yet".into()) } else { Ok(()) }
    }
}

/// Full, its one key waiting for a retry.
async fn busy() -> Counters {
    let retry = RetryPolicy::fixed(4, Duration::from_secs(60)).cap(LONG);
    let builder = Buffer::builder().max_keys(1).partitions(3).retry(retry);
    let buffer: Counters = builder.start_async(Hesitant).expect("it starts");
    buffer.insert(1, 1).expect("there is room");
    buffer.flush(&1);
    while buffer.stats().retries == 0 {
        tokio::task::yield_now().await;
    }
    buffer
}

/// Polls a call until it waits, and drops it then.
async fn drop_half_way<T: std::fmt::Debug>(call: impl Future<Output = T>) {
    let mut call = pin!(call);
    let result = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(result.is_pending(), "{result:?}");
    tokio::task::yield_now().await;
}

fn waiters(buffer: &Counters) -> usize {
    let core = buffer.core();
    let watched = core.intake.shards().filter(|shard| shard.is_watched()).count();
    core.intake.waiting() + core.waiters.lock().len() + watched
}

#[tokio::test(start_paused = true)]
async fn a_dropped_insert_leaves_no_waiter_and_no_item() {
    let buffer = busy().await;
    drop_half_way(buffer.insert_async(2, 5, LONG)).await;
    drop_half_way(buffer.wait_for_room_async(LONG)).await;
    assert_eq!(waiters(&buffer), 0);
    assert_eq!((buffer.stats().accepted, buffer.stats().keys, buffer.contains(&2)), (1, 1, false));
    buffer.insert_async(2, 5, LONG).await.expect("room appears");
    assert_eq!(buffer.stats().accepted, 2);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_wait_for_a_flush_leaves_no_waiter_and_the_flush_goes_on() {
    let buffer = busy().await;
    drop_half_way(buffer.flush_and_wait_async(&1, LONG)).await;
    drop_half_way(buffer.flush_all_and_wait_async(LONG)).await;
    assert_eq!(waiters(&buffer), 0);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(buffer.stats().flushed, 1);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_shutdown_leaves_the_buffer_draining() {
    let buffer = busy().await;
    drop_half_way(buffer.shutdown_async(LONG)).await;
    assert_eq!(waiters(&buffer), 0);
    buffer.insert(1, 2).expect_err("it is closed");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(buffer.stats().flushed, 1);
    buffer.shutdown_async(LONG).await.expect("all was delivered");
}

/// What its deadline left is kept for the next caller.
#[tokio::test(start_paused = true)]
async fn a_dropped_shutdown_loses_nothing_at_its_deadline() {
    struct Down;
    impl AsyncDataBuffer<u8, Sum<i64>> for Down {
        async fn handle_flush(&self, _: &u8, _: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
            Err("down".into())
        }
    }
    let buffer: Counters = Buffer::builder().start_async(Down).expect("it starts");
    buffer.insert(1, 2).expect("there is room");
    drop_half_way(buffer.shutdown_async(Duration::from_secs(2))).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let left = buffer.shutdown_async(LONG).await.expect_err("it is left").into_undelivered();
    assert_eq!(left.into_iter().map(|left| left.into_parts().unwrap()).collect::<Vec<_>>(), [(1, Sum(2))]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_over_leaves_no_waiter_either() {
    let buffer = busy().await;
    let soon = Duration::from_secs(1);
    buffer.insert_async(2, 5, soon).await.expect_err("it is full");
    buffer.flush_and_wait_async(&1, soon).await.expect_err("it retries later");
    buffer.flush_all_and_wait_async(soon).await.expect_err("it retries later");
    assert_eq!(waiters(&buffer), 0);
    buffer.flush_and_wait_async(&1, LONG).await.expect("it is flushed");
    assert_eq!(waiters(&buffer), 0);
}

/// A call whose future was made and never polled has done nothing.
#[tokio::test(start_paused = true)]
async fn calls_are_lazy() {
    let buffer = busy().await;
    drop(buffer.shutdown_async(LONG));
    drop(buffer.flush_and_wait_async(&1, LONG));
    drop(buffer.insert_async(1, 2, LONG));
    assert!(!buffer.is_closed());
    assert_eq!((waiters(&buffer), buffer.stats().accepted), (0, 1));
}

#[test]
fn async_code_is_told_from_code_that_may_block() {
    assert!(!in_async_code());
    let one = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let two = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    for runtime in [one, two] {
        let _inside = runtime.enter();
        assert!(!in_async_code());
        runtime.block_on(async {
            assert!(in_async_code());
            // Asking uses up nothing: so often it could not be asked otherwise.
            assert!((0..1_000).all(|_| in_async_code()));
            assert!(tokio::task::coop::has_budget_remaining());
            assert!(tokio::spawn(async { in_async_code() }).await.unwrap());
            assert!(!tokio::task::spawn_blocking(in_async_code).await.unwrap());
            assert!(tokio::task::LocalSet::new().run_until(async { in_async_code() }).await);
            while tokio::task::coop::has_budget_remaining() {
                let _ = pin!(tokio::task::consume_budget()).poll(&mut Context::from_waker(Waker::noop()));
            }
            assert!(in_async_code());
        });
    }
    let two = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    two.block_on(async {
        let asked = tokio::spawn(async { tokio::task::block_in_place(in_async_code) });
        assert!(!asked.await.unwrap());
    });
}
