use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use write_behind::{
    Aggregate, AsyncBatchDataBuffer, AsyncDataBuffer, BatchDataBuffer, BatchId, Buffer, DataBuffer,
    DeadLetter, FlushBatch, FlushContext, FlushError, FlushReason, Key, Verdict, WeakBuffer,
};

use super::clock::TestClock;
use super::gate::Gate;

/// What a scripted sink answers to a batch.
pub(crate) type Answer = Result<(), FlushError>;

type ToBatch<K, V> = Box<dyn Fn(&Script<K, V>, &FlushBatch<K, V>) -> Answer + Send + Sync>;
type ToKey<K, V> = Box<dyn Fn(&Script<K, V>, &K, &V) -> Result<(), String> + Send + Sync>;
type ToFailed<K, V> = Box<dyn Fn(&Script<K, V>, DeadLetter<K, V>) -> Verdict<K, V> + Send + Sync>;
type Such<K> = Box<dyn Fn(&K) -> bool + Send + Sync>;

/// A sink that answers by a script and remembers all that it was told.
pub(crate) struct Script<K, V> {
    shared: Arc<Shared<K, V>>,
}

struct Shared<K, V> {
    to_batch: ToBatch<K, V>,
    to_key: Option<ToKey<K, V>>,
    to_failed: ToFailed<K, V>,
    gate: Option<(Gate, Such<K>)>,
    error_gate: Option<Gate>,
    place: OnceLock<(WeakBuffer<K, V>, TestClock)>,
    seen: Mutex<Seen<K, V>>,
    changed: Condvar,
}

struct Seen<K, V> {
    calls: Vec<Call<K, V>>,
    given_up: Vec<(K, V, u32, String)>,
    shed: Vec<(K, V)>,
    running: Vec<K>,
    callbacks: usize,
    busiest: usize,
    overlaps: usize,
}

/// One attempt that the sink was asked to make.
#[derive(Debug, Clone)]
pub(crate) struct Call<K, V> {
    pub(crate) id: BatchId,
    pub(crate) attempt: u32,
    pub(crate) reason: FlushReason,
    pub(crate) settled_below: u64,
    pub(crate) entries: Vec<(K, V)>,
    pub(crate) at: Duration,
    /// Whether it was acknowledged; `None` while it runs, or if it panicked.
    pub(crate) acknowledged: Option<bool>,
}

impl<K, V> Clone for Script<K, V> {
    fn clone(&self) -> Self {
        Script { shared: Arc::clone(&self.shared) }
    }
}

impl<K: Key, V: Aggregate + Clone> Script<K, V> {
    /// Acknowledges everything.
    pub(crate) fn accepting() -> Self {
        Script::batches(|_, _| Ok(()))
    }

    /// Answers batch by batch.
    pub(crate) fn batches(
        answer: impl Fn(&Self, &FlushBatch<K, V>) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Script::assemble(Box::new(answer), None)
    }

    /// Answers key by key, as a sink that writes key by key.
    pub(crate) fn keys(answer: impl Fn(&Self, &K, &V) -> Result<(), String> + Send + Sync + 'static) -> Self {
        Script::assemble(Box::new(|_, _| Ok(())), Some(Box::new(answer)))
    }

    fn assemble(to_batch: ToBatch<K, V>, to_key: Option<ToKey<K, V>>) -> Self {
        let seen = Seen {
            calls: Vec::new(),
            given_up: Vec::new(),
            shed: Vec::new(),
            running: Vec::new(),
            callbacks: 0,
            busiest: 0,
            overlaps: 0,
        };
        let shared = Shared {
            to_batch,
            to_key,
            to_failed: Box::new(|_, _| Verdict::Forget),
            gate: None,
            error_gate: None,
            place: OnceLock::new(),
            seen: Mutex::new(seen),
            changed: Condvar::new(),
        };
        Script { shared: Arc::new(shared) }
    }

    /// What `handle_error` does, after it has been recorded.
    pub(crate) fn on_error(
        mut self,
        verdict: impl Fn(&Self, DeadLetter<K, V>) -> Verdict<K, V> + Send + Sync + 'static,
    ) -> Self {
        self.write().to_failed = Box::new(verdict);
        self
    }

    /// `handle_error` keeps everything, as the provided one does.
    pub(crate) fn keeping(self) -> Self {
        self.on_error(|_, letter| Verdict::Keep(letter))
    }

    /// Each attempt waits at the gate before it answers.
    pub(crate) fn behind(self, gate: &Gate) -> Self {
        self.behind_for(gate, |_| true)
    }

