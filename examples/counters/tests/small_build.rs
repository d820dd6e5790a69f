//! What a build says that lacks a client: which feature brings it.
#![cfg(not(feature = "full"))]

use std::process::Command;

const POSTGRES: &str = "postgres://postgres@127.0.0.1/postgres";

#[test]
fn a_sink_that_is_not_compiled_in_is_refused_and_its_feature_named() {
    for (there, feature, options) in [
        (cfg!(feature = "postgres"), "postgres", &["--database", POSTGRES][..]),
        (cfg!(feature = "postgres"), "postgres", &["--sink", "log-table"]),
        (cfg!(feature = "postgres"), "postgres", &["--sink", "log-table", "--database", POSTGRES]),
        (
            cfg!(feature = "tls") || !cfg!(feature = "postgres"),
            "tls",
            &["--database", "postgres://postgres@127.0.0.1/postgres?sslmode=require"],
        ),
        (cfg!(feature = "redis"), "redis", &["--sink", "redis"]),
        (cfg!(feature = "redis"), "redis", &["--redis", "redis://127.0.0.1:6379"]),
        (cfg!(feature = "nats"), "nats", &["--sink", "nats"]),
        (cfg!(feature = "nats"), "nats", &["--nats", "nats://127.0.0.1:4222"]),
    ] {
        if there {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_counters"));
        let output = command.current_dir(folder.path()).args(options).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{options:?}: {errors}");
        assert!(errors.contains(&format!("--features {feature}")), "{options:?}: {errors}");
        assert_eq!(folder.path().read_dir().unwrap().count(), 0, "nothing is touched");
    }
}
