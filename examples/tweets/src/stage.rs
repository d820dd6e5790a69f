//! What the three pools find out about a tweet.

use std::collections::HashMap;
use std::time::Duration;

use crate::join::Part;
use crate::tweet::Tweet;

const SWEAR_WORDS: &[&str] = &["damn", "hell", "crap"];

pub(crate) enum Stage {
    /// Swear words become asterisks.
    Redaction,
    /// What the words are worth on average, in thousandths.
    Sentiment(HashMap<String, i64>),
    Engagement,
}

impl Stage {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Stage::Redaction => "redaction",
            Stage::Sentiment(_) => "sentiment",
            Stage::Engagement => "engagement",
        }
    }

    pub(crate) fn examine(&self, tweet: &Tweet) -> Part {
        match self {
            Stage::Redaction => Part::Text(redact(&tweet.text)),
            Stage::Sentiment(values) => Part::Sentiment(sentiment(&tweet.text, values)),
            Stage::Engagement => Part::Engagement(tweet.engagement()),
        }
    }

    /// As if a service were asked that is sometimes slow: here is what speculation is good for.
    pub(crate) fn pretended(&self, work: Duration, dice: u64) -> Duration {
        let typical = match self {
            Stage::Redaction => work,
            Stage::Sentiment(_) => work * 2,
            Stage::Engagement => work / 2,
        };
        if dice.is_multiple_of(50) { typical * 10 } else { typical / 2 + typical * (dice % 16) as u32 / 16 }
    }
}

fn redact(text: &str) -> String {
    let clean = |word: &str| match SWEAR_WORDS.contains(&word) {
        true => "*".repeat(word.len()),
        false => word.to_owned(),
    };
    text.split(' ').map(clean).collect::<Vec<_>>().join(" ")
}

fn sentiment(text: &str, values: &HashMap<String, i64>) -> i64 {
    let words: Vec<_> = text.split_whitespace().collect();
    let sum: i64 = words.iter().filter_map(|word| values.get(*word)).sum();
    sum * 1_000 / words.len().max(1) as i64
}