    /// Each attempt that begins with such a key waits at the gate before it answers.
    pub(crate) fn behind_for(
        mut self,
        gate: &Gate,
        such: impl Fn(&K) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.write().gate = Some((gate.clone(), Box::new(such)));
        self
    }

    /// `handle_error` waits at the gate.
    pub(crate) fn errors_behind(mut self, gate: &Gate) -> Self {
        self.write().error_gate = Some(gate.clone());
        self
    }

    fn write(&mut self) -> &mut Shared<K, V> {
        Arc::get_mut(&mut self.shared).expect("a script is written before it is shared")
    }

    pub(super) fn asks_key_by_key(&self) -> bool {
        self.shared.to_key.is_some()
    }

    pub(super) fn install(&self, buffer: WeakBuffer<K, V>, clock: TestClock) {
        assert!(self.shared.place.set((buffer, clock)).is_ok(), "a script plays once");
    }

    /// The buffer that this is the sink of.
    pub(crate) fn buffer(&self) -> Buffer<K, V> {
        let (buffer, _) = self.shared.place.get().expect("the buffer runs");
        buffer.upgrade().expect("a handle is left")
    }

    pub(crate) fn clock(&self) -> &TestClock {
        &self.shared.place.get().expect("the buffer runs").1
    }

    /// Every attempt, in the order in which they began.
    pub(crate) fn calls(&self) -> Vec<Call<K, V>> {
        self.seen().calls.clone()
    }

    /// Everything that was acknowledged, in order.
    pub(crate) fn flushed(&self) -> Vec<(K, V)> {
        let seen = self.seen();
        let acknowledged = seen.calls.iter().filter(|call| call.acknowledged == Some(true));
        acknowledged.flat_map(|call| call.entries.clone()).collect()
    }

    /// What `handle_error` was given: key, data, attempts and the failure in words.
    pub(crate) fn given_up(&self) -> Vec<(K, V, u32, String)> {
        self.seen().given_up.clone()
    }

    pub(crate) fn shed(&self) -> Vec<(K, V)> {
        self.seen().shed.clone()
    }

    /// How many callbacks ran at once at most.
    pub(crate) fn busiest(&self) -> usize {
        self.seen().busiest
    }

    /// How often a key was handed out while it was still being worked on.
    pub(crate) fn overlaps(&self) -> usize {
        self.seen().overlaps
    }

    /// Waits for news, or for a moment: what happens inside the buffer after a callback is told to
    /// nobody.
    pub(super) fn await_news(&self) {
        let seen = self.seen();
        drop(self.shared.changed.wait_timeout(seen, Duration::from_millis(1)).unwrap());
    }

    fn seen(&self) -> MutexGuard<'_, Seen<K, V>> {
        self.shared.seen.lock().unwrap()
    }

    fn begin(&self, call: Call<K, V>) -> usize {
        let mut seen = self.seen();
        let keys: Vec<K> = call.entries.iter().map(|(key, _)| key.clone()).collect();
        seen.overlaps += keys.iter().filter(|key| seen.running.contains(key)).count();
        seen.running.extend(keys);
        seen.callbacks += 1;
        seen.busiest = seen.busiest.max(seen.callbacks);
        seen.calls.push(call);
        self.shared.changed.notify_all();
        seen.calls.len() - 1
    }

    fn end(&self, place: usize) {
        let mut seen = self.seen();
        let keys: Vec<K> = seen.calls[place].entries.iter().map(|(key, _)| key.clone()).collect();
        for key in keys {
            let at = seen.running.iter().position(|running| *running == key).expect("it was running");
            seen.running.swap_remove(at);
        }
        seen.callbacks -= 1;
        self.shared.changed.notify_all();
    }

    /// Records an attempt, which has ended when what this returns is dropped.
    fn record(&self, call: Call<K, V>) -> Ending<'_, K, V> {
        Ending { script: self, place: self.begin(call) }
    }

    fn gate_for(&self, key: &K) -> Option<&Gate> {
        self.shared.gate.as_ref().filter(|(_, such)| such(key)).map(|(gate, _)| gate)
    }

    fn batch_call(&self, batch: &FlushBatch<K, V>) -> Call<K, V> {
        let entries = batch.entries().iter().map(|entry| (entry.key().clone(), entry.data().clone()));
        Call {
            id: batch.id(),
            attempt: batch.attempt(),
            reason: batch.reason(),
            settled_below: batch.settled_below(),
            entries: entries.collect(),
            at: self.clock().now(),
            acknowledged: None,
        }
    }

    fn key_call(&self, key: &K, data: &V, context: &FlushContext) -> Call<K, V> {
        Call {
            id: context.id(),
            attempt: context.attempt(),
            reason: context.reason(),
            settled_below: context.settled_below(),
            entries: vec![(key.clone(), data.clone())],
            at: self.clock().now(),
            acknowledged: None,
        }
    }

    fn answer_key(&self, key: &K, data: &V) -> Result<(), String> {
        let to_key = self.shared.to_key.as_ref().expect("it asks key by key");
        to_key(self, key, data)
    }

    fn failed(&self, letter: DeadLetter<K, V>) -> Verdict<K, V> {
        let words = letter.cause().to_string();
        let given_up = (letter.key().clone(), letter.data().clone(), letter.attempts(), words);
        self.seen().given_up.push(given_up);
        self.shared.changed.notify_all();
        (self.shared.to_failed)(self, letter)
    }
}

