//! What a sink is handed, made by hand, and what it answers: for unit tests of sinks. Feature `test-util`.

mod answer;
mod batch;
mod letter;

pub use batch::BatchBuilder;
pub use letter::LetterBuilder;
