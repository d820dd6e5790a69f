//! The scenarios: each a short script of what happens to batches.

mod late;
mod lives;
mod refusals;
mod resent;
mod storm;
mod zombie;

use super::books::Luck;
use super::process::{Flight, Process, Sent};
use super::scenario::Scenario;
use super::subject::Subject;
use super::world::World;
use crate::aggregate::Aggregate;
use crate::key::Key;

/// Keys of a batch, if the sink takes batches.
const KEYS: usize = 4;

impl<K: Key, V: Aggregate, S: Subject<K, V>> World<'_, K, V, S> {
    pub(super) async fn act(&mut self, scenario: Scenario) {
        match scenario {
            Scenario::Plain => self.plain().await,
            Scenario::Twice => self.twice().await,
            Scenario::AnswerLost => self.answer_lost().await,
            Scenario::Cancelled => self.cancelled().await,
            Scenario::OutOfOrder => self.out_of_order().await,
            Scenario::Overtaken => self.overtaken().await,
            Scenario::LateArrival => self.late_arrival().await,
            Scenario::LongOpen => self.long_open().await,
            Scenario::Restart => self.restarts().await,
            Scenario::Zombie => self.zombie().await,
            Scenario::Instances => self.instances().await,
            Scenario::Poison => self.poison().await,
            Scenario::Void => self.void().await,
            Scenario::Storm => self.storm().await,
        }
    }

    /// New inserts into these keys, delivered without a fault.
    async fn deliver_well(&mut self, process: &mut Process<K, V>, keys: &[u32]) {
        let flights = self.launch(process, keys);
        self.finish(process, flights).await;
    }

    /// An attempt of each batch, of whose outcome the buffer hears nothing.
    async fn send_unheard(
        &mut self,
        process: &Process<K, V>,
        flights: &mut [Flight<K, V>],
        luck: Luck,
    ) -> Vec<Sent<K, V>> {
        let mut sent = Vec::new();
        for flight in flights {
            sent.push(self.send(process, flight, luck).await.0);
        }
        sent
    }

    /// A batch that stays open: as long as it does, nothing younger is settled, and no record of that pruned.
    async fn hold_open(&mut self, process: &mut Process<K, V>) -> Vec<Flight<K, V>> {
        let keys = self.fresh_keys(1);
        let mut flights = self.launch(process, &keys);
        self.send_unheard(process, &mut flights, Luck::UnderWay).await;
        flights
    }

    /// Whether an attempt can arrive that nobody waits for any more.
    fn may_arrive(&self, process: &Process<K, V>, sent: &Sent<K, V>) -> bool {
        let settled = sent.batch.id().sequence < process.settled_below();
        self.may(if settled { Scenario::LateArrival } else { Scenario::Overtaken })
    }

    /// Attempts arrive that nobody waits for any more.
    async fn arrive(&mut self, process: &Process<K, V>, mut sent: Vec<Sent<K, V>>) {
        sent.retain(|attempt| self.may_arrive(process, attempt));
        for attempt in sent {
            // Whoever wanted to know the answer is gone.
            let _ = self.deliver(process, &attempt, Luck::Late).await;
        }
    }
}
