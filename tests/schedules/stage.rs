//! What all scenarios share: the explorer, a sink with a script, and a way to wait for the end of
//! all threads of a buffer.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::Duration;

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::sync::{Condvar, Mutex};
use shuttle::{Config, MaxSteps, Runner};
use write_behind::{
    BatchDataBuffer, BatchId, Buffer, Builder, DeadLetter, FlushBatch, FlushError, ManualClock, Observer,
    Retirement, RetryPolicy, ShutdownError, ShutdownReport, Undelivered, Verdict, WeakBuffer,
};

/// Long enough never to be over by itself: the clock has to be moved.
pub(crate) const LONG: Duration = Duration::from_secs(60);
/// Beyond any of the other times.
pub(crate) const FOREVER: Duration = Duration::from_secs(1_000_000);

pub(crate) type Lists = Buffer<u8, Vec<u64>, Keyed>;
pub(crate) type WeakLists = WeakBuffer<u8, Vec<u64>, Keyed>;

/// A hasher that is the same in every run: even keys go to the lower half of the partitions.
#[derive(Debug, Default)]
pub(crate) struct Spread(u64);

pub(crate) type Keyed = BuildHasherDefault<Spread>;

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 1 | (self.0 & 1) << 63
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.0 = self.0 << 8 | u64::from(byte));
    }
}

/// Tries the scenario under many schedules.
pub(crate) fn explore(scenario: impl Fn() + Send + Sync + 'static) {
    let count = std::env::var("WRITE_BEHIND_SCHEDULES");
    let count: usize =
        count.map_or(10_000, |count| count.parse().expect("WRITE_BEHIND_SCHEDULES is a number"));
    let scenario = Arc::new(scenario);
    try_all(RandomScheduler::new(count.div_ceil(2)), Arc::clone(&scenario));
    try_all(PctScheduler::new(3, count / 2), scenario);
}

fn try_all(scheduler: impl Scheduler + 'static, scenario: Arc<impl Fn() + Send + Sync + 'static>) {
    let mut config = Config::new();
    config.stack_size = 0x4_0000;
    config.max_steps = MaxSteps::FailAfter(200_000);
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(move || scenario());
}

/// What the sink saw, and what came out elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// Per key, what was applied, in order; a batch counts once, however often it is sent.
    pub(crate) applied: BTreeMap<u8, Vec<u64>>,
    /// Per key, what was handed to `handle_error` for good.
    pub(crate) given_up: BTreeMap<u8, Vec<u64>>,
    ids: BTreeSet<(BatchId, u8)>,
    /// What each batch held when it was first sent.
    contents: BTreeMap<BatchId, Vec<(u8, Vec<u64>)>>,
    attempts: u32,
    /// How many keys were given up.
    letters: u32,
    /// How many inserts were undelivered when the sink was told that the buffer is over.
    retired: Vec<u64>,
    sink_gone: bool,
    cores_gone: u32,
}

/// The sink's side of a scenario, shared with the threads that look at it.
#[derive(Debug, Default)]
pub(crate) struct Log {
    record: Mutex<Record>,
    changed: Condvar,
}

impl Log {
    pub(crate) fn applied(&self, key: u8) -> Vec<u64> {
        self.record.lock().unwrap().applied.get(&key).cloned().unwrap_or_default()
    }

    pub(crate) fn given_up(&self, key: u8) -> Vec<u64> {
        self.record.lock().unwrap().given_up.get(&key).cloned().unwrap_or_default()
    }

    /// Waits until the sink has all of it; that it never has is a deadlock.
    pub(crate) fn wait_for(&self, key: u8, inserts: usize) {
        self.wait(|record| record.applied.get(&key).map_or(0, Vec::len) >= inserts);
    }

    /// How much was applied in all.
    pub(crate) fn total(&self) -> usize {
        self.record.lock().unwrap().applied.values().map(Vec::len).sum()
    }

    /// Waits until the sink has so much in all.
    pub(crate) fn wait_for_total(&self, inserts: usize) {
        self.wait(|record| record.applied.values().map(Vec::len).sum::<usize>() >= inserts);
    }

    /// Whether the batch has been applied to that key.
    pub(crate) fn has(&self, id: BatchId, key: u8) -> bool {
        self.record.lock().unwrap().ids.contains(&(id, key))
    }

