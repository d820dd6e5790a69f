//! `GET /metrics`.

use test_servers::eventually;

use crate::service::Home;

#[test]
fn prometheus_gets_what_the_buffer_did() {
    let home = Home::new();
    let service = home.start(&["--interval", "50ms"]);
    let client = service.client();
    for _ in 0..5 {
        client.increment("a", 2);
    }
    let expected = [
        "write_behind_accepted_total{buffer=\"counters\"} 5",
        "write_behind_flushed_inserts_total{buffer=\"counters\"} 5",
        "write_behind_pending{buffer=\"counters\"} 0",
        "write_behind_degraded_seconds{buffer=\"counters\"} 0",
        "write_behind_flush_seconds_bucket{buffer=\"counters\",le=\"30\"} ",
        "# TYPE write_behind_lateness_seconds histogram",
    ];
    eventually("all is published", || {
        let scraped = client.get("/metrics");
        assert_eq!(scraped.status, 200, "{scraped:?}");
        expected.iter().all(|line| scraped.body.contains(line)).then_some(())
    });
    service.stop();
}
