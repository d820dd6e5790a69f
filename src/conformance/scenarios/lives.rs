//! Processes that die, and several that live beside each other.

use super::super::books::Luck;
use super::super::subject::Subject;
use super::super::world::World;
use super::KEYS;
use crate::aggregate::Aggregate;
use crate::key::Key;

impl<K: Key, V: Aggregate, S: Subject<K, V>> World<'_, K, V, S> {
    pub(super) async fn restarts(&mut self) {
        let mut process = self.start();
        let open = self.hold_open(&mut process).await;
        for _ in 0..2 {
            let (settled, applied, not_applied) =
                (self.fresh_keys(KEYS), self.fresh_keys(KEYS), self.fresh_keys(KEYS));
            self.deliver_well(&mut process, &settled).await;
            let mut flights = self.launch(&mut process, &applied);
            self.send_unheard(&process, &mut flights, Luck::AnswerLost).await;
            let mut others = self.launch(&mut process, &not_applied);
            let under_way = self.send_unheard(&process, &mut others, Luck::UnderWay).await;
            self.restart(&mut process);
            flights.append(&mut others);
            flights.iter_mut().for_each(|flight| flight.attempts = 0);
            self.finish(&mut process, flights).await;
            self.deliver_well(&mut process, &not_applied).await;
            self.arrive(&process, under_way).await;
            self.deliver_well(&mut process, &applied).await;
        }
        self.finish(&mut process, open).await;
        process.retire().await;
    }

    /// The sequences of all instances begin with 1, and they write to the same keys.
    pub(super) async fn instances(&mut self) {
        let (mut one, mut other) = (self.start(), self.start());
        let keys = self.fresh_keys(KEYS);
        for _ in 0..3 {
            self.deliver_well(&mut one, &keys).await;
            self.deliver_well(&mut other, &keys).await;
        }
        one.skip(1_000_000);
        for _ in 0..3 {
            self.deliver_well(&mut one, &keys).await;
        }
        let mut open = self.launch(&mut other, &keys);
        self.send_unheard(&other, &mut open, Luck::AnswerLost).await;
        one.retire().await;
        self.finish(&mut other, open).await;
        let mut third = self.start();
        for _ in 0..3 {
            self.deliver_well(&mut third, &keys).await;
            self.deliver_well(&mut other, &keys).await;
        }
        other.retire().await;
        third.retire().await;
    }
}
