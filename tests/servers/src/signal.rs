//! Signals to processes.

use std::process::{Command, Stdio};

/// Sends the signal of that name, such as `TERM`. Says whether there was a process to get it.
pub fn signal(pid: u32, name: &str) -> bool {
    let mut kill = Command::new("kill");
    kill.arg(format!("-{name}")).arg(pid.to_string()).stderr(Stdio::null());
    kill.status().is_ok_and(|status| status.success())
}
