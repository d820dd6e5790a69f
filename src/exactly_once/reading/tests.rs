use std::cell::Cell;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::*;
use crate::aggregate::Sum;
use crate::buffer::SummingBuffer;
use crate::exactly_once::Rejection;

const LONG: Duration = Duration::from_secs(60);

type Views = SummingBuffer<String, i64>;

/// A buffer whose sink answers at once.
fn quick() -> Views {
    let views = Buffer::builder().start(|_: &String, _: &Sum<i64>| Ok::<(), String>(())).unwrap();
    views.add("page", 2).unwrap();
    views
}

/// A buffer with 2 in flight, in a sink that answers when it is told to, and 3 pending.
fn held() -> (Views, Sender<()>) {
    let ((enter, entered), (answer, answers)): (_, (Sender<()>, Receiver<()>)) = (bounded(0), bounded(0));
    let sink = move |_: &String, _: &Sum<i64>| {
        enter.send(()).map_err(|error| error.to_string())?;
        answers.recv().map_err(|error| error.to_string())
    };
    let views = Buffer::builder().drop_timeout(Duration::ZERO).start(sink).unwrap();
    views.add("page", 2).unwrap();
    views.flush_all();
    entered.recv().unwrap();
    views.add("page", 3).unwrap();
    (views, answer)
}

#[test]
fn what_is_in_flight_counts_once_whatever_has_become_of_it() {
    let (views, _answer) = held();
    for (fate, waiting) in [
        (None, vec![Sum(2), Sum(3)]),
        (Some(Fate::Void), vec![Sum(2), Sum(3)]),
        (Some(Fate::Applied), vec![Sum(3)]),
    ] {
        let exact = read_exactly(&views, "page", |batch| {
            assert!(batch.is_some());
            Ok(Reading::new(40, fate.clone()))
        });
        assert_eq!(exact.unwrap(), Exact { stored: 40, waiting });
    }
}

#[test]
fn a_read_that_a_flush_got_in_between_begins_anew() {
    let (views, calls) = (quick(), Cell::new(0));
    let exact = read_exactly(&views, "page", |batch| {
        assert_eq!(batch, None);
        calls.set(calls.get() + 1);
        let before = if calls.get() == 1 { 40 } else { 42 };
        views.flush_all_and_wait(LONG).unwrap();
        Ok(Reading::new(before, None))
    });
    assert_eq!(exact.unwrap(), Exact { stored: 42, waiting: vec![] });
    assert_eq!(calls.get(), 2);
}

#[test]
fn what_was_refused_in_part_is_read_again_when_the_buffer_has_heard_of_it() {
    let ((views, answer), calls) = (held(), Cell::new(0));
    let exact = read_exactly(&views, "page", |batch| {
        calls.set(calls.get() + 1);
        let Some(batch) = batch else { return Ok(Reading::new(42, None)) };
        let fate = Fate::AppliedExcept(vec![Rejection::new(7, "not this one")]);
        answer.send(()).unwrap();
        while views.peek("page").in_flight.is_some_and(|(_, in_flight)| in_flight == batch) {
            std::thread::yield_now();
        }
        Ok(Reading::new(42, Some(fate)))
    });
    assert_eq!(exact.unwrap(), Exact { stored: 42, waiting: vec![Sum(3)] });
    assert_eq!(calls.get(), 2);
}

#[test]
fn a_key_that_never_rests_is_an_error_and_not_a_wrong_total() {
    let views = quick();
    let exact = read_exactly(&views, "page", |_| {
        views.flush_all_and_wait(LONG).unwrap();
        views.add("page", 1).unwrap();
        Ok(Reading::new(0, None))
    });
    assert_eq!(exact.unwrap_err().to_string(), "the key moves too fast to be read");
}

#[test]
fn what_the_storage_says_of_a_failure_is_handed_on() {
    let exact = read_exactly(&quick(), "page", |_| Err::<Reading<i64>, _>("no connection".into()));
    assert_eq!(exact.unwrap_err().to_string(), "no connection");
}
