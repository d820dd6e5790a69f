//! The example as a process: what it prints is what it scraped.

use std::process::{Command, Stdio};

use test_servers::free_port;

#[test]
fn what_is_scraped_over_http_agrees_with_what_was_done() {
    let address = format!("127.0.0.1:{}", free_port());
    let mut command = Command::new(env!("CARGO_BIN_EXE_prometheus"));
    let output = command.arg(&address).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.starts_with(&format!("$ curl http://{address}/metrics\n")), "{text}");

    let value = |name: &str| -> f64 {
        let line =
            text.lines().find_map(|line| line.strip_prefix(&format!("{name}{{buffer=\"page-views\"}} ")));
        line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
    };
    assert_eq!(value("write_behind_accepted_total"), 1_000.0);
    assert_eq!(value("write_behind_flushed_inserts_total"), 1_000.0);
    assert_eq!(value("write_behind_flush_failures_total"), 1.0);
    assert_eq!(value("write_behind_flush_retries_total"), 1.0);
    assert_eq!(value("write_behind_flush_seconds_count"), value("write_behind_flushes_total"));
    assert_eq!(value("write_behind_degraded_seconds"), 0.0);
    for line in [
        "# TYPE write_behind_pending gauge",
        "# TYPE write_behind_flush_seconds histogram",
        "# HELP write_behind_accepted_total Inserts taken in.",
    ] {
        assert!(text.contains(line), "no {line:?} in\n{text}");
    }
}
