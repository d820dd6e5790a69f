//! Where results go.

use std::sync::Arc;

use write_behind::{Buffer, InsertErrorKind, SummingBuffer};

use crate::intake::PATIENCE;
use crate::join::{Joined, Part};
use crate::message::Message;
use crate::progress::Progress;
use crate::tweet::{TweetId, User};

#[derive(Clone)]
pub(crate) struct Outbox {
    pub(crate) join: Buffer<TweetId, Joined>,
    pub(crate) engagement: SummingBuffer<User, i64>,
    pub(crate) progress: Arc<Progress>,
}

impl Outbox {
    /// Takes the one result of a pool for a tweet: into the tweet's place in the join, and if it is an
    /// engagement also into the sum of its user. Never called twice for the same part.
    pub(crate) async fn deliver(&self, message: &Message, part: Part) {
        if let (Part::Engagement(engagement), Ok(tweet)) = (&part, message.content()) {
            self.add_engagement(&tweet.user, *engagement).await;
        }
        // The place is there, so this finds room at once.
        self.progress.count_refused(self.join.insert_async(message.id(), part, PATIENCE).await);
    }

    async fn add_engagement(&self, user: &User, engagement: i64) {
        // Borrowed, so that the user is cloned only when new.
        let Err(error) = self.engagement.add(user, engagement) else { return };
        if error.kind == InsertErrorKind::Full {
            let waited = self.engagement.insert_async(user.clone(), engagement, PATIENCE).await;
            self.progress.count_refused(waited);
        } else {
            self.progress.refused.add(1);
        }
    }

    /// Gives up a tweet that no worker survives: takes its place away again, and names it. No part of
    /// it has been delivered.
    pub(crate) fn condemn(&self, message: &Message) {
        drop(self.join.remove(&message.id()));
        self.progress.note_malformed(message.id());
    }
}
