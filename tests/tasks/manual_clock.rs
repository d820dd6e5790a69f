//! An async sink on a clock that moves only when it is told to.

use std::future::{Future, pending};

use tokio::task::{JoinHandle, yield_now};
use write_behind::{Buffer, FlushWaitError, InsertErrorKind, ManualClock, RetryPolicy, ShutdownError};

use crate::sink::{Lists, Log, Sink, ms, secs};

async fn until(done: impl Fn() -> bool) {
    while !done() {
        yield_now().await;
    }
}

/// A buffer whose callbacks hang until their second attempt.
fn start(clock: &ManualClock) -> (Lists, Log) {
    let (sink, log) = Sink::new(|attempt| async move {
        if attempt.number < 2 {
            pending::<()>().await;
        }
        Ok(())
    });
    let builder = Buffer::builder().clock(clock).interval(secs(5)).flush_timeout(secs(2)).max_keys(1);
    let retry = RetryPolicy::fixed(4, secs(1));
    (builder.retry(retry).start_async(sink).expect("it starts"), log)
}

#[tokio::test]
async fn deadlines_timeouts_and_retries_come_when_it_says_so() {
    let clock = ManualClock::new();
    let (buffer, log) = start(&clock);
    buffer.insert("key", 1).expect("there is room");
    clock.advance(ms(4_999));
    yield_now().await;
    assert_eq!(log.course(), "");
    clock.advance(ms(1));
    until(|| log.course() == "b").await;
    clock.advance(ms(2_000));
    until(|| log.course() == "bc" && buffer.stats().retries == 1).await;
    assert_eq!(buffer.stats().overdue, 1);
    clock.advance(secs(1));
    until(|| buffer.stats().flushed == 1).await;
    assert_eq!(log.course(), "bcby");
}

/// Makes a call that hangs until its patience of 1 s is over.
async fn gives_up<T: Send + 'static>(
    clock: &ManualClock,
    call: impl Future<Output = T> + Send + 'static,
) -> T {
    let call: JoinHandle<T> = tokio::spawn(call);
    for _ in 0..100 {
        yield_now().await;
    }
    assert!(!call.is_finished());
    clock.advance(secs(1));
    call.await.expect("it does not panic")
}

#[tokio::test]
async fn each_async_call_ends_by_its_timeout() {
    let clock = ManualClock::new();
    let buffer = start(&clock).0;
    buffer.insert("key", 1).expect("there is room");
    let handle = || buffer.clone();
    let (own, soon) = (handle(), secs(1));
    let result = gives_up(&clock, async move { own.insert_async("other", 1, soon).await });
    assert_eq!(result.await.unwrap_err().kind, InsertErrorKind::TimedOut);
    let own = handle();
    let result = gives_up(&clock, async move { own.wait_for_room_async(soon).await });
    assert_eq!(result.await, Err(InsertErrorKind::TimedOut));
    let own = handle();
    let result = gives_up(&clock, async move { own.flush_and_wait_async("key", soon).await });
    assert!(matches!(result.await, Err(FlushWaitError::TimedOut(_))));
    let own = handle();
    let result = gives_up(&clock, async move { own.shutdown_async(soon).await });
    assert!(matches!(result.await, Err(ShutdownError::Undelivered(left)) if left.inserts() == 1));
}
