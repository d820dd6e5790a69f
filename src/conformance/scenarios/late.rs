//! Attempts and batches that overtake each other.

use super::super::books::Luck;
use super::super::subject::Subject;
use super::super::world::World;
use super::KEYS;
use crate::aggregate::Aggregate;
use crate::key::Key;

/// How many batches are settled while an older one is open.
const YOUNGER: usize = 100;

impl<K: Key, V: Aggregate, S: Subject<K, V>> World<'_, K, V, S> {
    pub(super) async fn out_of_order(&mut self) {
        let mut process = self.start();
        let groups: Vec<_> = (0..4).map(|_| self.fresh_keys(KEYS)).collect();
        for _ in 0..2 {
            let mut batches: Vec<_> = Vec::new();
            for keys in &groups {
                batches.extend(self.launch(&mut process, keys));
            }
            // The youngest first: `finish` takes them from the end.
            self.finish(&mut process, batches).await;
        }
        process.retire().await;
    }

    pub(super) async fn overtaken(&mut self) {
        let mut process = self.start();
        let open = self.hold_open(&mut process).await;
        for _ in 0..3 {
            let keys = self.fresh_keys(KEYS);
            let mut flights = self.launch(&mut process, &keys);
            let under_way = self.send_unheard(&process, &mut flights, Luck::UnderWay).await;
            self.finish(&mut process, flights).await;
            self.deliver_well(&mut process, &keys).await;
            self.arrive(&process, under_way).await;
        }
        self.finish(&mut process, open).await;
        process.retire().await;
    }

    pub(super) async fn late_arrival(&mut self) {
        let mut process = self.start();
        for gap in [0, 100, 1_000_000] {
            let keys = self.fresh_keys(KEYS);
            let mut flights = self.launch(&mut process, &keys);
            let mut late = self.send_unheard(&process, &mut flights, Luck::UnderWay).await;
            late.extend(self.send_unheard(&process, &mut flights, Luck::AnswerLost).await);
            self.finish(&mut process, flights).await;
            process.skip(gap);
            // These tell the sink that the others are settled.
            let younger = self.fresh_keys(KEYS);
            for _ in 0..3 {
                self.deliver_well(&mut process, &younger).await;
            }
            self.arrive(&process, late).await;
        }
        process.retire().await;
    }

    pub(super) async fn long_open(&mut self) {
        let mut process = self.start();
        for gap in [0, 1_000_000] {
            let (applied, not_applied) = (self.fresh_keys(KEYS), self.fresh_keys(KEYS));
            let mut applied = self.launch(&mut process, &applied);
            self.send_unheard(&process, &mut applied, Luck::AnswerLost).await;
            let mut not_applied = self.launch(&mut process, &not_applied);
            self.send_unheard(&process, &mut not_applied, Luck::UnderWay).await;
            process.skip(gap);
            let younger = self.fresh_keys(1);
            for _ in 0..YOUNGER {
                self.deliver_well(&mut process, &younger).await;
            }
            self.finish(&mut process, applied).await;
            self.finish(&mut process, not_applied).await;
        }
        process.retire().await;
    }
}
