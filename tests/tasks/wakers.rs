//! Wakers are somebody else's code, and are called outside all locks.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;

use write_behind::{Buffer, WeakBuffer};

use crate::sink::{Lists, Sink, secs};

type Call = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A call that has lost its executor: who wakes it drops it. Before that it looks around.
struct Orphan {
    buffer: WeakBuffer<&'static str, Vec<u32>>,
    call: Mutex<Option<Call>>,
}

impl Wake for Orphan {
    fn wake(self: Arc<Self>) {
        if let Some(buffer) = self.buffer.upgrade() {
            let _ = (buffer.is_closed(), buffer.stats(), buffer.snapshot(), buffer.insert("key", 1));
            buffer.flush_all();
        }
        drop(self.call.lock().unwrap().take());
    }
}

impl Orphan {
    /// Polls a call until it waits.
    fn begin<F: Future + Send + 'static>(buffer: &Lists, call: impl FnOnce(Lists) -> F) -> Arc<Orphan> {
        let call = call(buffer.clone());
        let mut call: Call = Box::pin(async move {
            call.await;
        });
        let orphan = Arc::new(Orphan { buffer: buffer.downgrade(), call: Mutex::default() });
        let waker = Waker::from(Arc::clone(&orphan));
        assert!(call.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        *orphan.call.lock().unwrap() = Some(call);
        orphan
    }

    fn was_woken(&self) -> bool {
        self.call.lock().unwrap().is_none()
    }
}

/// Every call that can wait, on a full buffer whose only key is in a callback.
fn begin_all(buffer: &Lists) -> Vec<Arc<Orphan>> {
    let patience = secs(3_600);
    buffer.insert("key", 1).expect("there is room");
    buffer.insert("other", 1).expect_err("it is full");
    vec![
        Orphan::begin(buffer, |buffer| async move { buffer.flush_and_wait_async("key", patience).await }),
        Orphan::begin(buffer, |buffer| async move { buffer.flush_all_and_wait_async(patience).await }),
        Orphan::begin(buffer, |buffer| async move { buffer.insert_async("other", 1, patience).await }),
        Orphan::begin(buffer, |buffer| async move { buffer.wait_for_room_async(patience).await }),
    ]
}

/// Runs a scenario in a runtime of its own, unless it hangs.
fn to_its_end<F: Future<Output = ()>>(scenario: impl FnOnce() -> F + Send + 'static) {
    let (told, heard) = mpsc::channel();
    thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true).build().expect("a runtime starts").block_on(scenario());
        told.send(())
    });
    heard.recv_timeout(secs(60)).expect("the scenario ends");
}

#[test]
fn when_a_flush_is_settled() {
    to_its_end(|| async {
        let builder = Buffer::builder().max_keys(1);
        let buffer: Lists = builder.start_async(Sink::slow(secs(1)).0).expect("it starts");
        let orphans = begin_all(&buffer);
        tokio::time::sleep(secs(2)).await;
        assert!(orphans.iter().all(|orphan| orphan.was_woken()));
    });
}

#[test]
fn when_the_buffer_closes() {
    to_its_end(|| async {
        let builder = Buffer::builder().max_keys(1);
        let buffer: Lists = builder.start_async(Sink::slow(secs(3_600)).0).expect("it starts");
        let mut orphans = begin_all(&buffer);
        let patience = secs(3_600);
        orphans.push(Orphan::begin(&buffer, |buffer| async move { buffer.shutdown_async(patience).await }));
        buffer.shutdown_async(secs(1)).await.expect_err("it hangs");
        assert!(orphans.iter().all(|orphan| orphan.was_woken()));
    });
}
