//! Either kind of sink behind either kind of code.

use std::sync::{Arc, Mutex};

use write_behind::{
    Buffer, DataBuffer, FlushContext, FlushError, FlushWaitError, InsertErrorKind, Overflow, ShutdownError,
};

use crate::sink::{Lists, Sink, ms, secs};

type Flushed = Vec<(&'static str, Vec<u32>)>;

#[derive(Clone, Default)]
struct Blocking(Arc<Mutex<Flushed>>);

impl DataBuffer<&'static str, Vec<u32>> for Blocking {
    fn handle_flush(&self, key: &&'static str, data: &Vec<u32>, _: &FlushContext) -> Result<(), FlushError> {
        self.0.lock().unwrap().push((key, data.clone()));
        Ok(())
    }
}

/// Code that inserts does not know which sink runs behind the buffer.
async fn record(buffer: &Lists) {
    buffer.insert("key", 1).expect("there is room");
    buffer.insert_async("key", 2, secs(60)).await.expect("there is room");
    buffer.flush_and_wait_async("key", secs(60)).await.expect("it is flushed");
    buffer.insert("key", 3).expect("there is room");
    buffer.flush_all_and_wait_async(secs(60)).await.expect("it is flushed");
    buffer.insert("key", 4).expect("there is room");
    buffer.shutdown_async(secs(60)).await.expect("it is flushed");
    assert_eq!((buffer.stats().accepted, buffer.stats().flushed), (4, 4));
}

#[tokio::test]
async fn a_blocking_sink_behind_async_code() {
    let sink = Blocking::default();
    record(&Buffer::builder().start(sink.clone()).expect("it starts")).await;
    assert_eq!(*sink.0.lock().unwrap(), [("key", vec![1, 2]), ("key", vec![3]), ("key", vec![4])]);
}

#[tokio::test]
async fn an_async_sink_behind_async_code() {
    let (sink, log) = Sink::slow(ms(1));
    record(&Buffer::builder().start_async(sink).expect("it starts")).await;
    assert_eq!(log.course(), "bybyby");
}

#[test]
fn an_async_sink_behind_blocking_code() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let (sink, log) = Sink::slow(ms(1));
    let builder = Buffer::builder().runtime(runtime.handle().clone()).max_keys(1);
    let overflow = Overflow::FlushOldest { timeout: secs(60) };
    let buffer: Lists = builder.overflow(overflow).start_async(sink).expect("it starts");
    buffer.insert("a", 1).expect("there is room");
    buffer.insert("b", 2).expect("room is made");
    buffer.flush_and_wait("b", secs(60)).expect("it is flushed");
    buffer.insert("a", 3).expect("there is room");
    buffer.flush_all_and_wait(secs(60)).expect("it is flushed");
    buffer.insert("a", 4).expect("there is room");
    buffer.shutdown(secs(60)).expect("it is flushed");
    assert_eq!(log.course(), "bybybyby");
}

/// What would block a thread that the sink may need says so, and what can be done at once is done.
#[tokio::test]
async fn blocking_calls_refuse_to_block_async_code() {
    let (sink, _) = Sink::slow(ms(0));
    let overflow = Overflow::Block { timeout: secs(3_600) };
    let buffer: Lists =
        Buffer::builder().max_keys(1).overflow(overflow).start_async(sink).expect("it starts");
    buffer.insert("a", 1).expect("there is room");
    let error = buffer.insert("b", 2).expect_err("it would wait");
    assert_eq!((error.kind, error.rejected), (InsertErrorKind::WouldBlock, ("b", 2)));
    let error = buffer.flush_and_wait("a", secs(3_600)).expect_err("it would wait");
    assert!(matches!(error, FlushWaitError::WouldBlock), "{error}");
    let error = buffer.flush_all_and_wait(secs(3_600)).expect_err("it would wait");
    assert!(matches!(error, FlushWaitError::WouldBlock), "{error}");
    assert!(!buffer.is_closed());
    let error = buffer.shutdown(secs(3_600)).expect_err("it would wait");
    assert!(matches!(error, ShutdownError::WouldBlock), "{error}");
    assert!(buffer.is_closed());
    buffer.shutdown_async(secs(60)).await.expect("it drains all the same");
    assert_eq!(buffer.stats().flushed, 1);
}

/// Also after much has been awaited without a pause, and in a task.
#[tokio::test]
async fn refusing_to_block_costs_the_task_nothing() {
    let (sink, _) = Sink::slow(ms(0));
    let buffer: Lists = Buffer::builder().start_async(sink).expect("it starts");
    let task = tokio::spawn(async move {
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        for round in 0..1_000 {
            sender.send(round).expect("it is received");
            assert_eq!(receiver.recv().await, Some(round));
            let error = buffer.flush_and_wait("a", secs(3_600)).expect_err("it would wait");
            assert!(matches!(error, FlushWaitError::WouldBlock), "{error}");
        }
    });
    task.await.expect("it ends");
}
