//! What the service says of itself while it runs: through `tracing`, to stderr.

use std::io;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// From here on what passes `levels` is written, a line each.
pub(crate) fn start(levels: &Targets) {
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    tracing_subscriber::registry().with(lines).with(levels.clone()).init();
}
