//! A process that was forked from the one that runs a buffer has the handle and the data, and nobody who
//! would flush it. Alone in its binary: a fork has one thread only.

#![cfg(unix)]

use std::process::exit;
use std::time::Duration;

use fork::{Fork, fork, waitpid};
use write_behind::{Buffer, FlushWaitError, InsertErrorKind, ShutdownError, Sum, SummingBuffer};

const MINUTE: Duration = Duration::from_secs(300);

/// Every check that the child makes, and whether it held.
fn checks(buffer: SummingBuffer<String, i64>) -> Vec<(&'static str, bool)> {
    let refused = |kind| kind == InsertErrorKind::Forked;
    let panics = |call: &dyn Fn()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).is_err();
    std::panic::set_hook(Box::new(|_| ()));
    vec![
        ("add to a key that has data", buffer.add("page", 1).is_err_and(|error| refused(error.kind))),
        ("insert a new key", buffer.insert("new".into(), 1).is_err_and(|error| refused(error.kind))),
        ("insert many", {
            let error = buffer.insert_many([("page".into(), 1), ("new".into(), 2)]);
            error.is_err_and(|error| refused(error.kind) && error.rejected.len() == 2)
        }),
        ("wait for a flush", matches!(buffer.flush_and_wait("page", MINUTE), Err(FlushWaitError::Forked))),
        ("wait for all", matches!(buffer.flush_all_and_wait(MINUTE), Err(FlushWaitError::Forked))),
        ("count", panics(&|| drop(buffer.peek("page")))),
        ("keys", panics(&|| drop(buffer.keys()))),
        ("shut down", matches!(buffer.shutdown(MINUTE), Err(ShutdownError::Forked))),
        ("start another one", {
            let store = |_: &String, _: &Sum<i64>| Ok::<(), String>(());
            let own: SummingBuffer<String, i64> = Buffer::builder().start(store).expect("it starts");
            own.add("page", 1).is_ok() && own.shutdown(MINUTE).is_ok()
        }),
        ("drop the handle", {
            drop(buffer);
            true
        }),
    ]
}

#[test]
fn a_forked_process_is_refused_and_its_parent_goes_on() {
    let buffer: SummingBuffer<String, i64> = Buffer::builder()
        .interval(Duration::from_secs(3_600))
        .start(|_: &String, _: &Sum<i64>| Ok::<(), String>(()))
        .expect("it starts");
    buffer.add("page", 5).expect("there is room");
    match fork().expect("it forks") {
        Fork::Child => {
            let failed = checks(buffer).iter().position(|(_, held)| !held);
            exit(failed.map_or(0, |place| place as i32 + 1));
        }
        Fork::Parent(child) => {
            let status = waitpid(child).expect("the child ends");
            let code = std::os::unix::process::ExitStatusExt::from_raw(status);
            let code: std::process::ExitStatus = code;
            assert_eq!(code.code(), Some(0), "the number of the first check of the child that failed");
        }
    }
    assert_eq!(buffer.total("page"), Some(5));
    buffer.add("page", 1).expect("the parent goes on");
    buffer.shutdown(MINUTE).expect("all is stored");
    assert_eq!(buffer.stats().flushed, 2);
}
