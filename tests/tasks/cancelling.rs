//! `flush_timeout` and the end of a buffer cancel async callbacks.

use std::future::pending;
use std::sync::{Arc, Mutex};

use write_behind::{
    AsyncDataBuffer, BatchId, Buffer, DeadLetter, FailureCause, FlushContext, FlushError, FlushWaitError,
    RetryPolicy, ShutdownError, UndeliveredState, Verdict,
};

use crate::sink::{Event, Left, Lists, Sink, ms, secs};

#[tokio::test(start_paused = true)]
async fn a_cancelled_flush_is_sent_again_with_the_same_id_and_content() {
    let (sink, log) = Sink::new(|attempt| async move {
        if attempt.number < 3 {
            pending::<()>().await;
        }
        Ok(())
    });
    let builder = Buffer::builder().flush_timeout(secs(2)).max_batch_keys(2).partitions(1);
    let buffer: Lists = builder.retry(RetryPolicy::fixed(4, secs(1))).start_async(sink).expect("it starts");
    buffer.insert("a", 1).expect("there is room");
    buffer.insert("b", 2).expect("there is room");
    tokio::time::sleep(ms(5_001)).await;
    // Newer data does not get into the batch that goes again.
    buffer.insert("a", 3).expect("there is room");
    tokio::time::sleep(secs(6)).await;
    assert_eq!(log.course(), "bcbcbyb");
    let mut attempts = log.attempts();
    assert_eq!(attempts.pop().expect("there are four").entries, [("a", vec![3])]);
    let numbers: Vec<_> = attempts.iter().map(|attempt| attempt.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert!(attempts.iter().all(|attempt| attempt.id == attempts[0].id));
    assert!(attempts.iter().all(|attempt| attempt.entries == attempts[0].entries));
    // The timeout and then the retry's delay lie between two attempts.
    assert!(attempts.windows(2).all(|pair| (secs(3)..secs(3) + ms(5)).contains(&(pair[1].at - pair[0].at))));
    let stats = buffer.stats();
    assert_eq!((stats.overdue, stats.failures, stats.retries, stats.late), (2, 2, 2, 0));
    assert_eq!((stats.flushed, stats.in_flight, stats.balance()), (2, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_timeout_is_the_failure_that_is_told() {
    let (sink, log) = Sink::new(|_| pending());
    let builder = Buffer::builder().flush_timeout(secs(2)).retry(RetryPolicy::never());
    let buffer: Lists = builder.start_async(sink).expect("it starts");
    buffer.insert("key", 1).expect("there is room");
    let error = buffer.flush_and_wait_async("key", secs(60)).await.expect_err("it hangs");
    let FlushWaitError::Failed(cause @ FailureCause::TimedOut(timeout)) = error else { panic!("{error}") };
    assert_eq!((timeout, cause.to_string()), (secs(2), "the callback was cancelled after 2s".to_owned()));
    assert_eq!(log.course(), "bcg");
}

/// The callback is asked first: what it has to say in that very instant counts.
#[tokio::test(start_paused = true)]
async fn a_result_in_time_is_not_cancelled() {
    let (sink, log) = Sink::slow(secs(2));
    let buffer: Lists = Buffer::builder().flush_timeout(ms(2_010)).start_async(sink).expect("it starts");
    buffer.insert("key", 1).expect("there is room");
    buffer.flush_and_wait_async("key", secs(60)).await.expect("it is in time");
    tokio::time::sleep(secs(60)).await;
    assert_eq!((log.course().as_str(), buffer.stats().overdue), ("by", 0));
}

/// `handle_error` has no timeout.
#[tokio::test(start_paused = true)]
async fn only_the_flush_is_timed() {
    /// Remembers what it was asked to send, and has it sent again in the end.
    struct Slow(Arc<Mutex<Vec<(BatchId, u32)>>>);
    impl AsyncDataBuffer<&'static str, Vec<u32>> for Slow {
        async fn handle_flush(
            &self,
            _: &&'static str,
            _: &Vec<u32>,
            context: &FlushContext,
        ) -> Result<(), FlushError> {
            self.0.lock().unwrap().push((context.id(), context.attempt()));
            Err("down".into())
        }

        async fn handle_error(
            &self,
            letter: DeadLetter<&'static str, Vec<u32>>,
        ) -> Verdict<&'static str, Vec<u32>> {
            tokio::time::sleep(secs(600)).await;
            Verdict::Requeue(letter)
        }
    }
    let sent = Arc::default();
    let builder = Buffer::builder().interval(secs(5)).flush_timeout(secs(2)).retry(RetryPolicy::never());
    let buffer: Lists = builder.start_async(Slow(Arc::clone(&sent))).expect("it starts");
    buffer.insert("key", 1).expect("there is room");
    buffer.flush("key");
    tokio::time::sleep(secs(604)).await;
    let stats = buffer.stats();
    // It may have been applied, so it stays what it is until it goes out again.
    assert_eq!((stats.overdue, stats.in_flight, stats.pending, stats.panics), (0, 1, 0, 0));
    assert_eq!((stats.gave_up, sent.lock().unwrap().len()), (0, 1));
    tokio::time::sleep(secs(2)).await;
    let sent = sent.lock().unwrap().clone();
    assert_eq!(sent, [sent[0], sent[0]], "the same id, and fresh attempts");
}

#[tokio::test(start_paused = true)]
async fn shutdowns_deadline_cancels_what_runs() {
    let (sink, log) = Sink::new(|_| pending());
    let buffer: Lists = Buffer::builder().start_async(sink).expect("it starts");
    buffer.insert("key", 1).expect("there is room");
    let error = buffer.shutdown_async(secs(3)).await.expect_err("it hangs");
    let ShutdownError::Undelivered(left) = error else { panic!("{error}") };
    assert_eq!((left.inserts(), left.len()), (1, 1));
    let left = left.into_iter().next().expect("it is one");
    assert!(matches!(left.state(), UndeliveredState::InCallback) && left.may_be_applied());
    assert_eq!((left.key(), left.data(), left.batch()), (&"key", &vec![1], Some(log.attempts()[0].id)));
    while log.course() != "bc" {
        tokio::task::yield_now().await;
    }
    let stats = buffer.stats();
    assert_eq!((stats.returned, stats.in_flight, stats.balance()), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_does_not_wait_but_flushes() {
    let (sink, log) = Sink::slow(secs(1));
    let left = Left::default();
    let builder = Buffer::builder().drop_timeout(secs(5)).observer(left.clone());
    let buffer: Lists = builder.start_async(sink).expect("it starts");
    buffer.insert("key", 1).expect("there is room");
    let begin = tokio::time::Instant::now();
    drop(buffer);
    assert_eq!((begin.elapsed(), log.events()), (ms(0), vec![]));
    tokio::time::sleep(secs(2)).await;
    assert_eq!((log.course().as_str(), left.0.lock().unwrap().len()), ("by", 0));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_reports_what_its_patience_left() {
    let (sink, log) = Sink::new(|_| async { Err(FlushError::unknown("down")) });
    let left = Left::default();
    let builder = Buffer::builder().drop_timeout(secs(5)).retry(RetryPolicy::never());
    let buffer: Lists = builder.observer(left.clone()).start_async(sink).expect("it starts");
    buffer.insert("a", 1).expect("there is room");
    buffer.insert("a", 2).expect("there is room");
    drop(buffer);
    tokio::time::sleep(ms(4_900)).await;
    assert!(left.0.lock().unwrap().is_empty());
    tokio::time::sleep(ms(200)).await;
    assert_eq!(*left.0.lock().unwrap(), [(1, 2)]);
    let attempts = log.events().len();
    tokio::time::sleep(secs(60)).await;
    assert_eq!(log.events().len(), attempts, "nothing goes on after the end");
    assert!(!log.events().contains(&Event::GaveUp("a")));
}