/// Ends a recorded call, even one that panics.
struct Ending<'a, K: Key, V: Aggregate + Clone> {
    script: &'a Script<K, V>,
    place: usize,
}

impl<K: Key, V: Aggregate + Clone> Ending<'_, K, V> {
    fn with<E>(self, result: Result<(), E>) -> Result<(), E> {
        self.script.seen().calls[self.place].acknowledged = Some(result.is_ok());
        result
    }
}

impl<K: Key, V: Aggregate + Clone> Drop for Ending<'_, K, V> {
    fn drop(&mut self) {
        self.script.end(self.place);
    }
}

/// A script as a sink of whole batches.
pub(super) struct Batches<K, V>(pub(super) Script<K, V>);

/// A script as a sink of single keys.
pub(super) struct Keys<K, V>(pub(super) Script<K, V>);

fn pass(gate: Option<&Gate>) {
    if let Some(gate) = gate {
        gate.pass();
    }
}

async fn pass_async(gate: Option<&Gate>) {
    if let Some(gate) = gate {
        gate.pass_async().await;
    }
}

impl<K: Key, V: Aggregate + Clone> BatchDataBuffer<K, V> for Batches<K, V> {
    fn handle_flush_batch(&self, batch: &FlushBatch<K, V>) -> Answer {
        let call = self.0.record(self.0.batch_call(batch));
        pass(self.0.gate_for(batch.entries()[0].key()));
        call.with((self.0.shared.to_batch)(&self.0, batch))
    }

    fn handle_error(&self, letter: DeadLetter<K, V>) -> Verdict<K, V> {
        pass(self.0.shared.error_gate.as_ref());
        self.0.failed(letter)
    }

    fn handle_shed(&self, key: K, data: V) {
        self.0.seen().shed.push((key, data));
    }
}

impl<K: Key, V: Aggregate + Clone> AsyncBatchDataBuffer<K, V> for Batches<K, V> {
    async fn handle_flush_batch(&self, batch: &FlushBatch<K, V>) -> Answer {
        let call = self.0.record(self.0.batch_call(batch));
        pass_async(self.0.gate_for(batch.entries()[0].key())).await;
        call.with((self.0.shared.to_batch)(&self.0, batch))
    }

    async fn handle_error(&self, letter: DeadLetter<K, V>) -> Verdict<K, V> {
        pass_async(self.0.shared.error_gate.as_ref()).await;
        self.0.failed(letter)
    }

    fn handle_shed(&self, key: K, data: V) {
        self.0.seen().shed.push((key, data));
    }
}

impl<K: Key, V: Aggregate + Clone> DataBuffer<K, V> for Keys<K, V> {
    fn handle_flush(&self, key: &K, data: &V, context: &FlushContext) -> Result<(), FlushError> {
        let call = self.0.record(self.0.key_call(key, data, context));
        pass(self.0.gate_for(key));
        Ok(call.with(self.0.answer_key(key, data))?)
    }

    fn handle_error(&self, letter: DeadLetter<K, V>) -> Verdict<K, V> {
        pass(self.0.shared.error_gate.as_ref());
        self.0.failed(letter)
    }
}

impl<K: Key, V: Aggregate + Clone> AsyncDataBuffer<K, V> for Keys<K, V> {
    async fn handle_flush(&self, key: &K, data: &V, context: &FlushContext) -> Result<(), FlushError> {
        let call = self.0.record(self.0.key_call(key, data, context));
        pass_async(self.0.gate_for(key)).await;
        Ok(call.with(self.0.answer_key(key, data))?)
    }

    async fn handle_error(&self, letter: DeadLetter<K, V>) -> Verdict<K, V> {
        pass_async(self.0.shared.error_gate.as_ref()).await;
        self.0.failed(letter)
    }
}
