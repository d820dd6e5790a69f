//! What can be given to `start`: sinks that write keys or batches, shared or boxed ones, closures.

use std::sync::{Arc, Mutex};

use write_behind::{
    AsyncBatchDataBuffer, AsyncDataBuffer, BatchDataBuffer, Buffer, DataBuffer, FlushBatch, FlushContext,
    FlushError, IntoSink, ManualClock, Observer, Sum, SummingBuffer,
};

use crate::support::secs;

type Stored = Arc<Mutex<Vec<(u32, i64)>>>;

#[derive(Default)]
struct Keys(Stored);

impl DataBuffer<u32, Sum<i64>> for Keys {
    fn handle_flush(&self, key: &u32, data: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
        self.0.lock().unwrap().push((*key, data.0));
        Ok(())
    }
}

#[derive(Default)]
struct Batches(Stored);

impl BatchDataBuffer<u32, Sum<i64>> for Batches {
    fn handle_flush_batch(&self, batch: &FlushBatch<u32, Sum<i64>>) -> Result<(), FlushError> {
        self.0.lock().unwrap().extend(batch.entries().iter().map(|entry| (*entry.key(), entry.data().0)));
        Ok(())
    }
}

impl AsyncDataBuffer<u32, Sum<i64>> for Keys {
    async fn handle_flush(
        &self,
        key: &u32,
        data: &Sum<i64>,
        context: &FlushContext,
    ) -> Result<(), FlushError> {
        DataBuffer::handle_flush(self, key, data, context)
    }
}

impl AsyncBatchDataBuffer<u32, Sum<i64>> for Batches {
    async fn handle_flush_batch(&self, batch: &FlushBatch<u32, Sum<i64>>) -> Result<(), FlushError> {
        BatchDataBuffer::handle_flush_batch(self, batch)
    }
}

fn stores<Kind>(sink: impl IntoSink<u32, Sum<i64>, Kind>, stored: &Stored) {
    let buffer = Buffer::builder().start_inline(sink, &ManualClock::new()).expect("it starts");
    buffer.add(&7, 40).expect("there is room");
    buffer.increment(&7).expect("there is room");
    buffer.shutdown(secs(1)).expect("all is stored");
    assert_eq!(std::mem::take(&mut *stored.lock().unwrap()), [(7, 41)]);
}

#[test]
fn a_sink_may_write_keys_or_batches_be_shared_or_boxed() {
    let stored = Stored::default();
    stores(Keys(Arc::clone(&stored)), &stored);
    stores(Batches(Arc::clone(&stored)), &stored);
    stores(Arc::new(Keys(Arc::clone(&stored))), &stored);
    stores(Arc::new(Batches(Arc::clone(&stored))), &stored);
    let chosen: Box<dyn DataBuffer<u32, Sum<i64>>> = Box::new(Keys(Arc::clone(&stored)));
    stores(chosen, &stored);
    let chosen: Box<dyn BatchDataBuffer<u32, Sum<i64>>> = Box::new(Batches(Arc::clone(&stored)));
    stores(chosen, &stored);
    let shared: Arc<dyn DataBuffer<u32, Sum<i64>>> = Arc::new(Keys(Arc::clone(&stored)));
    stores(shared, &stored);
}

#[test]
fn a_closure_is_a_sink_whatever_error_it_returns() {
    let stored = Stored::default();
    let store = Arc::clone(&stored);
    let closure = move |key: &u32, data: &Sum<i64>| {
        store.lock().unwrap().push((*key, data.0));
        Ok::<(), std::io::Error>(())
    };
    stores(closure, &stored);
    let store = Arc::clone(&stored);
    let closure = move |key: &u32, data: &Sum<i64>| -> Result<(), FlushError> {
        store.lock().unwrap().push((*key, data.0));
        Ok(())
    };
    stores(closure, &stored);
}

#[tokio::test]
async fn an_async_sink_may_write_keys_or_batches_and_be_shared() {
    let stored = Stored::default();
    let builder = || Buffer::<u32, Sum<i64>>::builder();
    let buffers: [SummingBuffer<u32, i64>; 4] = [
        builder().start_async(Keys(Arc::clone(&stored))).unwrap(),
        builder().start_async(Batches(Arc::clone(&stored))).unwrap(),
        builder().start_async(Arc::new(Keys(Arc::clone(&stored)))).unwrap(),
        builder().start_async(Arc::new(Batches(Arc::clone(&stored)))).unwrap(),
    ];
    for buffer in buffers {
        buffer.add(&7, 41).expect("there is room");
        buffer.shutdown_async(secs(60)).await.expect("all is stored");
        assert_eq!(std::mem::take(&mut *stored.lock().unwrap()), [(7, 41)]);
    }
}

#[test]
fn an_observer_may_be_shared() {
    #[derive(Default)]
    struct Seen(Mutex<Vec<&'static str>>);
    impl Observer for Seen {
        fn hibernated(&self, _: &str) {
            self.0.lock().unwrap().push("hibernated");
        }
    }
    let seen = Arc::new(Seen::default());
    let dynamic: Arc<dyn Observer> = Arc::clone(&seen) as Arc<dyn Observer>;
    let clock = ManualClock::new();
    let builder = Buffer::builder().observer(Arc::clone(&seen)).observer(dynamic);
    let buffer = builder.start_inline(Keys::default(), &clock).expect("it starts");
    clock.advance(secs(60));
    assert_eq!(*seen.0.lock().unwrap(), ["hibernated", "hibernated"]);
    drop(buffer);
}
