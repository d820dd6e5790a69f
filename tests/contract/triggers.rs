//! Line 1, the other half: what may ask for a flush before the interval is over.

use write_behind::{Aggregate, FlushError, FlushReason, Verdict};

use crate::support::{Driver, Rig, Script, ms, secs};

each_driver! {
    c01_a_join_leaves_as_soon_as_its_last_part_is_in,
    c01_an_incomplete_join_leaves_at_its_deadline,
    c01_a_join_of_one_part_leaves_at_once,
    c01_a_complete_join_that_closes_an_older_one_leaves_after_it,
    c01_a_tuple_leaves_as_soon_as_one_member_is_ready,
    c13_a_complete_join_that_is_put_back_waits_for_its_fresh_deadline,
    c13_an_insert_into_complete_data_that_was_put_back_does_not_hasten_it,
}

/// The parts `0..N` of one thing, each at most once.
#[derive(Debug, Clone, PartialEq)]
struct Join<const N: usize>([Option<u32>; N]);

impl<const N: usize> Aggregate for Join<N> {
    type Item = (usize, u32);

    fn start((part, value): (usize, u32)) -> Self {
        let mut join = Join([None; N]);
        join.0[part] = Some(value);
        join
    }

    fn absorb(&mut self, (part, value): (usize, u32)) {
        self.0[part] = Some(value);
    }

    fn merge(&mut self, later: Self) {
        self.0.iter_mut().zip(later.0).for_each(|(part, later)| *part = part.or(later));
    }

    fn accepts(&self, (part, _): &(usize, u32)) -> bool {
        self.0[*part].is_none()
    }

    fn accepts_merge(&self, later: &Self) -> bool {
        self.0.iter().zip(&later.0).all(|(part, later)| part.is_none() || later.is_none())
    }

    fn is_ready(&self) -> bool {
        self.0.iter().all(Option::is_some)
    }
}

type Joins<const N: usize> = Rig<&'static str, Join<N>>;

fn c01_a_join_leaves_as_soon_as_its_last_part_is_in(driver: Driver) {
    let rig = Joins::<3>::start(driver, |builder| builder.interval(secs(5)));
    rig.insert("order", (2, 30));
    rig.insert("other", (0, 1));
    rig.advance(secs(1));
    rig.insert("order", (0, 10));
    rig.advance(secs(1));
    assert_eq!(rig.sink.calls().len(), 0);
    rig.insert("order", (1, 20));
    rig.eventually("the flush", || !rig.sink.flushed().is_empty());
    let call = &rig.sink.calls()[0];
    assert_eq!(call.entries, [("order", Join([Some(10), Some(20), Some(30)]))]);
    assert_eq!((call.reason, call.at), (FlushReason::Complete, secs(2)));
}

fn c01_an_incomplete_join_leaves_at_its_deadline(driver: Driver) {
    let rig = Joins::<3>::start(driver, |builder| builder.interval(secs(5)));
    rig.insert("order", (0, 10));
    rig.insert("order", (2, 30));
    rig.advance(ms(4_999));
    assert_eq!(rig.sink.calls().len(), 0);
    rig.advance(ms(1));
    rig.eventually("the flush", || !rig.sink.flushed().is_empty());
    let call = &rig.sink.calls()[0];
    assert_eq!(call.entries, [("order", Join([Some(10), None, Some(30)]))]);
    assert_eq!((call.reason, call.at), (FlushReason::Deadline, secs(5)));
}

fn c01_a_join_of_one_part_leaves_at_once(driver: Driver) {
    let rig = Joins::<1>::start(driver, |builder| builder);
    rig.insert("order", (0, 10));
    rig.eventually("the flush", || !rig.sink.flushed().is_empty());
    assert_eq!(rig.sink.calls()[0].reason, FlushReason::Complete);
}

