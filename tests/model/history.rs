//! What a history consists of, and how one is drawn.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::{array, option};
use write_behind::Overflow;

pub(crate) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[derive(Debug, Clone)]
pub(crate) struct History {
    pub(crate) settings: Settings,
    pub(crate) steps: Vec<Step>,
    /// How attempts end, in their order; later ones succeed.
    pub(crate) endings: Vec<Ending>,
    /// What becomes of keys that are given up, in their order; later ones are forgotten.
    pub(crate) verdicts: Vec<Spent>,
    /// How long the final shutdown may take.
    pub(crate) patience: Duration,
}

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) interval: Duration,
    pub(crate) jitter: Duration,
    pub(crate) flush_at_count: Option<u32>,
    /// Below `flush_at_count`.
    pub(crate) interval_at_count: Vec<(u32, Duration)>,
    /// How long a generation of each key may stay; a policy that has no answer panics.
    pub(crate) policy: Option<[Option<Duration>; 6]>,
    /// Only with one partition, and without verdicts that put data back: the model keeps one account for
    /// all partitions, and does not know whether data was put back before or after other data was taken.
    pub(crate) flush_all_at_count: Option<u64>,
    /// The sink writes key by key.
    pub(crate) by_key: bool,
    pub(crate) partitions: usize,
    pub(crate) max_batch_keys: usize,
    pub(crate) flush_concurrency: usize,
    pub(crate) max_keys: u64,
    pub(crate) max_weight: u64,
    pub(crate) overflow: Overflow,
    /// `None`: without end.
    pub(crate) attempts: Option<u32>,
    pub(crate) delay: Duration,
    pub(crate) hibernate_after: Duration,
    pub(crate) seed: u64,
}

#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// A key, and an item for those aggregates whose items mean something.
    Insert(u8, i8),
    Advance(Duration),
    Flush(u8),
    FlushAll,
    FlushAndWait(u8, Duration),
    FlushAllAndWait(Duration),
    Remove(u8),
    RetryUndelivered,
}

/// What the buffer is told of a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Telling {
    pub(crate) effect: Effect,
    /// No more attempts.
    pub(crate) hopeless: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Unknown,
    NotApplied,
    NeverApplied,
}

/// How one attempt ends.
#[derive(Debug, Clone)]
pub(crate) enum Ending {
    Ok,
    /// `applied` says what the sink really did, if it says that this is unknown.
    Failed {
        telling: Telling,
        applied: bool,
    },
    Panic {
        applied: bool,
    },
    /// An entry is named twice.
    Misreported,
    /// The entries whose bits are set failed in these ways, the others are applied.
    Keys(u8, [Telling; 3]),
}

/// What becomes of a key that is given up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent {
    pub(crate) fate: Fate,
    /// And of those keys of its batch that follow.
    pub(crate) shared: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Forget,
    Requeue,
    Keep,
    Panic,
    /// A panic after the data was taken out.
    TakeAndPanic,
}

pub(crate) fn histories() -> impl Strategy<Value = History> {
    let steps = vec(step(), 1..50);
    let patience = prop_oneof![Just(0), 1..100_u64, Just(100_000)].prop_map(ms);
    (settings(), steps, vec(ending(), 0..60), vec(spent(), 0..20), patience).prop_map(
        |(settings, steps, endings, mut verdicts, patience): (Settings, _, _, Vec<Spent>, _)| {
            if settings.flush_all_at_count.is_some() {
                verdicts.retain(|spent| spent.fate != Fate::Requeue);
            }
            History { settings, steps, endings, verdicts, patience }
        },
    )
}

