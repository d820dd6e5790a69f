//! Panics in async callbacks are that batch's failures and nobody else's.

use write_behind::{
    AsyncDataBuffer, Buffer, DeadLetter, FailureCause, FlushContext, FlushError, FlushWaitError, RetryPolicy,
    Verdict,
};

use crate::sink::{Lists, Sink, ms, secs};

#[tokio::test(start_paused = true)]
async fn a_panic_after_an_await_is_a_failure_of_its_batch() {
    let (sink, log) = Sink::new(|attempt| async move {
        tokio::time::sleep(ms(10)).await;
        assert!(attempt.number > 1, "the first attempt");
        Ok(())
    });
    let builder = Buffer::builder().retry(RetryPolicy::fixed(4, secs(1)));
    let buffer: Lists = builder.start_async(sink).expect("it starts");
    buffer.insert("key", 1).expect("there is room");
    buffer.flush_and_wait_async("key", secs(60)).await.expect("the second attempt");
    assert_eq!((log.course().as_str(), buffer.stats().panics), ("bcby", 1));
    assert_eq!(log.attempts()[0].id, log.attempts()[1].id);
    // The schedule goes on.
    buffer.insert("key", 2).expect("there is room");
    tokio::time::sleep(secs(10)).await;
    assert_eq!((buffer.stats().flushed, log.course().as_str()), (2, "bcbybcby"));
}

/// Panics in every place where the user's code runs.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("in a destructor");
        }
    }
}

struct Explosive;

impl AsyncDataBuffer<&'static str, Vec<u32>> for Explosive {
    fn handle_flush(
        &self,
        key: &&'static str,
        _: &Vec<u32>,
        _: &FlushContext,
    ) -> impl Future<Output = Result<(), FlushError>> + Send {
        assert_ne!(*key, "making", "before there is a future");
        let key = *key;
        async move {
            match key {
                "hanging" => {
                    let _bomb = Bomb;
                    std::future::pending().await
                }
                "failing" => Err("down".into()),
                _ => Ok(()),
            }
        }
    }

    async fn handle_error(
        &self,
        letter: DeadLetter<&'static str, Vec<u32>>,
    ) -> Verdict<&'static str, Vec<u32>> {
        tokio::task::yield_now().await;
        match *letter.key() {
            "failing" => panic!("in handle_error"),
            _ => Verdict::Forget,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn panics_are_contained_wherever_the_users_code_runs() {
    let builder = Buffer::builder().flush_timeout(secs(2)).retry(RetryPolicy::never());
    let buffer: Lists = builder.start_async(Explosive).expect("it starts");
    for key in ["making", "hanging", "failing", "fine"] {
        buffer.insert(key, 1).expect("there is room");
    }
    let error = buffer.flush_and_wait_async("making", secs(60)).await.expect_err("it panics");
    assert!(matches!(error, FlushWaitError::Failed(FailureCause::Panicked(_))), "{error}");
    buffer.flush_all_and_wait_async(secs(60)).await.expect_err("two of them fail");
    let stats = buffer.stats();
    assert_eq!((stats.flushed, stats.gave_up, stats.undelivered, stats.balance()), (1, 2, 1, 0));
    assert_eq!(stats.panics, 3);
    let left = buffer.shutdown_async(secs(5)).await.expect_err("one is left").into_undelivered();
    assert_eq!(left.into_iter().map(|left| *left.key()).collect::<Vec<_>>(), ["failing"]);
}

/// To a sink that writes key by key, each key is a batch of its own.
#[tokio::test(start_paused = true)]
async fn a_panicking_key_panics_alone() {
    let retry = RetryPolicy::never();
    let buffer: Lists =
        Buffer::builder().retry(retry).partitions(1).start_async(Explosive).expect("it starts");
    for key in ["fine", "making", "well"] {
        buffer.insert(key, 1).expect("there is room");
    }
    buffer.flush_all_and_wait_async(secs(60)).await.expect_err("one panics");
    let stats = buffer.stats();
    assert_eq!((stats.flushes, stats.flushed, stats.gave_up, stats.panics), (3, 2, 1, 1));
}
