use std::io;

/// What an operation of a [`SimulatedDisk`](super::SimulatedDisk) meets with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The power is cut in the middle of it.
    PowerCut,
    /// The process is killed in the middle of it: as with a power cut everything fails from here on, but nothing is lost
    /// of what was written before. Half of a write has been done.
    Kill,
    /// It fails with an input/output error, and has no effect. A sync has an unknown part of its effect, and what it has
    /// not written never will be, unless it is written to the file again.
    Error,
    /// There is no space left on the disk, and it has no effect. Nor has what makes room.
    NoSpace,
    /// It fails halfway: the first part of a write has been done. Anything else fails as with [`Error`](Self::Error).
    Short,
}

impl Fault {
    /// It is the operation that fails, and not the machine.
    pub(super) fn fails(self) -> bool {
        !matches!(self, Fault::PowerCut | Fault::Kill)
    }

    pub(super) fn error(self) -> io::Error {
        match self {
            Fault::PowerCut | Fault::Kill => down(),
            Fault::Error => io::Error::other("a simulated input/output error"),
            Fault::NoSpace => io::Error::new(io::ErrorKind::StorageFull, "a simulated disk is full"),
            Fault::Short => io::Error::new(io::ErrorKind::WriteZero, "a simulated write was cut short"),
        }
    }
}

pub(super) fn down() -> io::Error {
    io::Error::other("the simulated machine is down")
}
