//! Tells a process from those that are forked from it.

#[cfg(not(miri))]
pub(crate) type ForkGuard = forkguard::Guard;
#[cfg(miri)]
pub(crate) type ForkGuard = forkguard::noop::Guard;