/// The same part twice: the second one starts the key's next join.
fn c01_a_complete_join_that_closes_an_older_one_leaves_after_it(driver: Driver) {
    let rig = Joins::<2>::start(driver, |builder| builder);
    [(0, 1), (0, 2), (1, 3)].into_iter().for_each(|part| rig.insert("order", part));
    rig.eventually("both are flushed", || rig.sink.flushed().len() == 2);
    assert_eq!(rig.sink.flushed(), [("order", Join([Some(1), None])), ("order", Join([Some(2), Some(3)]))]);
    assert_eq!(rig.clock.now(), secs(0));
    let one = Joins::<1>::start(driver, |builder| builder);
    (0..3).for_each(|value| one.insert("order", (0, value)));
    one.eventually("all are flushed", || one.sink.flushed().len() == 3);
    assert!(one.sink.calls().iter().all(|call| call.reason == FlushReason::Complete));
}

fn c01_a_tuple_leaves_as_soon_as_one_member_is_ready(driver: Driver) {
    type Both = (Vec<(usize, u32)>, Join<2>);
    let rig = Rig::<&'static str, Both>::start(driver, |builder| builder);
    rig.insert("order", (1, 20));
    rig.advance(secs(1));
    assert_eq!(rig.sink.calls().len(), 0);
    rig.insert("order", (0, 10));
    rig.eventually("the flush", || !rig.sink.flushed().is_empty());
    assert_eq!(rig.sink.flushed(), [("order", (vec![(1, 20), (0, 10)], Join([Some(10), Some(20)])))]);
}

/// What is put back is complete already, or made so by the newer data that it meets: neither may
/// make requeueing loop hot.
fn c13_a_complete_join_that_is_put_back_waits_for_its_fresh_deadline(driver: Driver) {
    for first_part_alone in [false, true] {
        let sink = Script::batches(|sink: &Script<&'static str, Join<2>>, _| match sink.calls().len() {
            1 => Err(FlushError::not_applied("not now".to_owned()).give_up()),
            _ => Ok(()),
        });
        let sink = sink.on_error(move |sink, letter| {
            if first_part_alone {
                sink.buffer().insert("order", (1, 20)).expect("there is room");
            }
            Verdict::Requeue(letter)
        });
        let rig = Joins::<2>::with(driver, sink, |builder| builder.interval(secs(5)));
        rig.insert("order", (0, 10));
        match first_part_alone {
            true => rig.buffer.flush("order"),
            false => rig.insert("order", (1, 20)),
        }
        rig.pass_time_until("it gets through", || !rig.sink.flushed().is_empty());
        assert_eq!(rig.sink.flushed(), [("order", Join([Some(10), Some(20)]))]);
        assert!(rig.sink.calls()[1].at >= secs(5), "{:?}", rig.sink.calls()[1].at);
    }
}

/// Ready with two items, and goes on absorbing.
#[derive(Debug, Clone, PartialEq)]
struct Pair(Vec<u32>);

impl Aggregate for Pair {
    type Item = u32;

    fn start(item: u32) -> Self {
        Pair(vec![item])
    }

    fn absorb(&mut self, item: u32) {
        self.0.push(item);
    }

    fn merge(&mut self, later: Self) {
        self.0.extend(later.0);
    }

    fn is_ready(&self) -> bool {
        self.0.len() >= 2
    }
}

fn c13_an_insert_into_complete_data_that_was_put_back_does_not_hasten_it(driver: Driver) {
    let sink = Script::batches(|sink: &Script<&'static str, Pair>, _| match sink.calls().len() {
        1 => Err(FlushError::not_applied("not now".to_owned()).give_up()),
        _ => Ok(()),
    });
    let sink = sink.on_error(|_, letter| Verdict::Requeue(letter));
    let rig = Rig::with(driver, sink, |builder| builder.interval(secs(5)));
    (1..=2).for_each(|item| rig.insert("key", item));
    rig.eventually("it is put back", || rig.buffer.stats().failures == 1 && rig.buffer.stats().pending == 2);
    rig.insert("key", 3);
    rig.pass_time_until("it gets through", || !rig.sink.flushed().is_empty());
    assert_eq!(rig.sink.flushed(), [("key", Pair(vec![1, 2, 3]))]);
    assert!(rig.sink.calls()[1].at >= secs(5), "{:?}", rig.sink.calls()[1].at);
}
