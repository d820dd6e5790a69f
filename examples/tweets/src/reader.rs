//! Reads a stream of tweets to its end, however often the connection breaks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use sse_stream::SseStream;

use crate::client;
use crate::intake::Intake;
use crate::progress::Progress;
use crate::server::END;
use crate::stop::Stop;
use crate::tweet::TweetId;

const RECONNECT_AFTER: Duration = Duration::from_millis(20);

pub(crate) struct Reader {
    pub(crate) server: SocketAddr,
    /// 1 or 2.
    pub(crate) stream: TweetId,
    pub(crate) intake: Arc<Intake>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) stop: Stop,
}

enum End {
    /// The stream is over, or reading shall stop.
    Over,
    Broken,
}

impl Reader {
    /// Returns at the end of the stream or when told to stop; no event is half taken then.
    pub(crate) async fn run(self) {
        let mut last = None;
        while let End::Broken = self.follow(&mut last).await {
            self.progress.reconnects.add(1);
            tokio::select! {
                () = self.stop.wait() => return,
                () = tokio::time::sleep(RECONNECT_AFTER) => {}
            }
        }
    }

    /// Follows one connection. While an event waits to be taken in nothing is read, so that the
    /// server is slowed down by its full socket.
    async fn follow(&self, last: &mut Option<TweetId>) -> End {
        let path = format!("/tweets/{}", self.stream);
        let Ok(response) = client::get(self.server, &path, *last).await else { return End::Broken };
        let mut events = SseStream::new(response.into_body());
        loop {
            let event = tokio::select! {
                () = self.stop.wait() => return End::Over,
                event = events.next() => event,
            };
            let Some(Ok(event)) = event else { return End::Broken };
            if event.event.as_deref() == Some(END) {
                return End::Over;
            }
            let (Some(id), Some(data)) = (event.id.and_then(|id| id.parse().ok()), event.data) else {
                continue; // a comment, or a change of settings
            };
            // Ids rise along a stream; after a reconnection the server begins a little too early.
            if last.is_some_and(|last| id <= last) {
                self.progress.repeated.add(1);
                continue;
            }
            if self.intake.take(id, data).await.is_err() {
                return End::Over;
            }
            *last = Some(id);
        }
    }
}
