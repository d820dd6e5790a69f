use super::*;
use crate::failure::FailureCause;

const FIRST: Attempt = Attempt { number: 1, keys: 2, frozen: false, draining: false, whole: false };

fn failed(effect: Effect) -> Failure {
    Failure { effect, ..Failure::unknown(FailureCause::Panicked("".into())) }
}

#[test]
fn what_may_be_applied_is_sent_again_and_what_was_not_is_split() {
    let policy = RetryPolicy::fixed(2, Duration::from_secs(3));
    let (again, split) = (Next::Again(Duration::from_secs(3)), Next::Split(Duration::from_secs(3)));
    let frozen = Attempt { frozen: true, ..FIRST };
    let alone = Attempt { keys: 1, ..FIRST };
    for (effect, first, frozen_too, one_key) in [
        (Effect::Unknown, again, again, again),
        (Effect::NotApplied, split, again, again),
        (Effect::NeverApplied, Next::Split(Duration::ZERO), Next::Split(Duration::ZERO), split),
    ] {
        let next = |attempt| policy.next(&failed(effect), attempt, 0.0);
        assert_eq!([next(FIRST), next(frozen), next(alone)], [first, frozen_too, one_key], "{effect:?}");
    }
}

#[test]
fn the_last_attempt_is_given_up_but_halves_get_one_of_their_own() {
    let policy = RetryPolicy::never();
    assert_eq!(policy.next(&failed(Effect::Unknown), FIRST, 0.0), Next::GiveUp);
    assert_eq!(policy.next(&failed(Effect::NotApplied), FIRST, 0.0), Next::Split(Duration::ZERO));
    let alone = Attempt { keys: 1, ..FIRST };
    assert_eq!(policy.next(&failed(Effect::NeverApplied), alone, 0.0), Next::GiveUp);
}

#[test]
fn what_is_to_stay_whole_does_until_its_attempts_are_spent() {
    let policy = RetryPolicy::fixed(2, Duration::from_secs(3));
    let whole = Attempt { whole: true, ..FIRST };
    let next = |number, effect| policy.next(&failed(effect), Attempt { number, ..whole }, 0.0);
    assert_eq!(next(1, Effect::NotApplied), Next::Again(Duration::from_secs(3)));
    assert_eq!(next(2, Effect::NotApplied), Next::Split(Duration::ZERO));
    assert_eq!(next(1, Effect::NeverApplied), Next::Split(Duration::ZERO), "it is there, and has looked");
}

#[test]
fn what_is_hopeless_is_given_up_at_once_whatever_the_policy() {
    let failure = Failure { hopeless: true, ..failed(Effect::NotApplied) };
    let draining = Attempt { draining: true, ..FIRST };
    for attempt in [FIRST, draining] {
        assert_eq!(RetryPolicy::default().next(&failure, attempt, 0.0), Next::GiveUp);
    }
}

#[test]
fn draining_goes_on_however_many_attempts_there_were_and_waits_for_less() {
    let draining = |number| Attempt { number, draining: true, ..FIRST };
    let next = |policy: &RetryPolicy, number| policy.next(&failed(Effect::Unknown), draining(number), 0.0);
    let policy = RetryPolicy::never();
    let waits = [1, 2, 3, 4, 5, 6, u32::MAX].map(|number| next(&policy, number));
    assert_eq!(
        waits,
        [50, 100, 200, 400, 800, 1_000, 1_000].map(|ms| Next::Again(Duration::from_millis(ms)))
    );
    let hasty = RetryPolicy::fixed(9, Duration::from_millis(7));
    assert_eq!(next(&hasty, 3), Next::Again(Duration::from_millis(7)), "the policy's own is shorter");
    assert_eq!(next(&hasty, 9), Next::Again(Duration::from_millis(50)), "and is over then");
}

#[test]
fn waits_grow_by_the_factor_up_to_the_cap() {
    let policy = RetryPolicy::new().cap(Duration::from_secs(5)).jitter(0.0);
    let waits: Vec<_> = (1..=5).map(|attempts| policy.wait(attempts, 0.9).as_secs()).collect();
    assert_eq!(waits, [1, 2, 4, 5, 5]);
    assert_eq!(policy.wait(u32::MAX, 0.0), Duration::from_secs(5));
    assert_eq!(policy.delay(Duration::ZERO).wait(u32::MAX, 0.0), Duration::ZERO);
}

#[test]
fn jitter_only_adds() {
    let policy = RetryPolicy::new().jitter(0.5);
    assert_eq!(policy.wait(1, 0.0), Duration::from_secs(1));
    assert_eq!(policy.wait(1, 1.0), Duration::from_millis(1_500));
}

#[test]
fn attempts_are_counted_exactly() {
    let policy = RetryPolicy::new().attempts(3);
    assert!(policy.allows_another(2));
    assert!(!policy.allows_another(3));
    assert!(!RetryPolicy::never().allows_another(1));
    assert!(RetryPolicy::default().allows_another(u32::MAX));
}

#[test]
fn a_fixed_delay_is_kept_however_long_it_is() {
    let policy = RetryPolicy::fixed(3, Duration::from_secs(60));
    assert_eq!(policy.wait(1, 1.0), Duration::from_secs(60));
    assert_eq!(policy.problem(), None);
}

#[test]
fn nonsense_is_named() {
    for (policy, word) in [
        (RetryPolicy::new().delay(Duration::from_secs(31)), "cap"),
        (RetryPolicy::new().attempts(0), "attempt"),
        (RetryPolicy::new().factor(0.5), "factor"),
        (RetryPolicy::new().factor(f64::NAN), "factor"),
        (RetryPolicy::new().jitter(-0.1), "jitter"),
        (RetryPolicy::fixed(2, Duration::MAX), "days"),
    ] {
        assert!(policy.problem().expect("refused").contains(word));
    }
    assert_eq!(RetryPolicy::default().problem(), None);
}
