//! Messages per account, counted per minute and kept as a first-in-first-out series of the last 15
//! points; and an interval that follows each account's data.
//!
//! ```sh
//! cargo run --release -p message_rollup                     # in real time, ends with Ctrl-C
//! cargo run --release -p message_rollup -- --simulate 2h    # two hours in a second
//! ```
//!
//! There is **one timer**: the buffer's. What a point counts is decided by the messages' own timestamps,
//! so no second timer has to roll the window on time, and none can drift away from the first. A flush
//! that comes early, late or twice as often changes nothing in the series.

mod minutes;
mod pace;
mod rollup;
mod tally;
mod traffic;
mod window;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use write_behind::ManualClock;

use rollup::{Rollup, minute_of};
use tally::Tally;
use traffic::Traffic;

type Account = Arc<str>;

/// Counts messages per account and minute in a window of 15 minutes. Each account's messages stay in
/// memory for a time that follows their speed and acceleration.
#[derive(Debug, Parser)]
#[command(name = "message_rollup")]
struct Args {
    /// Run on a simulated clock, for so much simulated time, and check every point of every minute
    #[arg(long, value_name = "DURATION", value_parser = at_least_a_minute)]
    simulate: Option<Duration>,

    /// End after this much time; without it a run in real time ends with Ctrl-C
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration, conflicts_with = "simulate")]
    lasting: Option<Duration>,

    /// How often to print the series [default: 10s, simulated 30m]
    #[arg(long, value_name = "DURATION", value_parser = at_least_a_second)]
    every: Option<Duration>,

    /// How many accounts write messages
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    accounts: u16,

    /// The shortest time that messages stay in memory
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = at_least_a_milli)]
    shortest: Duration,

    /// The longest
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = at_least_a_milli)]
    longest: Duration,

    /// The same messages come with the same seed
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

fn at_least(least: Duration, text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration < least { Err(format!("must be at least {least:?}")) } else { Ok(duration) }
}

fn at_least_a_minute(text: &str) -> Result<Duration, String> {
    at_least(Duration::from_secs(60), text)
}

fn at_least_a_second(text: &str) -> Result<Duration, String> {
    at_least(Duration::from_secs(1), text)
}

fn at_least_a_milli(text: &str) -> Result<Duration, String> {
    at_least(Duration::from_millis(1), text)
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.shortest > args.longest {
        eprintln!("error: --shortest {:?} is longer than --longest {:?}", args.shortest, args.longest);
        return ExitCode::from(2);
    }
    let outcome = match args.simulate {
        Some(time) => simulate(&args, time),
        None => run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Nothing happens by itself here: each step of the clock does what is due by then.
fn simulate(args: &Args, time: Duration) -> Result<(), String> {
    let (clock, begun) = (ManualClock::new(), Instant::now());
    let started = Rollup::new(args.shortest, args.longest, |builder, store| {
        builder.seed(args.seed).start_inline(store, &clock)
    });
    let mut rollup = started.map_err(|error| error.to_string())?;
    let mut tally = Tally::default();
    let mut traffic = Traffic::new(args.seed, args.accounts.into(), Duration::ZERO);
    let every = minute_of(args.every.unwrap_or(Duration::from_secs(30 * 60))).max(1);
    let mut next = traffic.next();
    for minute in 0..minute_of(time) {
        let end = Duration::from_secs(60) * (minute as u32 + 1);
        while next.0 < end {
            clock.advance(next.0.saturating_sub(clock.now()));
            if rollup.receive(&next.1, minute) {
                tally.count(&next.1);
            }
            next = traffic.next();
        }
        clock.advance(end.saturating_sub(clock.now()));
        tally.check(&rollup, minute)?;
        if (minute + 1) % every == 0 {
            print_series(&rollup, minute);
        }
    }
    rollup.flush();
    println!(
        "{} points of {} minutes checked in {:.1?}",
        tally.points_checked,
        minute_of(time),
        begun.elapsed()
    );
    settle(&rollup)
}

fn run(args: &Args) -> Result<(), String> {
    let started = Rollup::new(args.shortest, args.longest, |builder, store| builder.start(store));
    let mut rollup = started.map_err(|error| error.to_string())?;
    let stopped = stop_signal()?;
    let since_1970 = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut traffic = Traffic::new(args.seed, args.accounts.into(), since_1970());
    let every = args.every.unwrap_or(Duration::from_secs(10));
    let end = args.lasting.map(|lasting| since_1970() + lasting);
    let mut next_print = since_1970() + every;
    let mut next = traffic.next();
    loop {
        let until = [Some(next.0), Some(next_print), end].into_iter().flatten().min().unwrap_or_default();
        let signalled = stopped.recv_timeout(until.saturating_sub(since_1970())).is_ok();
        let now = since_1970();
        if signalled || end.is_some_and(|end| end <= now) {
            break;
        }
        if next.0 <= now {
            rollup.receive(&next.1, minute_of(now));
            next = traffic.next();
        }
        if next_print <= now {
            rollup.flush();
            print_series(&rollup, minute_of(now));
            next_print += every;
        }
    }
    rollup.flush();
    print_series(&rollup, minute_of(since_1970()));
    settle(&rollup)
}

/// Hears of Ctrl-C.
fn stop_signal() -> Result<std::sync::mpsc::Receiver<()>, String> {
    let (stop, stopped) = std::sync::mpsc::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    std::thread::spawn(move || {
        let _ = runtime.block_on(tokio::signal::ctrl_c());
        let _ = stop.send(());
    });
    Ok(stopped)
}

fn print_series(rollup: &Rollup, minute: minutes::Minute) {
    println!("minute {minute}: this minute, the last 15 together, the next flush within, and the 15 points");
    for (account, points, interval) in rollup.series(minute) {
        let sum: u64 = points.iter().sum();
        let last = points[window::POINTS - 1];
        let points = points.map(|point| format!("{point:>3}")).join(" ");
        println!("  {account:<8} {last:>4} {sum:>6} {:>6.1}s  {points}", interval.as_secs_f64());
    }
}

/// The account: every message is in a point, or is named as too late.
fn settle(rollup: &Rollup) -> Result<(), String> {
    let (stored, writes) = rollup.stored();
    println!("{} messages = {stored} counted + {} too late", rollup.received, rollup.too_late);
    println!("{stored} counted by {writes} writes to the store");
    if rollup.received == stored + rollup.too_late {
        Ok(())
    } else {
        Err("the account does not balance".to_owned())
    }
}
