//! With tokio's paused time, which moves on by itself to whatever is next.

use tokio::time::Instant;
use write_behind::{Buffer, FlushError, FlushWaitError, InsertErrorKind, RetryPolicy};

use crate::sink::{Lists, Sink, ms, secs};

#[tokio::test(start_paused = true)]
async fn the_first_insert_sets_the_deadline() {
    let (sink, log) = Sink::slow(ms(0));
    let started = Instant::now();
    let buffer: Lists = Buffer::builder().interval(secs(5)).start_async(sink).expect("it starts");
    buffer.insert("key", 1).expect("there is room");
    tokio::time::sleep(secs(3)).await;
    buffer.insert("key", 2).expect("there is room");
    tokio::time::sleep(ms(1_999)).await;
    assert_eq!(log.attempts(), []);
    tokio::time::sleep(ms(2)).await;
    let attempts = log.attempts();
    assert_eq!((attempts[0].at - started, &attempts[0].entries[..]), (secs(5), &[("key", vec![1, 2])][..]));
}

#[tokio::test(start_paused = true)]
async fn jitter_spreads_deadlines_between_its_bounds() {
    let (sink, log) = Sink::slow(ms(0));
    let builder = Buffer::builder().interval(secs(5)).jitter(secs(10)).max_batch_keys(1).seed(1);
    let started = Instant::now();
    let buffer: Lists = builder.start_async(sink).expect("it starts");
    for key in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        buffer.insert(key, 1).expect("there is room");
    }
    tokio::time::sleep(secs(16)).await;
    let times: Vec<_> = log.attempts().iter().map(|attempt| attempt.at - started).collect();
    assert_eq!(times.len(), 8);
    assert!(times.iter().all(|time| (secs(5)..=secs(15) + ms(1)).contains(time)), "{times:?}");
    assert!(times[7] - times[0] > secs(2), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn retries_come_as_configured() {
    let (sink, log) = Sink::new(|_| async { Err(FlushError::unknown("down")) });
    let retry = RetryPolicy::fixed(4, secs(1)).factor(3.0);
    let buffer: Lists = Buffer::builder().retry(retry).start_async(sink).expect("it starts");
    buffer.insert("key", 1).expect("there is room");
    buffer.flush_and_wait_async("key", secs(60)).await.expect_err("it fails for good");
    let times: Vec<_> = log.attempts().windows(2).map(|pair| (pair[1].at - pair[0].at).as_secs()).collect();
    assert_eq!(times, [1, 3, 9]);
    assert_eq!(log.course(), "bnbnbnbng");
}

#[tokio::test(start_paused = true)]
async fn it_goes_to_rest_and_wakes_by_an_insert() {
    let (sink, log) = Sink::slow(ms(0));
    let buffer: Lists = Buffer::builder().hibernate_after(secs(10)).start_async(sink).expect("it starts");
    tokio::time::sleep(secs(11)).await;
    assert!(buffer.stats().hibernating);
    // With nothing on any agenda paused time jumps straight to the end of this.
    tokio::time::sleep(secs(100_000)).await;
    buffer.insert("key", 1).expect("there is room");
    tokio::time::sleep(ms(5_001)).await;
    assert_eq!(log.attempts().len(), 1);
    assert!(!buffer.stats().hibernating);
}

#[tokio::test(start_paused = true)]
async fn each_async_call_ends_by_its_timeout() {
    let (sink, _) = Sink::slow(secs(25));
    let buffer: Lists = Buffer::builder().max_keys(1).start_async(sink).expect("it starts");
    buffer.insert("key", 1).expect("there is room");
    let begin = Instant::now();
    let error = buffer.flush_and_wait_async("key", secs(3)).await.expect_err("it is slow");
    assert!(matches!(error, FlushWaitError::TimedOut(timeout) if timeout == secs(3)), "{error}");
    let error = buffer.flush_all_and_wait_async(secs(3)).await.expect_err("it is slow");
    assert!(matches!(error, FlushWaitError::TimedOut(_)), "{error}");
    let error = buffer.insert_async("other", 2, secs(3)).await.expect_err("it is full");
    assert_eq!((error.kind, error.rejected), (InsertErrorKind::TimedOut, ("other", 2)));
    assert_eq!(buffer.wait_for_room_async(secs(3)).await, Err(InsertErrorKind::TimedOut));
    let error = buffer.shutdown_async(secs(3)).await.expect_err("it is slow");
    assert_eq!(error.into_undelivered().len(), 1);
    let took = begin.elapsed();
    assert!((secs(15)..secs(15) + ms(10)).contains(&took), "{took:?}");
}

/// A thread outside the runtime sees the paused time too, and so does a call that blocks one.
#[tokio::test(start_paused = true)]
async fn threads_outside_see_the_paused_time() {
    let (sink, log) = Sink::new(|_| std::future::pending());
    let patient = Buffer::builder().flush_timeout(secs(1_000_000));
    let buffer: Lists = patient.start_async(sink).expect("it starts");
    tokio::time::advance(secs(1_000)).await;
    let (inserting, started) = (buffer.clone(), Instant::now());
    std::thread::spawn(move || inserting.insert("key", 1)).join().unwrap().expect("there is room");
    tokio::time::sleep(ms(4_999)).await;
    assert_eq!(log.attempts(), []);
    tokio::time::sleep(ms(2)).await;
    assert_eq!(log.attempts()[0].at - started, secs(5));
    let waiting = std::thread::spawn(move || buffer.flush_and_wait("key", secs(20)));
    while !waiting.is_finished() {
        tokio::time::advance(ms(10)).await;
    }
    let error = waiting.join().unwrap().expect_err("it is slow");
    assert!(matches!(error, FlushWaitError::TimedOut(_)), "{error}");
    let waited = started.elapsed();
    assert!(waited >= secs(25), "{waited:?}");
}
