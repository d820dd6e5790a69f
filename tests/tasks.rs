//! What holds only where there are tasks and runtimes: cancelling, runtimes that end, threads that must
//! not block, and the async counterparts. The contract itself runs with this driver in `contract.rs`.

#[path = "tasks/cancelling.rs"]
mod cancelling;
#[path = "tasks/choices.rs"]
mod choices;
#[path = "tasks/last_handles.rs"]
mod last_handles;
#[path = "tasks/manual_clock.rs"]
mod manual_clock;
#[path = "tasks/panics.rs"]
mod panics;
#[path = "tasks/paused_time.rs"]
mod paused_time;
#[path = "tasks/runtimes.rs"]
mod runtimes;
#[path = "tasks/sink.rs"]
mod sink;
#[path = "tasks/wakers.rs"]
mod wakers;
