//! A fence in two halves: one for those who pass often, which costs them nothing, and one for those who pass seldom and
//! pay for both.
//!
//! Between a [`light`] and a [`heavy`] one holds what holds between two `SeqCst` fences: of two threads of which each
//! writes, passes, and reads what the other has written, one at least sees the other's. On Linux the heavy one has the
//! kernel interrupt all processors that run threads of this process (`membarrier`, about a microsecond), so the light
//! one need only keep the compiler from moving anything. Elsewhere, or where a sandbox forbids it, both are ordinary fences.

#[cfg(not(shuttle))]
use std::sync::atomic::{Ordering, compiler_fence, fence};

/// How the light half is done in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Light {
    /// The heavy half does it all.
    Free,
    /// An ordinary fence.
    Full,
}

impl Light {
    /// Asked before the first light fence, and kept.
    pub(crate) fn here() -> Self {
        if kernel::is_there() { Light::Free } else { Light::Full }
    }

    #[inline(always)]
    pub(crate) fn pass(self) {
        // The model checker runs one thread at a time, and sees to it that all see the same.
        #[cfg(not(shuttle))]
        match self {
            Light::Free => compiler_fence(Ordering::SeqCst),
            Light::Full => fence(Ordering::SeqCst),
        }
    }
}

/// The heavy half.
pub(crate) fn heavy() {
    #[cfg(not(shuttle))]
    {
        fence(Ordering::SeqCst);
        kernel::interrupt_all();
    }
}

#[cfg(all(target_os = "linux", not(miri), not(shuttle)))]
mod kernel {
    use std::sync::OnceLock;

    use rustix::thread::{MembarrierCommand, membarrier};

    static REGISTERED: OnceLock<bool> = OnceLock::new();

    /// Whether the kernel can do it. Tried, because a sandbox may forbid what the kernel knows.
    pub(super) fn is_there() -> bool {
        *REGISTERED.get_or_init(|| {
            membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok()
                && membarrier(MembarrierCommand::PrivateExpedited).is_ok()
        })
    }

    pub(super) fn interrupt_all() {
        if is_there() {
            let done = membarrier(MembarrierCommand::PrivateExpedited);
            assert!(done.is_ok(), "the kernel has done it before: {done:?}");
        }
    }
}

#[cfg(not(all(target_os = "linux", not(miri), not(shuttle))))]
mod kernel {
    pub(super) fn is_there() -> bool {
        false
    }

    #[cfg(not(shuttle))]
    pub(super) fn interrupt_all() {}
}
