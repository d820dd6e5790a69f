use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use write_behind::{
    BatchId, FailureCause, FlushBatch, FlushError, FlushEvent, InsertErrorKind, Observer, Overflow,
    RetryPolicy, Stats, WeakBuffer,
};

use crate::support::{Driver, Gate, Rig, Script, secs, steady};

each_driver! {
    observers_are_told_of_every_event,
    refusals_are_told_however_they_come,
    observers_run_outside_all_locks,
    health_tells_how_long_the_sink_has_failed_and_how,
    a_panicking_observer_is_counted_and_changes_nothing,
}

type Lists = Rig<u32, Vec<u32>>;

/// Writes down what it is told, and then does what it was made for.
#[derive(Clone, Default)]
struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    buffer: Arc<OnceLock<WeakBuffer<u32, Vec<u32>>>>,
    panics: bool,
}

impl Log {
    fn note(&self, line: String) {
        self.lines.lock().unwrap().push(line);
        if let Some(buffer) = self.buffer.get().and_then(WeakBuffer::upgrade) {
            buffer.keys().iter().for_each(|key| drop(buffer.peek(key)));
            assert_eq!(buffer.stats().balance(), 0);
            let _ = buffer.insert(1_000, 1);
            buffer.flush(&1_000);
        }
        assert!(!self.panics, "an observer panics");
    }

    fn has(&self, line: &str) -> bool {
        self.lines.lock().unwrap().iter().any(|noted| noted == line)
    }
}

impl Observer for Log {
    fn flush_started(&self, flush: &FlushEvent<'_>) {
        let FlushEvent { buffer, attempt, reason, keys, inserts, .. } = *flush;
        self.note(format!("{buffer} started {attempt} {reason:?} {keys}/{inserts}"));
    }

    fn flush_succeeded(&self, flush: &FlushEvent<'_>, _: Duration) {
        self.note(format!("{} succeeded {}", flush.buffer, flush.attempt));
    }

    fn flush_failed(&self, flush: &FlushEvent<'_>, keys: usize, failure: &FailureCause, _: Duration) {
        self.note(format!("{} failed {} {keys} {failure}", flush.buffer, flush.attempt));
    }

    fn flush_retried(&self, flush: &FlushEvent<'_>, after: Duration) {
        self.note(format!("{} retried {} {after:?}", flush.buffer, flush.attempt));
    }

    fn gave_up(&self, buffer: &str, inserts: u64, attempts: u32, failure: &FailureCause) {
        self.note(format!("{buffer} gave up {inserts} {attempts} {failure}"));
    }

    fn overdue(&self, buffer: &str, _: BatchId, running: Duration) {
        self.note(format!("{buffer} overdue {running:?}"));
    }

    fn shed(&self, buffer: &str) {
        self.note(format!("{buffer} shed"));
    }

    fn refused(&self, buffer: &str, inserts: u64, kind: InsertErrorKind) {
        self.note(format!("{buffer} refused {inserts} {kind}"));
    }

    fn undelivered(&self, buffer: &str, keys: usize, inserts: u64) {
        self.note(format!("{buffer} undelivered {keys}/{inserts}"));
    }

    fn hibernated(&self, buffer: &str) {
        self.note(format!("{buffer} hibernated"));
    }

    fn woke(&self, buffer: &str) {
        self.note(format!("{buffer} woke"));
    }
}

fn observers_are_told_of_every_event(driver: Driver) {
    let log = Log::default();
    let observer = log.clone();
    let sink = Script::batches(|_, batch| match batch.entries()[0].key() {
        1 => Ok(()),
        _ => Err("down".to_owned().into()),
    });
    let sink = sink.on_error(|_, _failed| panic!("and out"));
    let rig = Lists::with(driver, sink, |builder| {
        let retry = steady().attempts(2);
        let builder = builder.name("log").observer(observer).retry(retry).hibernate_after(secs(10));
        builder.max_keys(1).overflow(Overflow::Shed)
    });
    rig.pass_time_until("it rests", || log.has("log hibernated"));
    rig.insert(1, 1);
    rig.insert(1, 2);
    rig.insert(2, 1);
    rig.pass_time_until("it is flushed", || rig.buffer.stats().flushed == 2);
    rig.eventually("there is room", || rig.buffer.stats().keys == 0);
    rig.insert(2, 1);
    rig.pass_time_until("it is left undelivered", || log.has("log undelivered 1/1"));
    for line in [
        "log woke",
        "log shed",
        "log started 1 Deadline 1/2",
        "log succeeded 1",
        "log started 1 Deadline 1/1",
        "log failed 1 1 down",
        "log retried 1 1s",
        "log started 2 Deadline 1/1",
        "log gave up 1 2 down",
    ] {
        assert!(log.has(line), "{line}: {:?}", log.lines);
    }
}

