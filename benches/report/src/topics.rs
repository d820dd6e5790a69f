//! What each topic measures and what is aimed at. A topic that is not here is shown all the same, by its
//! name and without targets.

use crate::targets::{Limit, Target};

pub(crate) struct Topic {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) about: &'static str,
    pub(crate) targets: &'static [Target],
    pub(crate) shape: Shape,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Bars,
    /// Each panel with an axis of its own: their units differ, or their sizes.
    BarsApart,
    /// The last part of each case is a number of keys.
    Lines,
}

pub(crate) fn topic(name: &str) -> Option<&'static Topic> {
    TOPICS.iter().find(|topic| topic.name == name)
}

const OWN: &str = "write-behind";
const HAND_WRITTEN: &str = "hand-written";
const MAPS: &[&str] = &["dashmap", "scc", "Mutex<HashMap>"];

const fn within(says: &'static str, of: &'static str, ratio: f64) -> Target {
    Target { says, cases: &[], limit: Limit::Within { peer: OWN, of, ratio } }
}

const fn at_most(
    says: &'static str,
    cases: &'static [&'static str],
    peer: &'static str,
    value: f64,
) -> Target {
    Target { says, cases, limit: Limit::AtMost { peer, value } }
}

const fn each_within(
    says: &'static str,
    cases: &'static [&'static str],
    peers: &'static [&'static str],
    ratio: f64,
) -> Target {
    Target { says, cases, limit: Limit::EachWithin { peers, of: OWN, ratio } }
}

const fn at_least(
    says: &'static str,
    cases: &'static [&'static str],
    of: &'static str,
    ratio: f64,
) -> Target {
    Target { says, cases, limit: Limit::AtLeast { peer: OWN, of, ratio } }
}

