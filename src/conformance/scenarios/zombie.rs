//! Processes that were replaced, and do not know it.

use super::super::books::Luck;
use super::super::process::{Flight, Process, Sent};
use super::super::subject::Subject;
use super::super::world::World;
use super::KEYS;
use crate::aggregate::Aggregate;
use crate::dead_letter::About;
use crate::failure::FailureCause;
use crate::key::Key;

impl<K: Key, V: Aggregate, S: Subject<K, V>> World<'_, K, V, S> {
    pub(super) async fn zombie(&mut self) {
        self.replaced_before_it_began().await;
        self.replaced_when_it_was_done().await;
        let mut process = self.start();
        for _ in 0..3 {
            process = self.replaced_at_work(process).await;
        }
        process.retire().await;
    }

    /// It has never said a word to the storage.
    async fn replaced_before_it_began(&mut self) {
        let mut zombie = self.start();
        let (mut successor, _) = self.take_over(&mut zombie, &[]);
        let keys = self.fresh_keys(KEYS);
        self.deliver_well(&mut successor, &keys).await;
        self.haunt(&mut zombie).await;
        self.deliver_well(&mut successor, &keys).await;
        zombie.retire().await;
        self.deliver_well(&mut successor, &keys).await;
        successor.retire().await;
    }

    /// Everything of it is applied, and it ends in order; but its successor does not know that yet.
    async fn replaced_when_it_was_done(&mut self) {
        let mut zombie = self.start();
        let keys = self.fresh_keys(KEYS);
        let flights = self.launch(&mut zombie, &keys);
        let inherited: Vec<_> = flights.iter().map(Flight::inherit).collect();
        self.finish(&mut zombie, flights).await;
        let (mut successor, inherited) = self.take_over(&mut zombie, &inherited);
        let others = self.fresh_keys(KEYS);
        self.deliver_well(&mut successor, &others).await;
        zombie.retire().await;
        self.finish(&mut successor, inherited).await;
        self.deliver_well(&mut successor, &others).await;
        successor.retire().await;
    }

    /// It has batches under way, of which some are applied.
    async fn replaced_at_work(&mut self, mut zombie: Process<K, V>) -> Process<K, V> {
        let keys = self.fresh_keys(KEYS);
        self.deliver_well(&mut zombie, &keys).await;
        let (again, mut late) = self.in_doubt(&mut zombie).await;
        let (given_up, more) = self.in_doubt(&mut zombie).await;
        late.extend(more);
        let flights: Vec<_> = again.iter().chain(&given_up).map(Flight::inherit).collect();
        let (mut successor, inherited) = self.take_over(&mut zombie, &flights);
        self.deliver_well(&mut successor, &keys).await;
        for flight in given_up {
            let about = in_doubt(zombie.epoch, &flight);
            self.give_up(&mut zombie, flight, about).await;
        }
        self.finish(&mut zombie, again).await;
        self.haunt(&mut zombie).await;
        self.arrive(&zombie, late.clone()).await;
        self.finish(&mut successor, inherited).await;
        self.deliver_well(&mut successor, &keys).await;
        self.arrive(&zombie, late).await;
        zombie.retire().await;
        self.deliver_well(&mut successor, &keys).await;
        successor
    }

    /// Batches of which one half is applied and the other is not, and nobody has heard of either.
    async fn in_doubt(&mut self, process: &mut Process<K, V>) -> (Vec<Flight<K, V>>, Vec<Sent<K, V>>) {
        let (keys, others) = (self.fresh_keys(KEYS), self.fresh_keys(KEYS));
        let mut flights = self.launch(process, &keys);
        let mut sent = self.send_unheard(process, &mut flights, Luck::AnswerLost).await;
        let mut rest = self.launch(process, &others);
        sent.extend(self.send_unheard(process, &mut rest, Luck::UnderWay).await);
        flights.append(&mut rest);
        (flights, sent)
    }

    /// New batches of a process that was replaced, under more ids than its successor has used.
    async fn haunt(&mut self, zombie: &mut Process<K, V>) {
        for _ in 0..5 {
            let keys = self.fresh_keys(KEYS);
            self.deliver_well(zombie, &keys).await;
        }
    }
}

fn in_doubt<K, V>(epoch: u64, flight: &Flight<K, V>) -> About {
    let cause = FailureCause::Panicked("nobody has heard of it".into());
    About { batch: flight.id(), epoch, attempts: flight.attempts, cause, may_be_applied: true }
}
