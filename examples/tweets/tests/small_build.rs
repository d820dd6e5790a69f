//! What a build says that lacks a client: which feature brings it.
#![cfg(not(feature = "postgres"))]

use std::process::Command;

#[test]
fn postgres_is_refused_and_the_feature_named() {
    let options = ["--database", "postgres://postgres@127.0.0.1/postgres"];
    let output = Command::new(env!("CARGO_BIN_EXE_tweets")).args(options).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("--features postgres"), "{errors}");
}
