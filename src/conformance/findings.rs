//! What went wrong, in words.

use std::collections::{BTreeMap, BTreeSet};

use super::books::{Books, Call, Luck};
use super::report::Inserts;
use crate::batch::BatchId;

/// More of the same tells nothing new.
const MOST_FINDINGS: usize = 3;
const MOST_CALLS: usize = 5;

pub(super) fn findings(books: &Books) -> Vec<String> {
    let mut findings: Vec<String> = books
        .clashes
        .iter()
        .map(|(one, other)| format!("the numbers {one} and {other} have the same key: this verdict is void"))
        .collect();
    let mut wrong: BTreeMap<BatchId, BTreeMap<u32, i64>> = BTreeMap::new();
    for (&(origin, key), account) in &books.accounts {
        let surplus = account.surplus();
        if surplus != 0 && books.stray(key) == 0 {
            wrong.entry(origin).or_default().insert(key, surplus);
        }
    }
    findings.extend(wrong.iter().map(|(origin, keys)| story(*origin, keys, &books.calls)));
    findings.extend(strays(books));
    if findings.is_empty() {
        findings.extend(undelivered(books));
    }
    let more = findings.len().saturating_sub(MOST_FINDINGS);
    findings.truncate(MOST_FINDINGS);
    if more > 0 {
        findings.push(format!("and {more} more like that"));
    }
    findings
}

/// What became of the inserts that were first sent in this batch.
fn story(origin: BatchId, keys: &BTreeMap<u32, i64>, calls: &[Call]) -> String {
    let doubled = keys.values().any(|&surplus| surplus > 0);
    let calls: Vec<&Call> = calls.iter().filter(|call| call.origin == origin).collect();
    let added = |call: &Call| keys.keys().filter_map(|key| call.added.get(key)).sum::<i64>();
    let told: Vec<String> = calls
        .iter()
        .filter(|call| !doubled || added(call) != 0)
        .take(MOST_CALLS)
        .map(|call| format!("{}, added {}", who(call, origin), sum(added(call))))
        .collect();
    let told = if told.is_empty() { "it was never sent".to_owned() } else { told.join("; ") };
    format!("batch {origin} {}: {told}", what(keys, calls.iter().filter(|call| added(call) != 0).count()))
}

fn what(keys: &BTreeMap<u32, i64>, times: usize) -> String {
    let extra: i64 = keys.values().filter(|surplus| **surplus > 0).sum();
    let missing: i64 = -keys.values().filter(|surplus| **surplus < 0).sum::<i64>();
    let times = match times {
        2 => "twice".to_owned(),
        times => format!("{times} times"),
    };
    match (extra, missing) {
        (extra, 0) => format!("was applied {times}, {} too many", Inserts(extra.unsigned_abs())),
        (0, missing) => format!("lost {}", Inserts(missing.unsigned_abs())),
        (extra, missing) => {
            let (extra, missing) = (Inserts(extra.unsigned_abs()), Inserts(missing.unsigned_abs()));
            format!("has {extra} too many and lost {missing}")
        }
    }
}

fn sum(added: i64) -> String {
    if added == 0 { "nothing".to_owned() } else { added.to_string() }
}

/// The call, and what befell it.
fn who(call: &Call, origin: BatchId) -> String {
    let mut of = format!("attempt {}", call.attempt);
    if call.batch != origin {
        of = format!("{of} of its part {}", call.batch);
    }
    if call.restarts > 0 {
        of = format!("{of} after restart {}", call.restarts);
    }
    let answer = call.answer.as_deref().unwrap_or("nothing");
    match call.luck {
        Luck::Heard | Luck::UnderWay => format!("{of}, answered {answer}"),
        Luck::Again => format!("{of}, delivered a second time"),
        Luck::AnswerLost => format!("{of}, whose answer {answer} was lost"),
        Luck::Late => format!("{of}, arriving late"),
        Luck::Cancelled(_) if call.answer.is_some() => format!("{of}, answered {answer}"),
        Luck::Cancelled(polls) => format!("{of}, cancelled after poll {polls}"),
    }
}

fn strays(books: &Books) -> impl Iterator<Item = String> {
    let keys: BTreeSet<u32> = books.accounts.keys().map(|(_, key)| *key).collect();
    keys.into_iter().filter(|key| books.stray(*key) != 0).map(|key| {
        let stray = books.stray(key);
        format!("the total of key {key} changed by {stray} while no call was made with it")
    })
}

/// The storage refused nothing, and still something was not delivered.
fn undelivered(books: &Books) -> Option<String> {
    let failed =
        books.calls.iter().rev().find(|call| call.answer.as_deref().is_some_and(|answer| answer != "Ok"))?;
    let what = who(failed, failed.batch);
    Some(format!("batch {} was given up although nothing was wrong with the storage: {what}", failed.batch))
}