fn refusals_are_told_however_they_come(driver: Driver) {
    let log = Log::default();
    let observer = log.clone();
    let rig = Lists::start(driver, |builder| builder.name("log").observer(observer).max_keys(1));
    rig.insert(1, 1);
    rig.buffer.insert(2, 1).expect_err("it is full");
    rig.buffer.insert_ref(&3, 1).expect_err("it is full");
    rig.buffer.insert_many([(1, 2), (4, 1), (5, 1)]).expect_err("it is full");
    rig.buffer.shutdown(secs(5)).expect("all is stored");
    rig.buffer.insert(1, 1).expect_err("it is closed");
    let lines = log.lines.lock().unwrap().clone();
    let refused: Vec<_> = lines.iter().filter(|line| line.contains("refused")).map(String::as_str).collect();
    let full = "log refused 1 the buffer is full";
    let expected = [full, full, "log refused 2 the buffer is full", "log refused 1 the buffer is closed"];
    assert_eq!(refused, expected);
    assert_eq!(rig.buffer.stats().rejected, 5);
}

fn health_tells_how_long_the_sink_has_failed_and_how(driver: Driver) {
    let answers = Mutex::new(0);
    let sink = Script::batches(move |_, batch: &FlushBatch<u32, Vec<u32>>| {
        let mut answered = answers.lock().unwrap();
        *answered += 1;
        match *answered {
            1 => Ok(()),
            2 => Err(FlushError::unknown("away")),
            3 => Err(FlushError::not_applied("still away")),
            4 => FlushError::entries([batch.entries()[0].failed("this one")]),
            _ => Ok(()),
        }
    });
    let retry = RetryPolicy::fixed(9, secs(10));
    let rig = Lists::with(driver, sink, |builder| builder.interval(secs(5)).retry(retry).max_keys(4));
    let health = || rig.buffer.health();
    assert!(health().degraded_for.is_none() && health().last_failure.is_none());
    let attempts = |count| {
        rig.eventually("an attempt", || {
            rig.buffer.stats().flushes == count && rig.buffer.stats().workers == 0
        })
    };
    rig.insert(1, 1);
    rig.advance(secs(5));
    attempts(1);
    assert!(health().degraded_for.is_none() && health().last_failure.is_none());
    rig.insert(1, 2);
    rig.insert(2, 2);
    assert!((health().fullness() - 0.5).abs() < 1e-9);
    rig.advance(secs(5));
    attempts(2);
    rig.advance(secs(10));
    attempts(3);
    let ill = health();
    assert_eq!((ill.degraded_for, ill.stats.degraded_for), (Some(secs(10)), Some(secs(10))));
    let (cause, ago) = ill.last_failure.expect("it failed");
    assert_eq!((cause.to_string().as_str(), ago), ("still away", Duration::ZERO));
    // Of one key only: the storage is there.
    rig.advance(secs(10));
    attempts(4);
    assert_eq!(health().degraded_for, None);
    assert_eq!(health().last_failure.expect("it failed").0.to_string(), "this one");
    rig.advance(secs(10));
    rig.eventually("all is stored", || rig.buffer.stats().keys == 0);
    assert_eq!(health().degraded_for, None);
}

/// Remembers when it was told statistics.
#[derive(Clone, Default)]
struct Meter {
    told: Arc<Mutex<Vec<Stats>>>,
}

impl Observer for Meter {
    fn measure_every(&self) -> Option<Duration> {
        Some(secs(1))
    }

    fn measured(&self, _: &str, stats: &Stats) {
        self.told.lock().unwrap().push(*stats);
    }
}

#[test]
fn statistics_are_told_while_the_buffer_is_awake_and_not_at_rest() {
    let meter = Meter::default();
    let observer = meter.clone();
    let rig = Lists::start(Driver::Inline, |builder| {
        builder.observer(observer).interval(secs(5)).hibernate_after(secs(10)).max_keys(50)
    });
    rig.insert(1, 1);
    rig.advance(secs(4));
    let told = meter.told.lock().unwrap().clone();
    let ages: Vec<_> = told.iter().map(|stats| stats.oldest_pending.as_secs()).collect();
    assert_eq!(ages, [1, 2, 3, 4]);
    assert!(told.iter().all(|stats| (stats.pending, stats.max_keys) == (1, 50)));
    rig.advance(secs(3_600));
    let told = meter.told.lock().unwrap().clone();
    assert!(told.len() <= 8, "it rests and is not woken up: {}", told.len());
    let last = told.last().expect("it was told");
    assert!(last.hibernating && last.pending == 0 && last.oldest_pending.is_zero());
}

