//! The included server: two streams of tweets as server-sent events, and the word list.
//!
//! It drops connections now and then. Who comes back with `Last-Event-ID` gets that event once more
//! and then what follows: each event at least once, in order.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Sse;
use axum::response::sse::Event;
use axum::routing::get;
use futures_util::Stream;
use futures_util::stream;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::generator::{EMOTION_VALUES, Generator, Random, STREAMS};
use crate::tweet::TweetId;

/// The last event of a stream is of this type.
pub(crate) const END: &str = "end";

#[derive(Debug, Clone, Copy)]
pub(crate) struct Server {
    pub(crate) generator: Generator,
    /// Events per second of each stream, 0 without limit.
    pub(crate) rate: f64,
    pub(crate) drop_every: u64,
}

impl Server {
    /// Serves on a loopback port of the system's choice for as long as the runtime lives.
    pub(crate) async fn start(self) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let router = Router::new()
            .route("/tweets/{stream}", get(tweets))
            .route("/emotion_values", get(emotion_values))
            .with_state(self);
        tokio::spawn(axum::serve(listener, router).into_future());
        Ok(address)
    }
}

async fn emotion_values() -> Json<BTreeMap<&'static str, i64>> {
    Json(EMOTION_VALUES.iter().copied().collect())
}

async fn tweets(
    State(server): State<Server>,
    Path(stream): Path<TweetId>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = io::Result<Event>>>, StatusCode> {
    if !(1..=STREAMS).contains(&stream) {
        return Err(StatusCode::NOT_FOUND);
    }
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let connection = Connection::new(server, last.unwrap_or(stream));
    Ok(Sse::new(stream::unfold(connection, |mut connection| async {
        Some((connection.next().await?, connection))
    })))
}

/// One response.
struct Connection {
    server: Server,
    next: Option<TweetId>,
    sent: u64,
    /// After so many events it breaks.
    breaks_at: u64,
    started: Instant,
}

impl Connection {
    fn new(server: Server, first: TweetId) -> Self {
        let breaks_at = match server.drop_every {
            0 => u64::MAX,
            // At least the event that comes again, and a new one.
            every => every / 2 + 2 + Random(first as u64).below(every),
        };
        Connection { server, next: Some(first), sent: 0, breaks_at, started: Instant::now() }
    }

    async fn next(&mut self) -> Option<io::Result<Event>> {
        let id = self.next?;
        if self.sent == self.breaks_at {
            self.next = None;
            // What has been sent so far leaves when there is nothing more to send at the moment.
            tokio::task::yield_now().await;
            return Some(Err(io::Error::other("dropped on purpose")));
        }
        self.sent += 1;
        self.keep_to_the_rate().await;
        match self.server.generator.event(id) {
            Some(event) => {
                self.next = Some(self.server.generator.event_after(id));
                Some(Ok(Event::default().id(event.id.to_string()).data(event.data)))
            }
            None => {
                self.next = None;
                Some(Ok(Event::default().event(END).data("")))
            }
        }
    }

    async fn keep_to_the_rate(&self) {
        if self.server.rate > 0.0 {
            let due = Duration::from_secs_f64(self.sent as f64 / self.server.rate);
            tokio::time::sleep_until(self.started + due).await;
        }
    }
}
