//! What is to be seen while it runs: a progress bar with a summary below in a terminal, plain lines
//! elsewhere.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::interval;

use crate::intake::Intake;
use crate::pool::Pool;
use crate::progress::Progress;
use crate::sinks::Hashtags;
use crate::stop::Stop;

/// In plain lines, every so many seconds, and a second late: they arrive with the buffer's flush.
const HASHTAGS_EVERY: u64 = 5;

/// A write that takes longer is worth mentioning.
const SLOW_WRITE: Duration = Duration::from_secs(1);

pub(crate) struct Display {
    pub(crate) tweets: u64,
    pub(crate) in_flight: u64,
    pub(crate) started: Instant,
    pub(crate) progress: Arc<Progress>,
    pub(crate) intake: Arc<Intake>,
    pub(crate) hashtags: Hashtags,
}

impl Display {
    /// Shows what happens until told to stop.
    pub(crate) async fn run(self, stop: Stop) {
        if std::io::stdout().is_terminal() {
            self.draw(stop).await;
        } else {
            self.print(stop).await;
        }
    }

    async fn draw(&self, stop: Stop) {
        let bar = ProgressBar::with_draw_target(Some(self.tweets), ProgressDrawTarget::stdout());
        let style = ProgressStyle::with_template("{wide_bar} {pos} of {len}\n{msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let mut ticks = interval(Duration::from_millis(100));
        while !stop.is_set() {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.wait() => {}
            }
            bar.set_position(self.done());
            bar.set_message(self.summary());
        }
        bar.abandon();
        println!();
    }

    async fn print(&self, stop: Stop) {
        let mut ticks = interval(Duration::from_secs(1));
        ticks.tick().await;
        for second in 1.. {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.wait() => return,
            }
            println!("{second:>4} s  {}", self.line());
            if second > 1 && second % HASHTAGS_EVERY == 1 {
                println!("{second:>4} s  {}", self.top_hashtags());
            }
        }
    }

    /// Stored or named.
    fn done(&self) -> u64 {
        self.progress.stored.get() + self.progress.count_malformed()
    }

    /// Taken in and neither.
    fn on_the_way(&self) -> u64 {
        self.progress.taken().saturating_sub(self.done())
    }

    /// All in one line.
    fn line(&self) -> String {
        let sizes: Vec<_> = self.intake.pools.iter().map(|pool| pool.size().to_string()).collect();
        format!(
            "{} of {} tweets, {} on the way; {} workers, {} replaced; database {}",
            self.done(),
            self.tweets,
            self.on_the_way(),
            sizes.join("+"),
            self.deaths(),
            self.database()
        )
    }

    fn summary(&self) -> String {
        let Progress { reconnects, waits, .. } = &*self.progress;
        let seconds = self.started.elapsed().as_secs_f64();
        let pools = &self.intake.pools;
        let size = |pool: &Arc<Pool>| format!("{} {} (once {})", pool.stage.name(), pool.size(), pool.most());
        let sizes: Vec<_> = pools.iter().map(size).collect();
        let in_vain: u64 = pools.iter().map(|pool| pool.in_vain.get()).sum();
        [
            format!(
                "time       {seconds:.0} s, {:.0} tweets a second",
                self.done() as f64 / seconds.max(0.1)
            ),
            format!("readers    reconnected {} times, waited {} times", reconnects.get(), waits.get()),
            format!("workers    {}; {} replaced", sizes.join(", "), self.deaths()),
            format!("           {in_vain} copies of jobs were not needed"),
            format!("malformed  {}", self.progress.count_malformed()),
            format!("on the way {} of {} at most", self.on_the_way(), self.in_flight),
            format!("database   {}", self.database()),
            self.top_hashtags(),
        ]
        .join("\n")
    }

    fn deaths(&self) -> u64 {
        self.intake.pools.iter().map(|pool| pool.deaths.get()).sum()
    }

    fn database(&self) -> String {
        if let Some((since, why)) = self.progress.trouble() {
            return format!("away for {:.1} s: {why}", since.elapsed().as_secs_f64());
        }
        let writing = self.progress.writing_for();
        if writing > SLOW_WRITE {
            return format!("has not answered for {:.1} s", writing.as_secs_f64());
        }
        let (stored, batches) = (self.progress.stored.get(), self.progress.batches.get());
        let failed = self.progress.failed_writes.get();
        format!("fine, {} tweets a batch, {failed} writes failed", stored / batches.max(1))
    }

    fn top_hashtags(&self) -> String {
        let top = self.hashtags.top(5);
        let top: Vec<_> = top.iter().map(|(hashtag, uses)| format!("{hashtag} {uses}")).collect();
        format!("hashtags   {}", if top.is_empty() { "not counted yet".to_owned() } else { top.join(", ") })
    }
}
