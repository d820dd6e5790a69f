//! What a client may send is anything: it is read, or refused as what it is, and never a panic.
//!
//! `WRITE_BEHIND_ROWS` says how many bodies are tried (default 50 000), `WRITE_BEHIND_SEED` which.

use crate::kills::{Random, from_environment};

#[path = "../../src/increment.rs"]
mod increment;

use increment::Increment;

const BODIES: [&str; 6] = [
    r#"{"key":"k","value":3}"#,
    r#"{"value":-9223372036854775808,"key":"\ud83e\udd80"}"#,
    r#" { "key" : "a\u0000b" , "value" : 1e3 } "#,
    r#"{"key":null,"value":[1,2,{"x":"y"}]}"#,
    r#"{"key":"k","value":99999999999999999999,"key":"again"}"#,
    r#"["key","value"]"#,
];

fn spoiled(body: &str, other: &str, random: &mut Random) -> Vec<u8> {
    let mut body = body.as_bytes().to_vec();
    for _ in 0..random.below(4) {
        let at = random.below(body.len() as u64 + 1) as usize;
        match random.below(5) {
            0 => body.truncate(at),
            1 => body.insert(at, random.below(256) as u8),
            2 => body.insert(at, br#"{}[]",:\-0"#[random.below(10) as usize]),
            3 => body.extend(&other.as_bytes()[other.len().min(at)..]),
            _ => body.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.below(8)),
        }
    }
    body
}

#[test]
fn whatever_a_body_is_it_is_read_or_refused() {
    let bodies = from_environment("WRITE_BEHIND_ROWS").unwrap_or(50_000);
    let mut random = Random(from_environment("WRITE_BEHIND_SEED").unwrap_or(1));
    let mut read = 0;
    for _ in 0..bodies {
        let [body, other] = [0, 1].map(|_| BODIES[random.below(BODIES.len() as u64) as usize]);
        match Increment::parse(&spoiled(body, other, &mut random)) {
            Ok(increment) => {
                assert!((1..=512).contains(&increment.key.len()) && !increment.key.contains('\0'));
                let again = serde_json::json!({ "key": increment.key, "value": increment.value }).to_string();
                let again = Increment::parse(again.as_bytes()).unwrap_or_else(|error| panic!("{error:?}"));
                assert_eq!((again.key, again.value), (increment.key, increment.value));
                read += 1;
            }
            Err((status, problem)) => assert!(status.is_client_error() && !problem.is_empty()),
        }
    }
    assert!(read > 0 && read < bodies, "{read} of {bodies}");
    eprintln!("counted: {bodies} bodies, of which {read} could be read");
}