    pub(crate) fn retired(&self) -> Vec<u64> {
        self.record.lock().unwrap().retired.clone()
    }

    pub(crate) fn sink_is_gone(&self) -> bool {
        self.record.lock().unwrap().sink_gone
    }

    pub(crate) fn attempts(&self) -> u32 {
        self.record.lock().unwrap().attempts
    }

    pub(crate) fn wait_for_attempts(&self, attempts: u32) {
        self.wait(|record| record.attempts >= attempts);
    }

    pub(crate) fn wait_for_letters(&self, letters: u32) {
        self.wait(|record| record.letters >= letters);
    }

    /// Waits until all that the buffer's threads hold has been dropped. The sink has been told, once,
    /// before it was dropped.
    pub(crate) fn wait_for_the_end(&self) {
        self.wait_for_cores(1);
        assert!(self.sink_is_gone());
        assert_eq!(self.retired().len(), 1);
    }

    /// Waits until all that the threads of so many buffers hold has been dropped.
    pub(crate) fn wait_for_cores(&self, cores: u32) {
        self.wait(|record| record.cores_gone >= cores);
    }

    fn wait(&self, until: impl Fn(&Record) -> bool) {
        let mut record = self.record.lock().unwrap();
        while !until(&record) {
            record = self.changed.wait(record).unwrap();
        }
    }

    fn note(&self, change: impl FnOnce(&mut Record)) {
        change(&mut self.record.lock().unwrap());
        self.changed.notify_all();
    }
}

/// How an attempt ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Ok,
    /// Applied, but the answer was lost.
    LostAnswer,
    Unknown,
    NotApplied,
    /// The first entry failed, the others are done.
    FirstKey,
    /// Not applied, and no more attempts.
    Hopeless,
    /// Applied, but the answer was lost, and no more attempts.
    LostForGood,
}

/// What `handle_error` decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// To note it in the log instead, unless it has been applied.
    Forget,
    Requeue,
    Keep,
}

type Act = Box<dyn Fn(&Lists) + Send + Sync>;

/// A sink that ends its attempts as its script says, and the later ones as `then`.
pub(crate) struct Sink {
    pub(crate) log: Arc<Log>,
    pub(crate) script: Vec<Ending>,
    pub(crate) then: Ending,
    /// Done inside each flush callback.
    pub(crate) act: Option<Act>,
    pub(crate) fate: Fate,
    pub(crate) buffer: Option<WeakLists>,
    pub(crate) _farewell: Farewell,
}

/// Tells the log when the sink is dropped.
pub(crate) struct Farewell(Arc<Log>);

impl Drop for Farewell {
    fn drop(&mut self) {
        self.0.note(|record| record.sink_gone = true);
    }
}

/// Tells the log when the buffer's core is dropped, whose observer it is.
pub(crate) struct Canary(Arc<Log>);

impl Canary {
    pub(crate) fn new(log: &Arc<Log>) -> Self {
        Canary(Arc::clone(log))
    }
}

impl Observer for Canary {}

impl Drop for Canary {
    fn drop(&mut self) {
        self.0.note(|record| record.cores_gone += 1);
    }
}

impl Sink {
    pub(crate) fn new(log: &Arc<Log>) -> Self {
        Sink::scripted(log, &[])
    }

    pub(crate) fn scripted(log: &Arc<Log>, script: &[Ending]) -> Self {
        Sink {
            log: Arc::clone(log),
            script: script.to_vec(),
            then: Ending::Ok,
            act: None,
            fate: Fate::Forget,
            buffer: None,
            _farewell: Farewell(Arc::clone(log)),
        }
    }

    pub(crate) fn start(self, builder: Builder<u8, Vec<u64>, Keyed>) -> Lists {
        let builder = builder.observer(Canary::new(&self.log));
        builder.start_cyclic(|weak| Sink { buffer: Some(weak), ..self }).expect("valid settings")
    }

