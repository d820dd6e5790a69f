//! The pipeline: what is started, how it hangs together, and how it comes to its end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, JoinSet};
use write_behind::{Buffer, BuildError, Key, RetryPolicy, ShutdownError, ShutdownReport, SummingBuffer};

use crate::args::Args;
use crate::client;
use crate::display::Display;
use crate::generator::{Generator, STREAMS};
use crate::intake::{Intake, PATIENCE};
use crate::join::Joined;
use crate::outbox::Outbox;
use crate::pool::{Limits, Pool};
use crate::progress::Progress;
use crate::reader::Reader;
use crate::server::Server;
use crate::sinks::{Hashtags, Noted, Writer};
use crate::stage::Stage;
use crate::stop::Stop;
use crate::store::Store;
use crate::tweet::{TweetId, User};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How often sums are flushed. Hashtags are statistics, engagement is stored.
const HASHTAGS_EVERY: Duration = Duration::from_secs(5);
const ENGAGEMENT_EVERY: Duration = Duration::from_secs(1);

/// How long a tweet may wait for its last part before somebody looks after it.
const COMPLETE_WITHIN: Duration = Duration::from_secs(60);

/// A write that takes longer is given up, and tried again.
const WRITE_WITHIN: Duration = Duration::from_secs(10);

pub(crate) struct Pipeline {
    intake: Arc<Intake>,
    join: Buffer<TweetId, Joined>,
    engagement: SummingBuffer<User, i64>,
    readers: JoinSet<()>,
    managers: Vec<JoinHandle<()>>,
    closing: Stop,
    display: JoinHandle<()>,
    display_off: Stop,
}

impl Pipeline {
    pub(crate) async fn start(
        args: &Args,
        store: &Arc<Store>,
        progress: &Arc<Progress>,
        stop: &Stop,
    ) -> Result<Self, BoxError> {
        let server = serve(args).await?;
        let values = client::emotion_values(server).await?;
        let totals = Hashtags::default();
        let join = start_join(args, store, progress)?;
        let engagement = start_engagement(store, progress)?;
        let hashtags =
            Buffer::builder().name("hashtags").interval(HASHTAGS_EVERY).start_async(totals.clone())?;

        let outbox =
            Outbox { join: join.clone(), engagement: engagement.clone(), progress: Arc::clone(progress) };
        let closing = Stop::new();
        let stages = [Stage::Redaction, Stage::Sentiment(values), Stage::Engagement];
        let start = |stage| Pool::start(stage, limits(args), outbox.clone(), closing.clone());
        let (pools, managers) = stages.map(start).into_iter().unzip();
        let (progress, stop) = (Arc::clone(progress), stop.clone());
        let intake = Arc::new(Intake { join: join.clone(), hashtags, pools, progress, stop });

        let readers = (1..=STREAMS).map(|stream| read(server, stream, &intake).run()).collect();
        let display_off = Stop::new();
        let display = tokio::spawn(show(args, &intake, totals).run(display_off.clone()));
        Ok(Pipeline { intake, join, engagement, readers, managers, closing, display, display_off })
    }

    /// Waits until both streams have been read, or were told to stop.
    async fn finish_reading(&mut self) {
        while self.readers.join_next().await.is_some() {}
    }

    /// Has the workers finish all that they have been given.
    async fn finish_work(&mut self) {
        self.closing.set();
        while let Some(manager) = self.managers.last_mut() {
            // If it panicked, the account will show what is missing.
            let _ = manager.await;
            self.managers.pop();
        }
    }

    /// Waits until everything is stored, however long the database is away.
    async fn finish_writing(&self) {
        let _ = tokio::join!(
            self.join.flush_all_and_wait_async(PATIENCE),
            self.engagement.flush_all_and_wait_async(PATIENCE),
            self.intake.hashtags.flush_all_and_wait_async(PATIENCE),
        );
    }

    async fn finish(&mut self) {
        self.finish_reading().await;
        self.finish_work().await;
        self.finish_writing().await;
    }

    /// Runs to the end of the streams, or until told to stop; then whatever was taken in has `within`
    /// to be stored. Returns how many tweets and sums were not.
    pub(crate) async fn run(mut self, stop: &Stop, within: Duration) -> usize {
        tokio::select! {
            () = self.finish() => {}
            () = stop.wait() => {
                // Starts again where it was interrupted: each step does what is left of it.
                let _ = tokio::time::timeout(within, self.finish()).await;
            }
        }
        self.display_off.set();
        let _ = self.display.await;
        let (tweets, sums, hashtags) = tokio::join!(
            self.join.shutdown_async(Duration::ZERO),
            self.engagement.shutdown_async(Duration::ZERO),
            self.intake.hashtags.shutdown_async(Duration::ZERO),
        );
        undelivered(tweets) + undelivered(sums) + undelivered(hashtags)
    }
}

/// How many keys `shutdown` has given back.
fn undelivered<K: Key, V>(result: Result<ShutdownReport, ShutdownError<K, V>>) -> usize {
    result.err().map_or(0, |error| error.into_undelivered().len())
}

async fn serve(args: &Args) -> io::Result<SocketAddr> {
    let rate = f64::from(args.rate) / STREAMS as f64;
    Server { generator: generator(args), rate, drop_every: args.drop_every }.start().await
}

pub(crate) fn generator(args: &Args) -> Generator {
    Generator { seed: args.seed, tweets: args.tweets, panic_every: args.panic_every }
}

/// Complete tweets are due at once, and leave together with all that have become due while the writer
/// was busy. One writer: it is the database that limits, not the waiting for it.
fn start_join(
    args: &Args,
    store: &Arc<Store>,
    progress: &Arc<Progress>,
) -> Result<Buffer<TweetId, Joined>, BuildError> {
    Buffer::builder()
        .name("tweets")
        .interval(COMPLETE_WITHIN)
        .max_keys(args.in_flight)
        .max_batch_keys(args.batch as usize)
        .flush_concurrency(1)
        .flush_timeout(WRITE_WITHIN)
        .retry(through_any_outage())
        .start_async(Writer::new(store, progress, args.batch as usize, args.write_every))
}

fn start_engagement(
    store: &Arc<Store>,
    progress: &Arc<Progress>,
) -> Result<SummingBuffer<User, i64>, BuildError> {
    let builder = Buffer::builder()
        .name("engagement")
        .interval(ENGAGEMENT_EVERY)
        .jitter(ENGAGEMENT_EVERY / 2)
        .flush_concurrency(1)
        .flush_timeout(WRITE_WITHIN)
        .retry(through_any_outage())
        .observer(Noted(Arc::clone(progress)));
    store.start_engagement(builder)
}

fn through_any_outage() -> RetryPolicy {
    RetryPolicy::new().delay(Duration::from_millis(50)).cap(Duration::from_secs(1)).jitter(0.5)
}

fn limits(args: &Args) -> Limits {
    Limits {
        min_workers: args.min_workers as usize,
        max_workers: args.max_workers as usize,
        copies: args.speculate as usize,
        work: args.work,
    }
}

fn read(server: SocketAddr, stream: TweetId, intake: &Arc<Intake>) -> Reader {
    let (progress, stop) = (Arc::clone(&intake.progress), intake.stop.clone());
    Reader { server, stream, intake: Arc::clone(intake), progress, stop }
}

fn show(args: &Args, intake: &Arc<Intake>, hashtags: Hashtags) -> Display {
    Display {
        tweets: args.tweets as u64,
        in_flight: args.in_flight,
        started: Instant::now(),
        progress: Arc::clone(&intake.progress),
        intake: Arc::clone(intake),
        hashtags,
    }
}
