use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::node::STATES;
use super::*;

fn hash(label: u32) -> KeptHash {
    KeptHash::from_bits(label)
}

fn due(timers: &mut Timers) -> Vec<u32> {
    let mut labels = Vec::new();
    while let Some((timer, hash, _)) = first_due(timers) {
        labels.push(hash.bits());
        timers.cancel(timer);
    }
    labels
}

fn first_due(timers: &Timers) -> Option<(TimerId, KeptHash, FlushReason)> {
    timers.due().next()
}

fn expire_all(timers: &mut Timers, now: Tick) -> Option<Tick> {
    loop {
        if let Expired::Until(next) = timers.expire(now, 3) {
            return next;
        }
    }
}

#[test]
fn a_node_keeps_hash_and_state() {
    let hash = hash((1 << KeptHash::BITS) - 1);
    for (code, state) in (0..).zip(STATES) {
        assert_eq!(state.code(), code);
        let mut node = Node::alone(0);
        node.mark = Node::mark(hash, State::Armed);
        node.set_state(state);
        assert_eq!((node.state(), node.hash()), (state, hash));
    }
}

#[test]
fn a_timer_armed_for_now_or_the_past_fires_at_the_next_look() {
    let mut timers = Timers::default();
    timers.arm(hash(1), 100, 100);
    timers.arm(hash(2), 100, 40);
    assert_eq!(expire_all(&mut timers, 100), None);
    assert_eq!(due(&mut timers), [1, 2]);
}

#[test]
fn twenty_identical_deadlines_all_fire_in_order() {
    let mut timers = Timers::default();
    for label in 0..20 {
        timers.arm(hash(label), 0, 5_000);
    }
    let next = expire_all(&mut timers, 4_999).expect("armed");
    assert!(next <= 5_000);
    assert!(due(&mut timers).is_empty());
    expire_all(&mut timers, 5_000);
    assert_eq!(due(&mut timers), (0..20).collect::<Vec<_>>());
}

#[test]
fn the_longest_delay_survives_every_alignment() {
    let longest = crate::engine::tick::floor(crate::engine::tick::MAX_DELAY);
    let starts = [0, 1, (1 << 30) - 1, u64::from(u32::MAX) - 5, 1 << 33];
    for (start, number) in starts.into_iter().flat_map(|start| (0..80).map(move |number| (start, number))) {
        let mut timers = Timers::nth(number);
        timers.arm(hash(7), start, start + longest);
        let mut now = start;
        while let Some(next) = expire_all(&mut timers, now) {
            assert!(next > now && next <= start + longest);
            assert!(due(&mut timers).is_empty());
            now = next;
        }
        assert_eq!((now, due(&mut timers)), (start + longest, vec![7]));
    }
}

#[test]
fn no_two_of_64_wheels_in_a_row_distribute_their_timers_at_the_same_time() {
    let begins = |number| {
        let mut timers = Timers::nth(number);
        timers.arm(hash(7), 0, 3_000);
        let mut now = 0;
        while let Some(next) = expire_all(&mut timers, now).filter(|&next| next < 3_000) {
            now = next;
        }
        now
    };
    // In one of them the bucket begins with the timer.
    assert!((0..64).map(begins).collect::<BTreeSet<_>>().len() >= 63);
}

#[test]
fn an_empty_wheel_gives_its_memory_back() {
    let mut timers = Timers::default();
    let timer = timers.arm(hash(1), 0, 10);
    timers.shrink();
    assert_eq!(timers.len(), 1);
    timers.cancel(timer);
    timers.shrink();
    assert_eq!(timers.nodes.capacity(), 0);
    timers.arm(hash(2), 20, 30);
    expire_all(&mut timers, 30);
    assert_eq!(due(&mut timers), [2]);
}

#[derive(Debug, Clone)]
enum Step {
    Arm(u64),
    Cancel(usize),
    Rearm(usize, u64),
    PullForward(usize, u64),
    Advance(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let delay = prop_oneof![0..100_u64, 0..10_000_u64, 0..1_000_000_000_u64];
    let step = prop_oneof![
        4 => delay.clone().prop_map(Step::Arm),
        1 => any::<usize>().prop_map(Step::Cancel),
        1 => (any::<usize>(), delay.clone()).prop_map(|(which, delay)| Step::Rearm(which, delay)),
        1 => (any::<usize>(), delay.clone()).prop_map(|(which, delay)| Step::PullForward(which, delay)),
        3 => delay.prop_map(Step::Advance),
    ];
    prop::collection::vec(step, 1..80)
}

proptest! {
    /// The wheel fires exactly what an ordered map would, never early, and says truthfully
    /// when to come again.
    #[test]
    fn fires_what_an_ordered_map_would(number: u32, start in 0..(1_u64 << 34), steps in steps()) {
        let mut timers = Timers::nth(number);
        let mut model: BTreeMap<u32, (TimerId, u64)> = BTreeMap::new();
        let (mut now, mut label) = (start, 0);
        for step in steps {
            match step {
                Step::Arm(delay) => {
                    label += 1;
                    let announced = timers.next();
                    model.insert(label, (timers.arm(hash(label), now, now + delay), now + delay));
                    assert_eq!(model[&label].0, announced);
                }
                Step::Cancel(which) if !model.is_empty() => {
                    let label = *model.keys().nth(which % model.len()).expect("in range");
                    timers.cancel(model.remove(&label).expect("known").0);
                }
                Step::Rearm(which, delay) if !model.is_empty() => {
                    let place = which % model.len();
                    let (timer, tick) = model.values_mut().nth(place).expect("in range");
                    *tick = now + delay;
                    timers.rearm(*timer, now + delay);
                }
                Step::PullForward(which, delay) if !model.is_empty() => {
                    let place = which % model.len();
                    let (timer, tick) = model.values_mut().nth(place).expect("in range");
                    let sooner = (now + delay).saturating_sub(1_000);
                    prop_assert_eq!(timers.pull_forward(*timer, sooner), sooner < *tick);
                    *tick = sooner.min(*tick);
                }
                Step::Advance(delay) => now += delay,
                Step::Cancel(_) | Step::Rearm(..) | Step::PullForward(..) => {}
            }
            let next = expire_all(&mut timers, now);
            let mut fired = due(&mut timers);
            fired.sort_unstable();
            let expected: Vec<u32> =
                model.iter().filter(|(_, (_, tick))| *tick <= now).map(|(label, _)| *label).collect();
            prop_assert_eq!(&fired, &expected);
            model.retain(|_, (_, tick)| *tick > now);
            let earliest = model.values().map(|(_, tick)| *tick).min();
            prop_assert_eq!(next.is_some(), earliest.is_some());
            if let (Some(next), Some(earliest)) = (next, earliest) {
                prop_assert!(now < next && next <= earliest);
            }
            prop_assert_eq!(timers.len(), model.len());
        }
    }
}
