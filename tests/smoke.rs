use std::sync::{Arc, Mutex};
use std::time::Duration;
use write_behind::*;
struct Rec(Arc<Mutex<Vec<(String, i64)>>>);
impl DataBuffer<String, Sum<i64>> for Rec {
    type Error = String;
    fn handle_flush(&self, k: &String, v: &Sum<i64>) -> Result<(), String> {
        self.0.lock().unwrap().push((k.clone(), v.0));
        Ok(())
    }
}
#[test]
fn threads() {
    let out = Arc::new(Mutex::new(vec![]));
    let b: SummingBuffer<String, i64> =
        Buffer::builder().interval(Duration::from_millis(10)).start(Rec(out.clone())).unwrap();
    let t = std::time::Instant::now();
    for i in 0..100_000 {
        b.add(["a", "b", "c"][i % 3], 1).unwrap();
    }
    b.flush_and_wait("a", Duration::from_secs(5)).unwrap();
    b.flush_all_and_wait(Duration::from_secs(5)).unwrap();
    println!("{:?} {:?}", t.elapsed(), b.stats());
    b.add("z", 1).unwrap();
    b.shutdown(Duration::from_secs(5)).unwrap();
    println!("{:?} {:?}", b.stats(), b.stats().balance());
    assert_eq!(out.lock().unwrap().iter().map(|x| x.1).sum::<i64>(), 100_001);
}
#[test]
fn inline() {
    let out = Arc::new(Mutex::new(vec![]));
    let clock = ManualClock::new();
    let b: SummingBuffer<String, i64> =
        Buffer::builder().interval(Duration::from_secs(5)).start_inline(Rec(out.clone()), &clock).unwrap();
    b.add("a", 1).unwrap();
    clock.advance(Duration::from_secs(4));
    b.add("a", i64::MAX).unwrap();
    b.add("b", 1).unwrap();
    println!("{:?}", b.dump());
    clock.advance(Duration::from_secs(1));
    println!("{:?}", out.lock().unwrap());
    println!("{:?}", b.stats());
    b.flush_all_and_wait(Duration::from_secs(1)).unwrap();
    println!("{:?}", out.lock().unwrap());
    clock.advance(Duration::from_secs(60));
    println!("{:?}", b.stats());
    assert!(b.stats().hibernating);
    drop(b);
}