    fn end(&self, batch: &FlushBatch<u8, Vec<u64>>, ending: Ending) -> Result<(), FlushError> {
        let skipped = usize::from(ending == Ending::FirstKey);
        if matches!(ending, Ending::Ok | Ending::LostAnswer | Ending::LostForGood | Ending::FirstKey) {
            self.log.note(|record| {
                for entry in &batch.entries()[skipped..] {
                    if record.ids.insert((batch.id(), *entry.key())) {
                        record.applied.entry(*entry.key()).or_default().extend(entry.data());
                    }
                }
            });
        }
        let error = format!("{ending:?}");
        match ending {
            Ending::Ok => Ok(()),
            Ending::LostAnswer | Ending::Unknown => Err(FlushError::unknown(error)),
            Ending::NotApplied => Err(FlushError::not_applied(error)),
            Ending::FirstKey => {
                FlushError::entries([batch.entries()[0].failed(FlushError::not_applied(error))])
            }
            Ending::Hopeless => Err(FlushError::not_applied(error).give_up()),
            Ending::LostForGood => Err(FlushError::unknown(error).give_up()),
        }
    }
}

impl BatchDataBuffer<u8, Vec<u64>> for Sink {
    fn handle_flush_batch(&self, batch: &FlushBatch<u8, Vec<u64>>) -> Result<(), FlushError> {
        let mut attempt = 0;
        let content: Vec<_> =
            batch.entries().iter().map(|entry| (*entry.key(), entry.data().clone())).collect();
        self.log.note(|record| {
            attempt = record.attempts;
            record.attempts += 1;
            let first = record.contents.entry(batch.id()).or_insert_with(|| content.clone());
            assert_eq!(*first, content, "a batch stays what it is");
        });
        if let Some(act) = &self.act {
            self.buffer.as_ref().and_then(WeakBuffer::upgrade).iter().for_each(act);
        }
        self.end(batch, self.script.get(attempt as usize).copied().unwrap_or(self.then))
    }

    fn handle_error(&self, letter: DeadLetter<u8, Vec<u64>>) -> Verdict<u8, Vec<u64>> {
        self.log.note(|record| record.letters += 1);
        match self.fate {
            Fate::Forget => {
                if !self.log.has(letter.batch(), *letter.key()) {
                    let (key, data) = letter.into_parts();
                    self.log.note(|record| record.given_up.entry(key).or_default().extend(data));
                }
                Verdict::Forget
            }
            Fate::Requeue => Verdict::Requeue(letter),
            Fate::Keep => Verdict::Keep(letter),
        }
    }

    fn handle_retired(&self, retirement: &Retirement) {
        self.log.note(|record| record.retired.push(retirement.undelivered));
    }
}

/// Two partitions, one worker, retries at once, and nothing happens by itself for a minute.
pub(crate) fn settings(clock: &ManualClock) -> Builder<u8, Vec<u64>, Keyed> {
    Buffer::builder()
        .hasher(Keyed::default())
        .clock(clock)
        .seed(1)
        .partitions(2)
        .flush_concurrency(1)
        .interval(LONG)
        .hibernate_after(2 * LONG)
        .retry(RetryPolicy::fixed(3, Duration::ZERO))
}

/// What `shutdown` gave back.
pub(crate) fn undelivered(
    result: Result<ShutdownReport, ShutdownError<u8, Vec<u64>>>,
) -> Vec<Undelivered<u8, Vec<u64>>> {
    result.err().map(ShutdownError::into_undelivered).unwrap_or_default().into_iter().collect()
}

/// What `shutdown` gave back, per key.
pub(crate) fn returned(
    result: Result<ShutdownReport, ShutdownError<u8, Vec<u64>>>,
) -> BTreeMap<u8, Vec<u64>> {
    let mut all: BTreeMap<u8, Vec<u64>> = BTreeMap::new();
    undelivered(result).iter().for_each(|left| collect(&mut all, left));
    all
}

fn collect(all: &mut BTreeMap<u8, Vec<u64>>, left: &Undelivered<u8, Vec<u64>>) {
    all.entry(*left.key()).or_default().extend(left.data());
}

/// The end of every scenario: the books balance, no callback panicked, and all threads let go.
pub(crate) fn finish(buffer: Lists, log: &Log) {
    let stats = buffer.stats();
    assert_eq!(stats.balance(), 0, "{stats:?}");
    assert_eq!(stats.panics, 0);
    drop(buffer);
    log.wait_for_the_end();
}
