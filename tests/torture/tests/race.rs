//! Whether ThreadSanitizer sees a race that is put before it. The library has no unsafe code, so none can be put there.

#![allow(unsafe_code)]

use std::process::Command;
use std::{env, thread};

static mut COUNT: u64 = 0;

/// What the other test has run under the sanitizer.
#[test]
#[ignore = "it is a race"]
fn two_threads_write_to_one_place() {
    if env::var_os("WRITE_BEHIND_RACE").is_none() {
        return;
    }
    let write = || {
        let count = &raw mut COUNT;
        // SAFETY: none. That is what is to be seen.
        (0..1_000).for_each(|_| unsafe { count.write_volatile(count.read_volatile() + 1) });
    };
    let threads = [thread::spawn(write), thread::spawn(write)];
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_race_is_seen() {
    if env::var_os("TSAN_OPTIONS").is_none() {
        eprintln!("skipped: this is not built for ThreadSanitizer");
        return;
    }
    let program = env::current_exe().unwrap();
    let mut racing = Command::new(program);
    racing.args(["two_threads_write_to_one_place", "--exact", "--include-ignored"]);
    let output = racing.env("WRITE_BEHIND_RACE", "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("ThreadSanitizer: data race") && said.contains("two_threads_write"), "{said}");
}
