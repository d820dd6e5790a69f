//! Batches that are delivered once, and more than once.

use super::super::books::Luck;
use super::super::subject::Subject;
use super::super::world::World;
use super::KEYS;
use super::storm::may_arrive_again;
use crate::aggregate::Aggregate;
use crate::key::Key;

/// A callback that is still not done after so many polls is cancelled no later.
const MOST_POLLS: u32 = 200;

impl<K: Key, V: Aggregate, S: Subject<K, V>> World<'_, K, V, S> {
    pub(super) async fn plain(&mut self) {
        let mut process = self.start();
        let groups = [self.fresh_keys(KEYS), self.fresh_keys(1), self.fresh_keys(KEYS)];
        for _ in 0..3 {
            for keys in &groups {
                self.deliver_well(&mut process, keys).await;
            }
        }
        process.retire().await;
    }

    pub(super) async fn twice(&mut self) {
        let mut process = self.start();
        let keys = self.fresh_keys(KEYS);
        for _ in 0..3 {
            let mut flights = self.launch(&mut process, &keys);
            while let Some(mut flight) = flights.pop() {
                let (sent, answer) = self.send(&process, &mut flight, Luck::Heard).await;
                if may_arrive_again(answer.as_ref()) {
                    let _ = self.deliver(&process, &sent, Luck::Again).await;
                }
                flights.extend(self.follow(&mut process, flight, answer).await);
            }
        }
        process.retire().await;
    }

    pub(super) async fn answer_lost(&mut self) {
        let mut process = self.start();
        for losses in 1..=3 {
            let (keys, others) = (self.fresh_keys(KEYS), self.fresh_keys(KEYS));
            let mut flights = self.launch(&mut process, &keys);
            for _ in 0..losses {
                self.send_unheard(&process, &mut flights, Luck::AnswerLost).await;
                self.deliver_well(&mut process, &others).await;
            }
            self.finish(&mut process, flights).await;
            self.deliver_well(&mut process, &keys).await;
        }
        process.retire().await;
    }

    pub(super) async fn cancelled(&mut self) {
        let mut process = self.start();
        let keys = self.fresh_keys(KEYS);
        for polls in 1..=MOST_POLLS {
            let mut completed = true;
            let mut flights = self.launch(&mut process, &keys);
            let mut rest = Vec::new();
            while let Some(mut flight) = flights.pop() {
                let (_, answer) = self.send(&process, &mut flight, Luck::Cancelled(polls)).await;
                completed &= answer.is_some();
                rest.extend(self.follow(&mut process, flight, answer).await);
            }
            self.finish(&mut process, rest).await;
            if completed {
                break;
            }
        }
        process.retire().await;
    }
}
