//! What is sent, what is examined, and what is stored.

use serde::{Deserialize, Serialize};

pub(crate) type TweetId = i64;

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) id: i64,
    pub(crate) name: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Tweet {
    pub(crate) id: TweetId,
    pub(crate) user: User,
    pub(crate) text: String,
    pub(crate) favourites: i64,
    pub(crate) retweets: i64,
    pub(crate) followers: i64,
    /// A retweet carries the tweet that it repeats, which comes in no event of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) original: Option<Box<Tweet>>,
}

impl Tweet {
    /// Favourites and retweets per follower, in thousandths: whole numbers add up exactly.
    pub(crate) fn engagement(&self) -> i64 {
        (self.favourites + self.retweets) * 1_000 / self.followers.max(1)
    }

    pub(crate) fn hashtags(&self) -> impl Iterator<Item = &str> {
        self.text.split_whitespace().filter(|word| word.starts_with('#'))
    }
}

/// A row of the table `tweets`, and its user's.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) id: TweetId,
    pub(crate) user: User,
    pub(crate) original: Option<TweetId>,
    pub(crate) text: String,
    pub(crate) sentiment: i64,
    pub(crate) engagement: i64,
}
