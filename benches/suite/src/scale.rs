//! How much of everything a run does.

#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// How often the contestants take turns.
    pub(crate) turns: usize,
    /// How many a million are.
    pub(crate) million: usize,
    /// Whether this is a measurement, and not only a check that it works.
    pub(crate) real: bool,
}

impl Scale {
    pub(crate) fn of_this_run() -> Result<Self, String> {
        if std::env::args().any(|argument| argument == "--tiny") {
            return Ok(Scale { turns: 1, million: 1_000, real: false });
        }
        let turns = match std::env::var("TURNS") {
            Err(_) => 15,
            Ok(text) => match text.parse() {
                Ok(turns) if turns > 0 => turns,
                _ => return Err(format!("TURNS must be a positive number, and is {text:?}")),
            },
        };
        Ok(Scale { turns, million: 1_000_000, real: true })
    }
}
