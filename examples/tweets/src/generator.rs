//! The tweets: made up, but the same for the same seed, so that the account knows what was sent.

use crate::tweet::{Tweet, TweetId, User};

/// The tweets 1, 3, 5 ... are sent on the first stream, 2, 4, 6 ... on the second.
pub(crate) const STREAMS: i64 = 2;

/// What a malformed event says. It is not JSON.
pub(crate) const PANIC_MESSAGE: &str = r#"{"message": panic}"#;

const USERS: u64 = 5_000;
const WORDS: &[&str] = &[
    "coffee", "monday", "train", "love", "awful", "rain", "great", "late", "damn", "happy", "hell", "music",
    "sad", "crap", "sunshine", "deadline", "bug", "win", "boring", "thanks", "friends", "angry", "lunch",
    "hope",
];
const HASHTAGS: &[&str] = &[
    "#rust",
    "#news",
    "#music",
    "#football",
    "#coffee",
    "#weather",
    "#cats",
    "#science",
    "#film",
    "#monday",
];

/// What the words of a tweet are worth to its sentiment.
pub(crate) const EMOTION_VALUES: &[(&str, i64)] = &[
    ("love", 3),
    ("great", 3),
    ("happy", 3),
    ("sunshine", 2),
    ("win", 4),
    ("thanks", 2),
    ("friends", 1),
    ("hope", 2),
    ("awful", -3),
    ("damn", -2),
    ("hell", -4),
    ("crap", -3),
    ("sad", -2),
    ("boring", -3),
    ("angry", -3),
    ("late", -1),
];

#[derive(Debug, Clone, Copy)]
pub(crate) struct Generator {
    pub(crate) seed: u64,
    pub(crate) tweets: i64,
    pub(crate) panic_every: i64,
}

/// A server-sent event. Its id is that of its tweet.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) id: TweetId,
    pub(crate) data: String,
}

impl Generator {
    /// The event `id` of a stream: a tweet, perhaps with the stream's next one inside as the original
    /// that it repeats. `None` if the stream is over.
    pub(crate) fn event(&self, id: TweetId) -> Option<Event> {
        if id > self.tweets {
            return None;
        }
        if self.is_malformed(id) {
            return Some(Event { id, data: PANIC_MESSAGE.to_owned() });
        }
        let mut tweet = self.tweet(id);
        if self.is_retweet(id) {
            tweet.original = Some(Box::new(self.tweet(id + STREAMS)));
        }
        Some(Event { id, data: serde_json::to_string(&tweet).expect("a tweet is JSON") })
    }

    /// The id of the event that follows the event `id`.
    pub(crate) fn event_after(&self, id: TweetId) -> TweetId {
        id + STREAMS * if self.is_retweet(id) { 2 } else { 1 }
    }

    pub(crate) fn is_malformed(&self, id: TweetId) -> bool {
        self.panic_every > 0 && id % self.panic_every == 0
    }

    fn is_retweet(&self, id: TweetId) -> bool {
        let original = id + STREAMS;
        self.random(id).below(4) == 0
            && original <= self.tweets
            && !self.is_malformed(id)
            && !self.is_malformed(original)
    }

    pub(crate) fn tweet(&self, id: TweetId) -> Tweet {
        let mut random = self.random(-id);
        let user = random.skewed(USERS) as i64;
        let mut text = Vec::new();
        for _ in 0..6 + random.below(12) {
            text.push(WORDS[random.below(WORDS.len() as u64) as usize]);
        }
        for _ in 0..random.below(3) {
            text.push(HASHTAGS[random.skewed(HASHTAGS.len() as u64) as usize]);
        }
        Tweet {
            id,
            user: User { id: user, name: format!("user {user}") },
            text: text.join(" "),
            favourites: random.skewed(2_000) as i64,
            retweets: random.skewed(500) as i64,
            followers: 1 + random.skewed(10_000) as i64,
            original: None,
        }
    }

    fn random(&self, id: TweetId) -> Random {
        Random(self.seed.wrapping_mul(0xd134_2543_de82_ef95) ^ id as u64)
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): the same numbers on every machine and in every release.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Small numbers more often than large ones.
    fn skewed(&mut self, bound: u64) -> u64 {
        self.below(bound).min(self.below(bound)).min(self.below(bound))
    }
}
