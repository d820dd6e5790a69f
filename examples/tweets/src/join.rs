//! The join: one place per tweet, complete when all three pools have had their say.

use std::sync::Arc;

use write_behind::Aggregate;

use crate::message::Message;
use crate::tweet::Row;

/// What is known of a tweet so far.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    message: Option<Arc<Message>>,
    text: Option<String>,
    sentiment: Option<i64>,
    engagement: Option<i64>,
}

#[derive(Debug)]
pub(crate) enum Part {
    Message(Arc<Message>),
    /// The text without its swear words.
    Text(String),
    Sentiment(i64),
    Engagement(i64),
}

impl Aggregate for Joined {
    type Item = Part;

    fn start(part: Part) -> Self {
        let mut joined = Joined::default();
        joined.absorb(part);
        joined
    }

    fn absorb(&mut self, part: Part) {
        match part {
            Part::Message(message) => self.message = Some(message),
            Part::Text(text) => self.text = Some(text),
            Part::Sentiment(sentiment) => self.sentiment = Some(sentiment),
            Part::Engagement(engagement) => self.engagement = Some(engagement),
        }
    }

    fn merge(&mut self, later: Self) {
        self.message = later.message.or(self.message.take());
        self.text = later.text.or(self.text.take());
        self.sentiment = later.sentiment.or(self.sentiment);
        self.engagement = later.engagement.or(self.engagement);
    }

    fn is_ready(&self) -> bool {
        self.message.is_some() && self.text.is_some() && self.sentiment.is_some() && self.engagement.is_some()
    }
}

impl Joined {
    /// What is to be stored; `None` while a part is missing.
    pub(crate) fn row(&self) -> Option<Row> {
        let message = self.message.as_ref()?;
        Some(Row {
            id: message.id(),
            user: message.content().ok()?.user.clone(),
            original: message.original(),
            text: self.text.clone()?,
            sentiment: self.sentiment?,
            engagement: self.engagement?,
        })
    }
}
