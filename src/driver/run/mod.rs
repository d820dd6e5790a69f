//! Who does the work: threads, tasks of a runtime, or whoever moves a manual clock. All they do is wait
//! and call.

#[cfg(feature = "test-util")]
pub(crate) mod inline;
#[cfg(feature = "tokio")]
pub(crate) mod tasks;
pub(crate) mod thread_pool;
pub(crate) mod threads;
