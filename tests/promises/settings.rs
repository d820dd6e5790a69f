//! Settings from a file: what is not given keeps its default, what is wrong is named.

use write_behind::{Bounds, BuildError, Builder, Count, Last, Max, Min, Overflow, Schedule, Settings, Sum};

use crate::support::{ms, secs};

#[test]
fn settings_are_read_from_a_file() {
    let settings: Settings = toml::from_str(
        r#"
        name = "page-views"

        [schedule]
        interval = "10s"
        jitter = "250ms"
        interval_at_count = [{ inserts = 100, interval = "1s" }]
        hibernate_after = "1m 30s"

        [bounds]
        max_keys = 5000
        overflow = { block = { timeout = "200ms" } }

        [flushing]
        concurrency = 8

        [retry]
        delay = "100ms"
        cap = "5s"
        "#,
    )
    .expect("it is valid");
    let Schedule { interval, jitter, hibernate_after, flush_at_count, .. } = settings.schedule;
    assert_eq!((interval, jitter, hibernate_after, flush_at_count), (secs(10), ms(250), secs(90), None));
    let Bounds { max_keys, max_weight, overflow, .. } = settings.bounds;
    let block = Overflow::Block { timeout: ms(200) };
    assert_eq!((max_keys, max_weight, overflow), (5_000, 10_000_000, block));
    assert_eq!((settings.flushing.concurrency, settings.flushing.max_batch_keys), (8, 1_000));
}

#[test]
fn settings_survive_being_written_and_read() {
    let mut settings = Settings::default();
    settings.schedule.flush_all_at_count = Some(7);
    settings.bounds.overflow = Overflow::Shed;
    settings.seed = Some(3);
    let written = serde_json::to_string(&settings).expect("it can be written");
    assert_eq!(serde_json::from_str::<Settings>(&written).expect("it can be read"), settings);
    assert_eq!(serde_json::from_str::<Settings>("{}").expect("all defaults"), Settings::default());
}

#[test]
fn what_is_wrong_is_named() {
    for (file, words) in [
        ("intervall = \"5s\"", "unknown field `intervall`"),
        ("[schedule]\nflush_threads = 4", "unknown field `flush_threads`"),
        ("[retry]\nretries = 3", "unknown field `retries`"),
        ("[bounds]\noverflow = \"drop\"", "unknown variant `drop`"),
        ("[schedule]\ninterval = \"5 parsecs\"", "interval = \"5 parsecs\""),
        ("[flushing]\nconcurrency = \"many\"", "concurrency = \"many\""),
    ] {
        let error = toml::from_str::<Settings>(file).expect_err(file).to_string();
        assert!(error.contains(words), "{file}: {error}");
    }
}

#[test]
fn what_cannot_work_is_refused_by_start() {
    let settings: Settings = toml::from_str("[bounds]\nmax_keys = 0").expect("it can be read");
    let store = |_: &String, _: &Sum<i64>| Ok::<(), String>(());
    let error = Builder::from_settings(settings).start(store).expect_err("it cannot work");
    assert!(matches!(error, BuildError::Invalid { option: "max_keys", .. }), "{error}");
}

#[test]
fn shipped_aggregates_can_be_stored() {
    fn stored<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(
        value: T,
        as_json: &str,
    ) {
        assert_eq!(serde_json::to_string(&value).expect("it can be written"), as_json);
        assert_eq!(serde_json::from_str::<T>(as_json).expect("it can be read"), value);
    }
    stored(Sum(41_i64), "41");
    stored((Min(1.5), Max(2.5), Last("x".to_owned())), r#"[1.5,2.5,"x"]"#);
    stored(Count::<f64>::from(3), "3");
}
