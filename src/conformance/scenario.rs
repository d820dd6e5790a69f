use std::fmt;

/// What is done to a sink. Each scenario uses keys and instances of its own, so that one that fails does not
/// spoil the others.
///
/// ```
/// use write_behind::Sum;
/// use write_behind::conformance::{Conformance, Scenario};
///
/// // A sink of one process on one connection, which is closed before another attempt is made.
/// let kit = Conformance::new(|n| n, Sum::<i64>)
///     .without(Scenario::Overtaken)
///     .without(Scenario::LateArrival)
///     .without(Scenario::Instances);
/// # let _ = kit;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Scenario {
    /// Nothing goes wrong: several generations of the same keys, each delivered once.
    Plain,
    /// Every attempt is delivered twice.
    Twice,
    /// Answers are lost, up to three in a row: the batch may have been applied and is sent again.
    AnswerLost,
    /// The callback's future is dropped after one poll, after two, and so on as long as it has not
    /// completed by then; each time the batch is sent again. Only for async sinks.
    Cancelled,
    /// Batches arrive in another order than that of their sequences.
    OutOfOrder,
    /// The second attempt overtakes the first, which arrives when the batch has been acknowledged.
    Overtaken,
    /// An attempt arrives when its batch has long been settled, and records of it may have been pruned.
    LateArrival,
    /// A batch whose outcome is unknown is sent again when very many younger ones are settled.
    LongOpen,
    /// The process dies. What was not acknowledged is sent again by a new sink over the same storage,
    /// identical, under the same id and in a higher epoch; attempts of the dead process still arrive.
    Restart,
    /// A process is taken for dead and lives on: when its successor, with the same instance and a higher epoch, has begun
    /// to write, it sends its batches again, begins new ones under ids that the successor uses too, gives up and
    /// retires. None of that may count or leave a trace. Needs [`journaled`](super::Conformance::journaled).
    Zombie,
    /// Several instances write to one storage, with the same sequences; one of them ends.
    Instances,
    /// The storage refuses single keys for good. Needs [`poison`](super::Conformance::poison) or
    /// [`refuse`](super::Conformance::refuse).
    Poison,
    /// The storage refuses a key for a while, so that a batch goes on in parts or as dead letters; an earlier
    /// attempt of the whole was applied already, or arrives after that. Needs
    /// [`refuse`](super::Conformance::refuse).
    Void,
    /// A long random mixture of all that.
    Storm,
}

impl Scenario {
    /// All of them, in the order in which they run.
    pub const ALL: &'static [Scenario] = &[
        Scenario::Plain,
        Scenario::Twice,
        Scenario::AnswerLost,
        Scenario::Cancelled,
        Scenario::OutOfOrder,
        Scenario::Overtaken,
        Scenario::LateArrival,
        Scenario::LongOpen,
        Scenario::Restart,
        Scenario::Zombie,
        Scenario::Instances,
        Scenario::Poison,
        Scenario::Void,
        Scenario::Storm,
    ];

    /// What a sink that fails it should look at.
    ///
    /// ```
    /// use write_behind::conformance::Scenario;
    ///
    /// assert!(Scenario::AnswerLost.advice().contains("the transaction that applies it"));
    /// ```
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Scenario::Plain => "a flush brings what to add, not the new total",
            Scenario::Twice | Scenario::AnswerLost | Scenario::Overtaken => {
                "record a batch's id in the transaction that applies it, and skip what is recorded"
            }
            Scenario::Cancelled => {
                "record and data must be one transaction, with no await that can part them"
            }
            Scenario::OutOfOrder => "record each id: the highest sequence says nothing about lower ones",
            Scenario::LateArrival => {
                "keep the highest `settled_below` of each instance, and refuse batches below it"
            }
            Scenario::LongOpen => "forget only ids below `settled_below`, however old others are",
            Scenario::Restart => "the record of ids belongs into the storage, not into memory",
            Scenario::Zombie => {
                "keep the highest epoch of each instance, and do nothing for a lower one: neither apply nor void nor \
                 retire"
            }
            Scenario::Instances => "an id is instance and sequence, and so is everything kept about ids",
            Scenario::Poison => "say `Ok` and `not_applied` only of what was stored, and was not",
            Scenario::Void => {
                "before `never_applied`, record the id as void, unless it is there already as applied"
            }
            Scenario::Storm => "the scenario is a mixture: see what was wrong with the batch",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Scenario::Plain => "plain",
            Scenario::Twice => "twice",
            Scenario::AnswerLost => "answer lost",
            Scenario::Cancelled => "cancelled",
            Scenario::OutOfOrder => "out of order",
            Scenario::Overtaken => "overtaken",
            Scenario::LateArrival => "late arrival",
            Scenario::LongOpen => "long open",
            Scenario::Restart => "restart",
            Scenario::Zombie => "zombie",
            Scenario::Instances => "instances",
            Scenario::Poison => "poison",
            Scenario::Void => "void",
            Scenario::Storm => "storm",
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
