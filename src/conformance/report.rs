use std::fmt;

use super::scenario::Scenario;

/// How often the inserts of a scenario counted.
///
/// ```
/// use write_behind::conformance::Delivery;
///
/// fn is_harmless_for_sets(delivery: &Delivery) -> bool {
///     matches!(delivery, Delivery::ExactlyOnce | Delivery::AtLeastOnce { .. })
/// }
/// # assert!(is_harmless_for_sets(&Delivery::ExactlyOnce));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivery {
    /// Each insert counted once, or was handed over: taken by `handle_error`, or kept as undelivered, where the
    /// storage refused it.
    ExactlyOnce,
    /// No insert is missing, and some counted more than once.
    #[non_exhaustive]
    AtLeastOnce {
        /// By how many inserts too much.
        extra: u64,
    },
    /// The sink failed although nothing was wrong with the storage, and inserts were given up. In a buffer with
    /// a retry policy without end they would be sent for ever.
    #[non_exhaustive]
    Undelivered {
        /// How many inserts.
        inserts: u64,
    },
    /// Inserts are missing.
    #[non_exhaustive]
    Lost {
        /// How many inserts.
        missing: u64,
        /// By how many inserts too much others counted.
        extra: u64,
    },
    /// The scenario cannot be played.
    #[non_exhaustive]
    NotRun {
        /// Why not.
        why: &'static str,
    },
}

impl Delivery {
    fn is_at_least_once(&self) -> bool {
        matches!(self, Delivery::ExactlyOnce | Delivery::AtLeastOnce { .. } | Delivery::NotRun { .. })
    }

    fn is_exactly_once(&self) -> bool {
        matches!(self, Delivery::ExactlyOnce | Delivery::NotRun { .. })
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Delivery::ExactlyOnce => f.write_str("exactly once"),
            Delivery::AtLeastOnce { extra } => write!(f, "AT LEAST ONCE, {} too many", Inserts(*extra)),
            Delivery::Undelivered { inserts } => write!(f, "UNDELIVERED, {} given up", Inserts(*inserts)),
            Delivery::Lost { missing, extra: 0 } => write!(f, "LOST, {} missing", Inserts(*missing)),
            Delivery::Lost { missing, extra } => {
                write!(f, "LOST, {} missing and {} too many", Inserts(*missing), Inserts(*extra))
            }
            Delivery::NotRun { why } => write!(f, "not run: {why}"),
        }
    }
}

/// So many inserts, in words.
pub(super) struct Inserts(pub(super) u64);

impl fmt::Display for Inserts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 1 { f.write_str("1 insert") } else { write!(f, "{} inserts", self.0) }
    }
}

/// What one scenario has shown. [`Report`] has an example.
#[derive(Debug, Clone)]
pub struct ScenarioReport {
    scenario: Scenario,
    delivery: Delivery,
    findings: Vec<String>,
    calls: usize,
}

impl ScenarioReport {
    pub(super) fn new(scenario: Scenario, delivery: Delivery, findings: Vec<String>, calls: usize) -> Self {
        ScenarioReport { scenario, delivery, findings, calls }
    }

    pub(super) fn not_run(scenario: Scenario, why: &'static str) -> Self {
        ScenarioReport::new(scenario, Delivery::NotRun { why }, Vec::new(), 0)
    }

    /// Which one.
    #[must_use]
    pub fn scenario(&self) -> Scenario {
        self.scenario
    }

    /// How often its inserts counted.
    #[must_use]
    pub fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    /// What went wrong, in words: which attempt of which batch added what. Keys are named by their numbers.
    /// A few of them if there are many.
    #[must_use]
    pub fn findings(&self) -> &[String] {
        &self.findings
    }

    /// How often the sink was asked to flush.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls
    }
}

impl fmt::Display for ScenarioReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scenario, calls) = (self.scenario, self.calls);
        write!(f, "  {scenario:<13} {calls:>5} calls  {}", self.delivery)?;
        for finding in &self.findings {
            write!(f, "\n      {finding}")?;
        }
        if !self.findings.is_empty() {
            write!(f, "\n      advice: {}", scenario.advice())?;
        }
        Ok(())
    }
}

/// What the kit has found: one line for each scenario, and where something went wrong what it was. Prints
/// as a table.
///
/// ```
/// use write_behind::Sum;
/// use write_behind::conformance::{Conformance, Delivery, Scenario};
///
/// let forgetful = |_: &u32, _: &Sum<i64>| Ok::<(), std::io::Error>(());
/// let report = Conformance::new(|n| n, Sum).only([Scenario::Plain]).run(|| forgetful, || []);
/// let [plain] = report.scenarios() else { panic!("one was run") };
/// assert!(matches!(plain.delivery(), Delivery::Lost { extra: 0, .. }));
/// assert!(plain.findings()[0].contains("attempt 1, answered Ok, added nothing"));
/// ```
#[derive(Debug, Clone)]
#[must_use = "a report convicts nobody unless it is looked at: `assert_exactly_once`"]
pub struct Report {
    seed: u64,
    scenarios: Vec<ScenarioReport>,
}

impl Report {
    pub(super) fn new(seed: u64, scenarios: Vec<ScenarioReport>) -> Self {
        Report { seed, scenarios }
    }

    /// What makes this run again: [`Conformance::seed`](super::Conformance::seed).
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The scenarios, in the order in which they ran.
    #[must_use]
    pub fn scenarios(&self) -> &[ScenarioReport] {
        &self.scenarios
    }

    /// How often the inserts of this scenario counted. `None` if it was left out.
    #[must_use]
    pub fn delivery_in(&self, scenario: Scenario) -> Option<&Delivery> {
        let found = self.scenarios.iter().find(|report| report.scenario == scenario);
        found.map(ScenarioReport::delivery)
    }

    /// Each insert counted exactly once.
    ///
    /// # Panics
    ///
    /// With the report, if an insert did not count exactly once in some scenario, or if none was run.
    #[track_caller]
    pub fn assert_exactly_once(&self) {
        assert!(self.all(Delivery::is_exactly_once), "the sink does not deliver exactly once\n{self}");
    }

    /// For a sink that keeps no record of what it has applied: nothing is lost.
    ///
    /// # Panics
    ///
    /// With the report, if an insert is missing or undelivered in some scenario, or if none was run.
    #[track_caller]
    pub fn assert_at_least_once(&self) {
        assert!(self.all(Delivery::is_at_least_once), "the sink does not deliver at least once\n{self}");
    }

    fn all(&self, holds: impl Fn(&Delivery) -> bool) -> bool {
        let ran = |report: &ScenarioReport| !matches!(report.delivery, Delivery::NotRun { .. });
        self.scenarios.iter().any(ran) && self.scenarios.iter().all(|report| holds(&report.delivery))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conformance, seed {}", self.seed)?;
        self.scenarios.iter().try_for_each(|scenario| write!(f, "\n{scenario}"))
    }
}
