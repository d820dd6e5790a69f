//! The deadline of a shutdown that comes while a failed attempt is being settled.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use write_behind::{
    BatchDataBuffer, Buffer, FlushBatch, FlushError, FlushEvent, Observer, Sum, SummingBuffer,
};

struct Broken;

impl BatchDataBuffer<String, Sum<i64>> for Broken {
    fn handle_flush_batch(&self, batch: &FlushBatch<String, Sum<i64>>) -> Result<(), FlushError> {
        // One key is resent as it is, several are halved.
        Err(FlushError::not_applied(format!("broken with {} keys", batch.len())))
    }
}

/// Holds the worker up between the failure and the retry that follows from it.
struct Slow {
    arrived: Sender<()>,
    go_on: Mutex<Receiver<()>>,
}

impl Observer for Slow {
    fn flush_retried(&self, _: &FlushEvent<'_>, _: Duration) {
        let _ = self.arrived.send(());
        let _ = self.go_on.lock().unwrap().recv();
    }
}

fn data_is_handed_back(keys: usize) {
    let (arrived, arrives) = channel();
    let (go, go_on) = channel();
    let buffer: SummingBuffer<String, i64> = Buffer::builder()
        .interval(Duration::from_secs(3_600))
        .partitions(1)
        .observer(Slow { arrived, go_on: Mutex::new(go_on) })
        .start(Broken)
        .unwrap();
    (0..keys).for_each(|key| buffer.add(&key.to_string(), 7).unwrap());
    buffer.flush_all();
    arrives.recv().unwrap();
    let hand_back = || {
        buffer
            .shutdown(Duration::ZERO)
            .map_or_else(|error| error.into_undelivered().into_iter().collect::<Vec<_>>(), |_| vec![])
    };
    let mut left = hand_back();
    drop(go);
    let limit = Instant::now() + Duration::from_secs(30);
    while left.len() < keys {
        assert!(Instant::now() < limit, "nobody answers for the data: {:?}", buffer.stats());
        std::thread::yield_now();
        left.extend(hand_back());
    }
    assert!(left.iter().all(|left| *left.data() == Sum(7) && left.batch().is_some()));
    let stats = buffer.stats();
    assert_eq!((stats.balance(), stats.returned, stats.in_flight), (0, keys as u64, 0));
}

#[test]
fn a_batch_that_would_be_resent_after_the_end_is_handed_back() {
    data_is_handed_back(1);
}

#[test]
fn halves_that_would_be_sent_after_the_end_are_handed_back() {
    data_is_handed_back(4);
}
