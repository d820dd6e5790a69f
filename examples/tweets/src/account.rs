//! The account: what was sent against what is stored and what was named as malformed.

use std::fmt;

use crate::generator::{Generator, STREAMS};
use crate::progress::Progress;
use crate::store::Contents;
use crate::tweet::TweetId;

/// What the generator says about the tweets that were taken in; it asks nobody.
#[derive(Debug, Default)]
struct Sent {
    tweets: i64,
    malformed: Vec<TweetId>,
    engagement: i64,
}

#[derive(Debug)]
pub(crate) struct Account {
    /// What the generator sends in all.
    all: i64,
    sent: Sent,
    contents: Contents,
    named: Vec<TweetId>,
    repeated: u64,
    refused: u64,
}

impl Account {
    pub(crate) fn draw_up(generator: &Generator, progress: &Progress, contents: Contents) -> Self {
        let mut sent = Sent::default();
        for (stream, last) in (1..=STREAMS).zip(progress.last_taken()) {
            sent.count(generator, (stream..=last).step_by(STREAMS as usize));
        }
        sent.malformed.sort_unstable();
        Account {
            all: generator.tweets,
            sent,
            contents,
            named: progress.malformed(),
            repeated: progress.repeated.get(),
            refused: progress.refused.get(),
        }
    }

    /// What does not add up.
    pub(crate) fn differences(&self) -> Vec<String> {
        let Account { sent, contents, named, .. } = self;
        let expected = sent.tweets - sent.malformed.len() as i64;
        let mut differences = Vec::new();
        let mut compare = |what: &str, is: i64, should_be: i64| {
            if is != should_be {
                differences.push(format!("{what}: {is}, should be {should_be}"));
            }
        };
        compare("tweets stored", contents.tweets, expected);
        compare("different tweets stored", contents.distinct, expected);
        compare("engagement by tweet", contents.engagement_of_tweets, sent.engagement);
        compare("engagement by user", contents.engagement_of_users, sent.engagement);
        compare("users whose engagement is not the sum of their tweets'", contents.users_in_error, 0);
        compare("named as malformed", named.len() as i64, sent.malformed.len() as i64);
        compare("results that came too late", self.refused as i64, 0);
        if *named != sent.malformed {
            differences.push(format!("named as malformed, but should be {}", list(&sent.malformed)));
        }
        differences
    }
}

impl Sent {
    fn count(&mut self, generator: &Generator, ids: impl Iterator<Item = TweetId>) {
        for id in ids {
            self.tweets += 1;
            match generator.is_malformed(id) {
                true => self.malformed.push(id),
                false => self.engagement += generator.tweet(id).engagement(),
            }
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Account { all, sent, contents, named, repeated, .. } = self;
        writeln!(f, "taken in     {} tweets of {all}; {repeated} events came twice", sent.tweets)?;
        writeln!(f, "stored       {} tweets of {} users", contents.tweets, contents.users)?;
        writeln!(f, "malformed    {}{}", named.len(), if named.is_empty() { "" } else { ":" })?;
        for line in named.chunks(12) {
            writeln!(f, "             {}", list(line))?;
        }
        let (by_tweet, by_user) = (contents.engagement_of_tweets, contents.engagement_of_users);
        writeln!(f, "engagement   {} sent, {by_tweet} by tweet, {by_user} by user", sent.engagement)?;
        let differences = self.differences();
        for difference in &differences {
            writeln!(f, "DIFFERENCE   {difference}")?;
        }
        f.write_str(match differences.is_empty() {
            true => "balanced     every tweet is stored once or named as malformed",
            false => "NOT BALANCED",
        })
    }
}

fn list(ids: &[TweetId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
