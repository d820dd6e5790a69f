//! Messages that cannot be applied hold up nothing, and are told.

use std::sync::{Arc, Mutex};

use write_behind::exactly_once::AsyncStore;
use write_behind::{FlushBatch, Sum};

use crate::server::{Setting, move_all};

/// A batch of nobody.
const LOST: &str = r#"{"id":"0000000000000001-2","entries":[{"key":"lost","data":3,"count":1}]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_batch_is_of_nobody_or_is_refused_is_told_and_holds_up_nothing() {
    let Some(setting) = Setting::new() else { return };
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    let store = setting.store().await.on_left_out(move |left| {
        let content = String::from_utf8_lossy(left.payload).into_owned();
        tell.lock().unwrap().push((left.why.to_owned(), content));
    });
    let nats = async_nats::connect(setting.url()).await.unwrap();
    for message in ["hello", LOST] {
        nats.publish("views.batches", message.into()).await.unwrap();
    }
    nats.flush().await.unwrap();
    setting.sql("insert into views values ('full', 9223372036854775807)");
    let batch =
        FlushBatch::builder(7, 1).entry("full".to_owned(), Sum(1), 1).entry("page".to_owned(), Sum(1), 1);
    store.apply(&batch.build()).await.unwrap();
    move_all(&setting, &store).await.unwrap();
    assert_eq!(setting.totals()["page"], 1);
    let told = told.lock().unwrap();
    for (told, (why, content)) in told.iter().zip([
        ("it is no batch", "hello"),
        ("its batch was settled long ago", "lost"),
        ("entries of it were refused", "full"),
    ]) {
        assert!(told.0.contains(why) && told.1.contains(content), "{told:?}");
    }
    assert_eq!(told.len(), 3);
}