/// In the order in which they are shown.
pub(crate) const TOPICS: &[Topic] = &[
    Topic {
        name: "insert",
        title: "Inserts into sums",
        about: "One insert, `total += 1`, for a key that has a total already; nothing is flushed meanwhile. \
            A case is the type of the keys, how they are spread, and the number of threads. `hand-written` is \
            64 mutexes over hash tables; `private map`, one for each thread and without any lock, is the \
            limit and not a peer, since nobody could flush it.",
        targets: &[
            within("write-behind within 1.15 × hand-written in every case", HAND_WRITTEN, 1.15),
            Target {
                says: "write-behind ahead of dashmap, scc and Mutex<HashMap> in every case",
                cases: &[],
                limit: Limit::Ahead { peer: OWN, of: MAPS },
            },
        ],
        shape: Shape::Bars,
    },
    Topic {
        name: "lists",
        title: "Inserts into lists",
        about: "One insert, `list.push(item)`, for a key that has a list already. Before each turn the lists \
            are taken out and begun anew, as after a flush, so that growing them is part of it. A case is the \
            type of the items, how the keys are spread, and the number of threads.",
        targets: &[within("write-behind within 1.3 × hand-written in every case", HAND_WRITTEN, 1.3)],
        shape: Shape::Bars,
    },
    Topic {
        name: "fresh",
        title: "Inserts of new keys",
        about: "A million keys that are not there yet, into what was filled and emptied before. Only \
            write-behind also sets a deadline for each of them and accounts for its room.",
        targets: &[within("write-behind within 1.5 × hand-written in every case", HAND_WRITTEN, 1.5)],
        shape: Shape::Bars,
    },
    Topic {
        name: "many",
        title: "Many inserts at once",
        about: "`insert_many` beside as many single inserts of the same items into the same buffer, from one \
            thread.",
        targets: &[Target {
            says: "insert_many takes at most half the time of single inserts",
            cases: &[],
            limit: Limit::Within { peer: "insert_many", of: "single inserts", ratio: 0.5 },
        }],
        shape: Shape::Bars,
    },
    Topic {
        name: "latency",
        title: "Latency of inserts while keys are flushed",
        about: "Each insert is timed while a million keys are being flushed; shown are quantiles and the \
            worst. `timing nothing` is what reading the clock twice costs, and what the machine takes away; \
            `hand-written` swaps its tables and drains them.",
        targets: &[
            at_most("p99 below 2 µs while a million other keys are flushed", &["=p99"], FLUSHING, 2_000.0),
            at_most("p99 below 2 µs while the same keys are flushed", &["=p99"], FLUSHING_SAME, 2_000.0),
        ],
        shape: Shape::Bars,
    },
    Topic {
        name: "flush",
        title: "Flushes",
        about: "How long it takes until keys are flushed and settled, with a sink that does nothing and one \
            worker: a million that are due at one instant, and a million that are inserted first, which is \
            timed too.",
        targets: &[at_most(
            "at most 200 ns per key in batches of 1 000",
            &["due at once", "=batches of 1000"],
            OWN,
            200.0,
        )],
        shape: Shape::Bars,
    },
    Topic {
        name: "deadlines",
        title: "Deadlines",
        about: "The time from a generation's deadline to the call of the sink: quantiles and the worst. A \
            flush is never early.",
        targets: &[
            at_most("p99 at most 2 ms late, key by key", &["=key by key", "=p99"], OWN, 2.0),
            at_most("p99 at most 2 ms late with a million keys", &["=idle", "=p99"], OWN, 2.0),
            at_most("p99 at most 10 ms late while inserting", &["inserts", "=p99"], OWN, 10.0),
        ],
        shape: Shape::Bars,
    },
    Topic {
        name: "memory",
        title: "Memory",
        about: "By how much the resident memory of a process grows when a million keys are inserted, by key. \
            Each is measured in a process of its own, and includes what is lost where memory is taken in \
            pieces. `bare table` is one hash table without locks or anything else.",
        targets: &[within("write-behind at most 1.6 × the bare table", "bare table", 1.6)],
        shape: Shape::Bars,
    },
    Topic {
        name: "idle",
        title: "At rest",
        about: "What a buffer does that has nothing to do, after a million keys have gone through it: context \
            switches of its threads, and their processor time. `hand-written` is emptied by a thread that looks \
            ten times a second.",
        targets: &[
            at_most("no wake-ups", &["context switches"], RESTING, 0.0),
            at_most("no processor time", &["processor time"], RESTING, 0.0),
        ],
        shape: Shape::BarsApart,
    },
    Topic {
        name: "idle-memory",
        title: "Memory at rest",
        about: "The resident memory of a process whose buffer has held a million keys: at the peak, and when \
            it rests; beside one that has only ever held ten.",
        targets: &[Target {
            says: "at rest within 20 % and 2 MiB of a buffer that has held ten keys",
            cases: &["at rest"],
            limit: Limit::Near { peer: RESTING, of: "write-behind after 10 keys", times: 1.2, plus: 2.0 },
        }],
        shape: Shape::Bars,
    },
    Topic {
        name: "buffers-threads",
        title: "Many buffers: threads",
        about: "How many threads so many buffers have in one process, with ten keys in each that are flushed one by \
            one, and at rest. `a thread for each` is this crate before its buffers shared their threads (commit \
            a4e5de8), which could not run ten thousand of them.",
        targets: &[at_most("no thread at rest", &["threads at rest"], OWN, 0.0)],
        shape: Shape::Bars,
    },
    Topic {
        name: "buffers-memory",
        title: "Many buffers: memory",
        about: "By how much the resident memory of the process has grown for each buffer: when it is new, with ten \
            keys, at rest after that. One buffer alone pays for what a process has only once.",
        targets: &[at_most("a new buffer takes at most 16 KiB", &["10000 buffers", "=new"], OWN, 16.0)],
        shape: Shape::Bars,
    },
    Topic {
        name: "buffers-lateness",
        title: "Many buffers: lateness",
        about: "The time from a generation's deadline to the call of the sink, where deadlines are spread over two \
            seconds: five keys a second in each buffer. Fifty thousand flushes a second of ten thousand buffers are more \
            than two processors manage in time, and more threads are started than help.",
        targets: &[],
        shape: Shape::Bars,
    },
    Topic {
        name: "scaling",
        title: "Scaling with the number of keys",
        about: "What an insert of an existing key, a flushed key and a timer (an insert of a new key, with what \
            it takes to set its deadline) cost at different numbers of keys, drawn uniformly. A flush is \
            `flush_all_and_wait` in batches of 1 000 to a sink that does nothing; the others go through their \
            tables. A map has nothing but cache misses, and growing, to become slower by.",
        targets: &[Target {
            says: "flat but for cache misses: write-behind grows at most 1.25 × as much as hand-written",
            cases: &[],
            limit: Limit::Grows { peer: OWN, like: HAND_WRITTEN, ratio: 1.25 },
        }],
        shape: Shape::Lines,
    },
    Topic {
        name: "journal-insert",
        title: "With a journal: inserts",
        about: "One insert, `total += 1`, for a key that has a total already, for a good second, while a thread writes what has \
            changed; by the journal's window, beside the same buffer without one. The first change of a key after a \
            commit has to be noted, every other one has not. With two threads that insert, that one takes its \
            time from them: there are two processors. A case is the type of the keys, how they are spread, and the \
            number of threads.",
        targets: &[
            each_within(
                "one key: within 1.3 × the buffer without a journal",
                &["one hot key"],
                JOURNALS,
                1.3,
            ),
            each_within(
                "1 000 keys: within 1.3 × the buffer without a journal",
                &["1 000 keys"],
                JOURNALS,
                1.3,
            ),
        ],
        shape: Shape::Bars,
    },
    Topic {
        name: "journal-durable",
        title: "With a journal: durable inserts",
        about: "Inserts that return when they are on disk: how many in a second, and how long each takes, by the number of \
            callers. `write-behind` is `add_durable_async` in as many tasks on two threads. `an fsync per insert` appends a \
            record to a file and syncs it, one caller after the other; SQLite (write-ahead log, `synchronous=full`) and \
            Postgres (`synchronous_commit=on`, on the same machine) have a transaction for each. They have at most 16 \
            callers, Postgres a connection for each, also where there are more: the first two write one after the \
            other, and Postgres might gain by more. How long they would have more callers wait is left out. All keys \
            differ, so that no two inserts become one row.",
        targets: &[
            at_least("50 times an fsync per insert, with 256 callers", &["per second", "=256"], FSYNC, 50.0),
            at_least(
                "50 times an fsync per insert, with 4096 callers",
                &["per second", "=4096"],
                FSYNC,
                50.0,
            ),
        ],
        shape: Shape::BarsApart,
    },
    Topic {
        name: "journal-bytes",
        title: "With a journal: bytes written",
        about: "What goes to the disk for an insert, at twenty thousand inserts a second, by the journal's window and how the \
            keys are spread; they have data already. What is handed to the file is counted by the kernel at each \
            call, and so are the pages of 4 KiB that have to go to the disk for it; what the file system writes about its \
            files is in neither. A log has a record of 16 bytes for each insert.",
        targets: &[],
        shape: Shape::BarsApart,
    },
    Topic {
        name: "journal-recovery",
        title: "With a journal: the next start",
        about: "How long `start` takes with a journal that has a million keys, which it checks and takes in: after a \
            shutdown that has left them, and after a kill. Beside it, what it takes to read a million records of a log, or as \
            many rows of SQLite, into a hash table. All files are in the system's cache. A log that was not compacted has a \
            record for each insert, and not for each key.",
        targets: &[
            at_most("at most 2 s after a shutdown", &[], "journal, after a shutdown", 2_000.0),
            at_most("at most 2 s after a kill", &[], "journal, after a kill", 2_000.0),
        ],
        shape: Shape::Bars,
    },
    Topic {
        name: "journal-flush",
        title: "With a journal: flushes",
        about: "What it costs that a batch is on disk before it is sent, with a sink that does nothing and one worker: a million \
            keys by `flush_all_and_wait`, and the median delay of `flush_and_wait` for one key that was inserted just \
            before.",
        targets: &[],
        shape: Shape::BarsApart,
    },
    Topic {
        name: "database",
        title: "Ways to write to a database",
        about: "Adding sums to a hundred thousand rows, in every way that one would think of: what a sink costs \
            by its statement and by the size of its batches. The database is on the same machine; over a \
            network single statements fall behind further.",
        targets: &[],
        shape: Shape::Bars,
    },
    Topic {
        name: "http",
        title: "Over HTTP",
        about: "The counter service of `examples/counters` under 400 connections, with Postgres and the load \
            generator on the same processors (`scripts/compare-http`). `noop` answers and forgets; `sync` reads \
            and writes the counter before it answers; `buffered` adds up in memory and writes behind. A round \
            drives all three; ratios are taken within a round.",
        targets: &[Target {
            says: "buffered makes at least 97 % of the requests of noop",
            cases: &["requests per second"],
            limit: Limit::AtLeast { peer: "buffered", of: "noop", ratio: 0.97 },
        }],
        shape: Shape::BarsApart,
    },
];

const FLUSHING: &str = "while flushing a million keys";
const FLUSHING_SAME: &str = "while flushing the same keys";
const FSYNC: &str = "an fsync per insert";
const JOURNALS: &[&str] = &["journal, 5 ms", "journal, 50 ms", "journal, 500 ms"];
const RESTING: &str = "write-behind, hibernating";
