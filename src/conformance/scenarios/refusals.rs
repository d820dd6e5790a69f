//! A storage that refuses keys: batches that go on in parts, or as dead letters.

use super::super::books::Luck;
use super::super::process::Process;
use super::super::subject::Subject;
use super::super::world::World;
use super::KEYS;
use crate::aggregate::Aggregate;
use crate::key::Key;

impl<K: Key, V: Aggregate, S: Subject<K, V>> World<'_, K, V, S> {
    pub(super) async fn poison(&mut self) {
        let mut process = self.start();
        for place in 0..=KEYS {
            let good = self.fresh_keys(KEYS);
            let poisoned = self.poisoned_key();
            let mut keys = good.clone();
            keys.insert(place, poisoned);
            let mut flights = self.launch(&mut process, &keys);
            if place % 2 == 1 {
                self.send_unheard(&process, &mut flights, Luck::AnswerLost).await;
            }
            self.finish(&mut process, flights).await;
            self.deliver_well(&mut process, &good).await;
            self.refuse(None);
        }
        process.retire().await;
    }

    pub(super) async fn void(&mut self) {
        let mut process = self.start();
        let open = self.hold_open(&mut process).await;
        for place in 0..KEYS {
            for first in [Luck::AnswerLost, Luck::UnderWay] {
                for heals_early in [false, true] {
                    self.refuse_the_second(&mut process, place, first, heals_early).await;
                }
            }
        }
        self.finish(&mut process, open).await;
        process.retire().await;
    }

    /// The second attempt meets a storage that refuses a key, and the first is applied before or after that.
    async fn refuse_the_second(
        &mut self,
        process: &mut Process<K, V>,
        place: usize,
        first: Luck,
        heals_early: bool,
    ) {
        let keys = self.fresh_keys(KEYS);
        let mut flights = self.launch(process, &keys);
        let sent = self.send_unheard(process, &mut flights, first).await;
        self.refuse(Some(keys[place]));
        if heals_early {
            let mut rest = Vec::new();
            for mut flight in flights {
                let (_, answer) = self.send(process, &mut flight, Luck::Heard).await;
                rest.extend(self.follow(process, flight, answer).await);
            }
            flights = rest;
            self.refuse(None);
        }
        self.finish(process, flights).await;
        self.refuse(None);
        self.arrive(process, sent).await;
        self.deliver_well(process, &keys).await;
    }
}
