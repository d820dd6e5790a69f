//! Every topic once and tiny, so that none can rot.

use std::process::Command;

#[test]
fn every_topic_runs() {
    let status = Command::new(env!("CARGO_BIN_EXE_suite")).arg("--tiny").status().unwrap();
    assert!(status.success(), "{status}");
}
