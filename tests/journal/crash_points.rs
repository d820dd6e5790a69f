//! The same history again and again, and each time the process dies at another point: at every operation of the disk, and
//! before and after everything that is asked of the database. And again while the next start recovers.
//!
//! `WRITE_BEHIND_CRASH_POINTS` says how many points are tried at least (histories are finished), and
//! `WRITE_BEHIND_CUT_RECOVERIES` how many recoveries that are cut; `WRITE_BEHIND_SEED` begins with another seed.

use std::time::Duration;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use write_behind::journal::Fault;

use super::life::{INTERVAL, WINDOW, how_many, ms};
use super::model::{Run, Step, steps};
use super::store::{Dies, Mood};

/// How many attempts a batch has, how much room there is, and what happens.
#[derive(Debug, Clone)]
struct History {
    seed: u64,
    attempts: u32,
    /// For how many keys there is room, if not for all: the rest is spilled.
    room: Option<u64>,
    steps: Vec<Step>,
}

/// Where the process dies.
#[derive(Debug, Clone, Copy)]
enum Point {
    Disk(u64, Fault),
    Database(Dies),
}

impl History {
    fn begin(&self) -> Run {
        let run = Run::new(self.seed, self.attempts, self.room);
        run.database.is_called_from(&run.disk);
        run
    }

    fn go(&self, mut run: Run) -> Run {
        run.look();
        self.steps.iter().for_each(|step| run.step(step));
        run
    }

    /// All there are, where nothing goes wrong but what the history says.
    fn points(&self) -> Vec<Point> {
        let run = self.begin();
        let (disk, database) = (run.disk.clone(), run.database.clone());
        self.go(run).finish();
        let of_disk = (0..disk.operations())
            .flat_map(|at| [Fault::PowerCut, Fault::Kill].map(|fault| Point::Disk(at, fault)));
        let of_database = (0..database.calls())
            .flat_map(|at| [false, true].map(|when_done| Point::Database(Dies { at, when_done })));
        of_disk.chain(of_database).collect()
    }

    /// Dies there, and in so many of the starts after that. Says in how many it did.
    fn die_at(&self, point: Point, during_recoveries: Vec<(u64, Fault)>) -> u32 {
        let case = Case(self, point, &during_recoveries);
        let mut run = self.begin();
        run.during_recoveries.clone_from(&during_recoveries);
        match point {
            Point::Disk(at, fault) => run.disk.fail_at(at, fault),
            Point::Database(dies) => run.database.kill_caller(dies),
        }
        let run = self.go(run);
        let cut_off = run.cut_off;
        run.finish();
        std::mem::forget(case);
        cut_off
    }
}

/// Says which it was if it comes to a bad end.
struct Case<'a>(&'a History, Point, &'a [(u64, Fault)]);

impl Drop for Case<'_> {
    fn drop(&mut self) {
        eprintln!("it died at {:?}, then {:?} of {:#?}", self.1, self.2, self.0);
    }
}

/// Those that are about something, in turn; then any.
fn histories(first_seed: u64) -> impl Iterator<Item = History> {
    let scripted = scripted().into_iter().enumerate().map(move |(index, steps)| History {
        seed: first_seed + index as u64,
        attempts: 2 + index as u32 % 3,
        room: None,
        steps,
    });
    let any = (0..).map(move |index| {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&first_seed.to_le_bytes());
        seed[8..16].copy_from_slice(&u64::to_le_bytes(index));
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let mut steps = steps().new_tree(&mut runner).expect("steps").current();
        steps.retain(|step| !matches!(step, Step::Crash | Step::CrashSoon(_)));
        let room = (index % 2 == 0).then_some(1 + index % 3);
        History { seed: first_seed + index, attempts: 2 + index as u32 % 3, room, steps }
    });
    scripted.chain(any)
}

#[test]
fn wherever_the_process_dies_what_is_certain_counts_once() {
    let least = how_many("WRITE_BEHIND_CRASH_POINTS", 500);
    let mut tried = 0;
    for history in histories(how_many("WRITE_BEHIND_SEED", 1) << 32) {
        for point in history.points() {
            history.die_at(point, Vec::new());
            tried += 1;
        }
        if tried >= least {
            break;
        }
    }
    println!("counted: {tried} crash points");
}

#[test]
fn and_wherever_the_next_starts_die_up_to_five_in_a_row() {
    let least = how_many("WRITE_BEHIND_CUT_RECOVERIES", 200);
    let mut tried = 0;
    for (index, history) in histories(how_many("WRITE_BEHIND_SEED", 1) << 32).enumerate() {
        // A prime apart, so that another one is cut each time.
        let points = history.points().into_iter().skip(index % 7).step_by(7);
        for (operation, point) in (index as u64..).zip(points) {
            let depth = 1 + operation % 5;
            let starts = (0..depth).map(|start| {
                let fault = if (operation + start) % 2 == 0 { Fault::PowerCut } else { Fault::Kill };
                ((operation * 3 + start * 5) % 23, fault)
            });
            let cut_off = history.die_at(point, starts.collect());
            tried += u64::from(cut_off > 0);
        }
        if tried >= least {
            break;
        }
    }
    println!("counted: {tried} recoveries that were cut");
}

fn insert_all(durable: bool) -> impl Iterator<Item = Step> {
    (0..5).map(move |key| if durable { Step::InsertDurable(key) } else { Step::Insert(key) })
}

/// Each a danger.
fn scripted() -> Vec<Vec<Step>> {
    let wait = |time: Duration| Step::Advance(time);
    let all = |parts: &[&[Step]]| parts.concat();
    let durable: Vec<Step> = insert_all(true).collect();
    let plain: Vec<Step> = insert_all(false).collect();
    let flush = [Step::FlushAll, wait(ms(1))];
    let retries = [wait(ms(30)), wait(ms(30)), wait(ms(30)), wait(ms(30))];
    let with_mood =
        |mood| all(&[&durable, &[Step::Be(mood)], &flush, &plain, &retries, &[Step::Be(Mood::Well)]]);
    vec![
        // Accepted, on disk within the window, taken at the deadline, settled, forgotten.
        all(&[&plain, &[wait(WINDOW)], &durable, &[wait(INTERVAL), wait(WINDOW)], &plain, &[Step::Sync]]),
        // Newer data of a key waits while its older data is in doubt.
        with_mood(Mood::LosesAnswers),
        // What is refused as a whole is split, key by key, and given up.
        with_mood(Mood::RefusesOddKeys),
        // What others were in the way of is given up too, kept, and offered again.
        all(&[&with_mood(Mood::RollsBack), &[Step::RetryUndelivered, wait(ms(30))], &durable]),
        // The database is away, and in the end the process is stopped in order.
        all(&[&with_mood(Mood::Away), &[Step::Restart], &plain, &flush, &[Step::Restart], &durable]),
        // Keys that are removed while they are pending, and while they are in flight.
        all(&[
            &durable,
            &[Step::Remove(1), Step::Be(Mood::Away)],
            &flush,
            &[Step::Remove(2), Step::Remove(3)],
            &plain,
        ]),
        // One key after the other, so that batches begin and end between commits.
        (0..5)
            .flat_map(|key| [Step::InsertDurable(key), Step::Flush(key), wait(ms(17)), Step::Insert(key)])
            .collect(),
        // A disk that fails while batches are in flight, and is written anew.
        all(&[
            &durable,
            &[Step::Be(Mood::LosesAnswers), Step::Fail(3, Fault::Error)],
            &flush,
            &plain,
            &retries,
        ]),
    ]
}
