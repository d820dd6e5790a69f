//! Where tweets enter the pipeline.
//!
//! A tweet gets its place in the join before any worker sees it, and this is where readers wait when
//! the pipeline is full. Workers only fill places that exist, for which there is always room: so they
//! never wait for each other, whatever is full.

use std::sync::Arc;
use std::time::Duration;

use write_behind::{Buffer, InsertErrorKind, SummingBuffer};

use crate::join::{Joined, Part};
use crate::message::{Job, Message};
use crate::pool::Pool;
use crate::progress::Progress;
use crate::stop::Stop;
use crate::tweet::{Tweet, TweetId};

/// A wait without end, in practice: an outage lasts as long as it lasts.
pub(crate) const PATIENCE: Duration = Duration::from_secs(86_400);

pub(crate) struct Intake {
    pub(crate) join: Buffer<TweetId, Joined>,
    pub(crate) hashtags: SummingBuffer<String, u64>,
    pub(crate) pools: Vec<Arc<Pool>>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) stop: Stop,
}

/// It is time to stop, and the tweet was not taken.
#[derive(Debug)]
pub(crate) struct Stopped;

impl Intake {
    /// Takes in an event: its tweet, and the original if that is inside. What is no tweet goes to the
    /// workers all the same; it is for them to find out.
    pub(crate) async fn take(&self, id: TweetId, data: String) -> Result<(), Stopped> {
        let Ok(mut tweet) = serde_json::from_str::<Tweet>(&data) else {
            return self.dispatch(Message::new(id, Err(data))).await;
        };
        let inside = tweet.original.take();
        let original = inside.as_ref().map(|original| original.id);
        self.dispatch(Message::new(id, Ok(tweet)).repeating(original)).await?;
        match inside {
            Some(original) => self.dispatch(Message::new(original.id, Ok(*original))).await,
            None => Ok(()),
        }
    }

    /// Waits for room in the join, and in the queues of the workers. From the first on the tweet is
    /// taken in, and what follows is not interrupted.
    async fn dispatch(&self, message: Message) -> Result<(), Stopped> {
        let message = Arc::new(message);
        self.open(&message).await?;
        self.progress.note_taken(message.id());
        if let Ok(tweet) = message.content() {
            for hashtag in tweet.hashtags() {
                // There are few different ones: always room.
                self.progress.count_refused(self.hashtags.increment(hashtag));
            }
        }
        for pool in &self.pools {
            pool.submit(&Job::new(&message)).await;
        }
        Ok(())
    }

    async fn open(&self, message: &Arc<Message>) -> Result<(), Stopped> {
        let result = self.join.insert(message.id(), Part::Message(Arc::clone(message)));
        let Err(error) = result else { return Ok(()) };
        if error.kind != InsertErrorKind::Full {
            return Err(Stopped);
        }
        self.progress.waits.add(1);
        let (id, part) = error.into_rejected();
        tokio::select! {
            biased;
            () = self.stop.wait() => Err(Stopped),
            result = self.join.insert_async(id, part, PATIENCE) => result.map_err(|_| Stopped),
        }
    }
}