fn settings() -> impl Strategy<Value = Settings> {
    let schedule = (5..20_u64, 0..6_u64, 0..50_u64, 0..12_u64);
    let flush_at_count = prop_oneof![2 => Just(None), 1 => (1..5_u32).prop_map(Some)];
    let steps = prop_oneof![2 => Just(vec![]), 1 => Just(vec![(2, 4)]), 1 => Just(vec![(2, 4), (3, 1)])];
    let policy = option::of(array::uniform6(option::weighted(0.8, (0..25_u64).prop_map(ms))));
    let all_at = option::weighted(0.3, 1..10_u64);
    let due = (flush_at_count, steps, policy, all_at);
    let shape = (1..5_usize, 1..5_usize, 1..3_usize, prop::bool::weighted(0.2));
    let max_keys = prop_oneof![1 => 1..5_u64, 2 => Just(1_000)];
    let max_weight = prop_oneof![1 => 1..6_u64, 1 => 1..40_u64, 1 => Just(100_000)];
    let timeout = (1..40_u64).prop_map(ms);
    let overflow = prop_oneof![
        Just(Overflow::Reject),
        Just(Overflow::Shed),
        timeout.clone().prop_map(|timeout| Overflow::Block { timeout }),
        timeout.prop_map(|timeout| Overflow::FlushOldest { timeout }),
    ];
    let attempts = option::weighted(0.9, 1..5_u32);
    let rest = (max_keys, max_weight, overflow, attempts, any::<u64>());
    (schedule, due, shape, rest).prop_map(
        |(schedule, (flush_at_count, steps, policy, flush_all_at_count), shape, rest)| Settings {
            interval: ms(schedule.0),
            jitter: ms(schedule.1),
            hibernate_after: ms(schedule.2),
            delay: ms(schedule.3),
            flush_at_count,
            interval_at_count: below(flush_at_count, &steps),
            policy,
            flush_all_at_count,
            by_key: shape.3,
            partitions: if flush_all_at_count.is_some() { 1 } else { shape.0 },
            max_batch_keys: shape.1,
            flush_concurrency: shape.2,
            max_keys: rest.0,
            max_weight: rest.1,
            overflow: rest.2,
            attempts: rest.3,
            seed: rest.4,
        },
    )
}

fn below(flush_at_count: Option<u32>, steps: &[(u32, u64)]) -> Vec<(u32, Duration)> {
    let below = |(inserts, _): &&(u32, u64)| flush_at_count.is_none_or(|most| *inserts < most);
    steps.iter().filter(below).map(|&(inserts, within)| (inserts, ms(within))).collect()
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..6_u8;
    let time = prop_oneof![2 => 0..8_u64, 1 => 0..60_u64].prop_map(ms);
    prop_oneof![
        12 => (key.clone(), any::<i8>()).prop_map(|(key, item)| Step::Insert(key, item)),
        5 => time.clone().prop_map(Step::Advance),
        2 => key.clone().prop_map(Step::Flush),
        1 => Just(Step::FlushAll),
        1 => (key.clone(), time.clone()).prop_map(|(key, timeout)| Step::FlushAndWait(key, timeout)),
        1 => time.prop_map(Step::FlushAllAndWait),
        2 => key.prop_map(Step::Remove),
        1 => Just(Step::RetryUndelivered),
    ]
}

fn telling() -> impl Strategy<Value = Telling> {
    let effect = prop_oneof![
        3 => Just(Effect::Unknown),
        3 => Just(Effect::NotApplied),
        1 => Just(Effect::NeverApplied),
    ];
    (effect, prop::bool::weighted(0.2)).prop_map(|(effect, hopeless)| Telling { effect, hopeless })
}

fn ending() -> impl Strategy<Value = Ending> {
    let failed =
        (telling(), any::<bool>()).prop_map(|(telling, applied)| Ending::Failed { telling, applied });
    prop_oneof![
        8 => Just(Ending::Ok),
        10 => failed,
        2 => any::<bool>().prop_map(|applied| Ending::Panic { applied }),
        1 => Just(Ending::Misreported),
        4 => (1..16_u8, [telling(), telling(), telling()]).prop_map(|(which, how)| Ending::Keys(which, how)),
    ]
}

fn spent() -> impl Strategy<Value = Spent> {
    let fate = prop_oneof![
        2 => Just(Fate::Forget),
        4 => Just(Fate::Requeue),
        3 => Just(Fate::Keep),
        1 => Just(Fate::Panic),
        1 => Just(Fate::TakeAndPanic),
    ];
    (fate, any::<bool>()).prop_map(|(fate, shared)| Spent { fate, shared })
}
