//! A buffer whose metrics Prometheus can scrape.
//!
//! `cargo run -p prometheus`: page views are buffered, the database fails once, and what `/metrics` says of it is
//! fetched over HTTP, as Prometheus would, and printed. With `-- --serve` it goes on, for a scraper of your own.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use write_behind::{Buffer, MetricsObserver, RetryPolicy, Sum};

const SECONDS: [f64; 8] = [0.001, 0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];
const PATIENCE: Duration = Duration::from_secs(10);

/// Pretends to write; the first attempt fails.
fn write(_page: &String, _views: &Sum<i64>) -> io::Result<()> {
    static FAILED: AtomicBool = AtomicBool::new(false);
    if FAILED.swap(true, Ordering::Relaxed) { Ok(()) } else { Err(io::Error::other("the database is away")) }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut options = std::env::args().skip(1).peekable();
    let serve = options.next_if(|option| option == "--serve").is_some();
    let address: SocketAddr = options.next().as_deref().unwrap_or("127.0.0.1:9100").parse()?;

    // First the recorder, then the buffer: what is published before goes nowhere. This one serves from a thread
    // of its own. With buckets histograms can be added up over processes; without, they would be summaries.
    PrometheusBuilder::new()
        .with_http_listener(address)
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .set_buckets_for_metric(
            Matcher::Full("write_behind_batch_keys".into()),
            &[1.0, 10.0, 100.0, 1_000.0],
        )?
        .install()?;
    let views = Buffer::builder()
        .name("page-views") // the label `buffer`
        .interval(Duration::from_millis(100))
        .retry(RetryPolicy::new().delay(Duration::from_millis(50)))
        .observer(MetricsObserver::new().every(Duration::from_millis(200)))
        .start(write)?;
    for view in 0..1_000 {
        views.increment(&format!("/page-{}", view % 10))?;
    }
    views.flush_all_and_wait(PATIENCE)?;

    println!("$ curl http://{address}/metrics\n{}", scrape_of_all(address)?);
    if serve {
        println!("serving until Ctrl-C");
        loop {
            views.increment("/home")?;
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    views.shutdown(PATIENCE)?;
    Ok(())
}

/// Gauges, and what was accepted, are published every 200 ms and not at each insert.
fn scrape_of_all(address: SocketAddr) -> io::Result<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = scrape(address)?;
        if text.contains("write_behind_accepted_total{buffer=\"page-views\"} 1000") {
            return Ok(text);
        }
        if Instant::now() > deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What Prometheus does every 15 seconds.
fn scrape(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, text)) if head.contains(" 200 ") => Ok(text.to_owned()),
        _ => Err(io::Error::other(answer)),
    }
}
