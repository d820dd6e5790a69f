//! Threads that are shared: no buffer waits for another, and none is forgotten when threads leave.

use std::sync::Arc;

use shuttle::thread;
use write_behind::ManualClock;

use crate::stage::{FOREVER, Log, Sink, explore, finish, settings};

#[test]
fn a_callback_that_hangs_holds_up_no_other_buffer() {
    explore(|| {
        let (clock, hung, log): (_, Arc<Log>, Arc<Log>) =
            (ManualClock::new(), Arc::default(), Arc::default());
        let free = Sink::new(&log).start(settings(&clock).flush_at_count(1));
        // Waits in its callback until the other one has delivered.
        let others = Arc::clone(&log);
        let waits = Sink { act: Some(Box::new(move |_| others.wait_for(1, 1))), ..Sink::new(&hung) };
        let held = waits.start(settings(&clock).flush_at_count(1));
        held.insert(2, 1).unwrap();
        free.insert(1, 1).unwrap();
        hung.wait_for(2, 1);
        for (buffer, log) in [(held, &hung), (free, &log)] {
            buffer.shutdown(FOREVER).unwrap();
            finish(buffer, log);
        }
    });
}

#[test]
fn threads_that_leave_are_there_again_for_the_next_buffer() {
    explore(|| {
        let clock = ManualClock::new();
        let logs: [Arc<Log>; 3] = Default::default();
        let run = |log: Arc<Log>| {
            let buffer = Sink::new(&log).start(settings(&clock).flush_at_count(1));
            buffer.insert(1, 1).unwrap();
            log.wait_for(1, 1);
            buffer.shutdown(FOREVER).unwrap();
            finish(buffer, &log);
        };
        let [first, second, third] = logs;
        let other = thread::spawn({
            let (clock, log) = (clock.clone(), third);
            move || {
                let buffer = Sink::new(&log).start(settings(&clock).flush_at_count(1));
                buffer.insert(1, 1).unwrap();
                buffer.shutdown(FOREVER).unwrap();
                assert_eq!(log.applied(1), [1]);
                finish(buffer, &log);
            }
        });
        run(first);
        run(second);
        other.join().unwrap();
    });
}