/// A gauge that nobody corrects would show data that has been stored long ago.
#[test]
fn what_the_last_flush_changed_is_told_once_and_soon() {
    let meter = Meter::default();
    let observer = meter.clone();
    let rig = Lists::start(Driver::Inline, |builder| {
        builder.observer(observer).interval(secs(5) + Duration::from_millis(300)).hibernate_after(secs(3_600))
    });
    rig.insert(1, 1);
    rig.advance(secs(60));
    let told = meter.told.lock().unwrap().clone();
    let flushed: Vec<_> = told.iter().map(|stats| (stats.pending, stats.flushed)).collect();
    // Five times while it waits, once when it is gone, and at the minute's end, when this test looks.
    assert_eq!(flushed, [(1, 0), (1, 0), (1, 0), (1, 0), (1, 0), (0, 1), (0, 1)]);
}

#[test]
fn a_batch_says_how_late_it_is() {
    #[derive(Clone, Default)]
    struct Late(Arc<Mutex<Vec<Duration>>>);
    impl Observer for Late {
        fn flush_started(&self, flush: &FlushEvent<'_>) {
            self.0.lock().unwrap().push(flush.late);
        }
    }
    let late = Late::default();
    let (observer, gate) = (late.clone(), Gate::default());
    let sink = Script::batches(|_, _| Ok(())).behind(&gate);
    let rig = Lists::with(Driver::Threads, sink, |builder| {
        builder.observer(observer).interval(secs(5)).flush_concurrency(1).max_batch_keys(1)
    });
    (0..3).for_each(|key| rig.insert(key, 1));
    rig.advance(secs(5));
    gate.await_arrivals(1);
    rig.advance(secs(7));
    gate.open();
    rig.eventually("all are stored", || rig.buffer.stats().flushed == 3);
    let late = late.0.lock().unwrap().clone();
    assert_eq!((late[0], late[2]), (secs(0), secs(7)), "{late:?}");
}

/// In every event the observer reads all keys, inserts and flushes: under a lock it would hang.
fn observers_run_outside_all_locks(driver: Driver) {
    let log = Log::default();
    let observer = log.clone();
    let sink = Script::batches(|_, batch| match (batch.len(), batch.entries()[0].key() % 3) {
        (1, 0) => Err(FlushError::not_applied("sick".to_owned()).give_up()),
        (1, 1) if batch.attempt() < 3 => Err("later".to_owned().into()),
        (1, _) => Ok(()),
        _ => Err(FlushError::not_applied("together".to_owned())),
    });
    let rig = Lists::with(driver, sink, |builder| builder.observer(observer).hibernate_after(secs(1)));
    log.buffer.set(rig.buffer.downgrade()).expect("it is set once");
    (0..20).for_each(|key| rig.insert(key, key));
    rig.pass_time_until("all is settled", || {
        let stats = rig.buffer.stats();
        (0..20).all(|key| rig.buffer.count(&key).total() == 0) && stats.gave_up >= 7
    });
    assert!(log.lines.lock().unwrap().len() > 40);
    assert_eq!(rig.buffer.stats().panics, 0);
}

fn a_panicking_observer_is_counted_and_changes_nothing(driver: Driver) {
    let log = Log { panics: true, ..Log::default() };
    let observer = log.clone();
    let sink = Script::batches(|_, batch| match batch.attempt() {
        1 => Err("later".to_owned().into()),
        _ => Ok(()),
    });
    let rig = Lists::with(driver, sink, |builder| builder.observer(observer));
    rig.insert(1, 1);
    rig.pass_time_until("it is flushed", || rig.buffer.stats().flushed == 1);
    rig.pass_time_until("it rests", || rig.buffer.stats().hibernating);
    rig.eventually("every panic is counted", || {
        rig.buffer.stats().panics == log.lines.lock().unwrap().len() as u64
    });
}

#[test]
fn an_overdue_callback_is_told_once() {
    let log = Log::default();
    let observer = log.clone();
    let gate = Gate::default();
    let sink = Script::accepting().behind(&gate);
    let rig = Lists::with(Driver::Threads, sink, |builder| {
        builder.name("log").observer(observer).flush_timeout(secs(1))
    });
    rig.insert(1, 1);
    rig.buffer.flush(&1);
    gate.await_arrivals(1);
    rig.advance(secs(1));
    rig.eventually("it is overdue", || log.has("log overdue 1s"));
    rig.advance(secs(60));
    gate.open();
    rig.eventually("it counts all the same", || rig.buffer.stats().flushed == 1);
    assert_eq!(rig.buffer.stats().overdue, 1);
}
