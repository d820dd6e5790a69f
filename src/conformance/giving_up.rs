//! `handle_error`, and what follows from its verdict, as in a buffer.

use std::rc::Rc;
use std::sync::{Arc, PoisonError};

use super::process::{Flight, Lot, Process};
use super::subject::Subject;
use super::world::World;
use crate::aggregate::Aggregate;
use crate::dead_letter::{About, DeadLetter, Rescued, Verdict};
use crate::key::Key;

/// How often `handle_error` may put data back before the buffer is shutting down, when it is kept instead.
const REQUEUES: u32 = 2;

/// What was decided about a key.
enum Fate {
    Back,
    Kept,
    Gone,
}

/// What `handle_error` has made of a letter.
struct Handed {
    fate: Fate,
    /// It is known for certain now that nothing of it was or will be applied.
    certain: bool,
}

impl<K: Key, V: Aggregate, S: Subject<K, V>> World<'_, K, V, S> {
    /// Hands all keys of a batch to `handle_error`. What is to be sent after that.
    pub(super) async fn give_up(
        &mut self,
        process: &mut Process<K, V>,
        flight: Flight<K, V>,
        about: About,
    ) -> Vec<Flight<K, V>> {
        if process.replaced {
            self.give_up_of_another(process, &flight, &about).await;
            return Vec::new();
        }
        let (mut back, mut kept, mut whole) = (Vec::new(), Vec::new(), true);
        for (index, lot) in (0..).zip(&*flight.lots) {
            match self.hand_over(process, lot, index, &about).await.fate {
                Fate::Back if flight.requeued < REQUEUES => back.push(*lot),
                Fate::Back | Fate::Kept => kept.push(*lot),
                Fate::Gone => {
                    whole = false;
                    self.books.handed(flight.origin, lot, about.may_be_applied);
                }
            }
        }
        if about.may_be_applied && whole && kept.is_empty() {
            // An id stands for all of its content: it is sent again whole or not at all.
            return vec![Flight { attempts: 0, frozen: true, requeued: flight.requeued + 1, ..flight }];
        }
        if about.may_be_applied {
            kept.append(&mut back);
        }
        self.keep(process, &flight, &kept, about.may_be_applied);
        let back = back.into_iter().map(|lot| {
            let again = self.flight(process.reserve(), Rc::from([lot]), flight.origin);
            Flight { requeued: flight.requeued + 1, ..again }
        });
        let back = back.collect();
        if kept.is_empty() {
            process.end(flight.id());
        }
        back
    }

    /// A process that was replaced gives up what its successor has. Kept whole it does no harm; disposed of, or kept as
    /// what is certain not to count, it does when the successor has it applied.
    async fn give_up_of_another(
        &mut self,
        process: &mut Process<K, V>,
        flight: &Flight<K, V>,
        about: &About,
    ) {
        for (index, lot) in (0..).zip(&*flight.lots) {
            let Handed { fate, certain } = self.hand_over(process, lot, index, about).await;
            process.undelivered += lot.amount.unsigned_abs();
            if certain || matches!(fate, Fate::Gone) {
                self.books.handed(flight.origin, lot, false);
            }
        }
    }

    /// Kept as undelivered. The id stays open.
    fn keep(
        &mut self,
        process: &mut Process<K, V>,
        flight: &Flight<K, V>,
        lots: &[Lot],
        may_be_applied: bool,
    ) {
        for lot in lots {
            process.undelivered += lot.amount.unsigned_abs();
            self.books.handed(flight.origin, lot, may_be_applied);
        }
    }

    async fn hand_over(&self, process: &Process<K, V>, lot: &Lot, index: u32, about: &About) -> Handed {
        let rescued = Rescued::default();
        let letter = DeadLetter::new(self.entry(lot, index), about.clone(), Arc::clone(&rescued));
        let verdict = process.callbacks.handle_error(letter).await;
        let requeues = matches!(verdict, Some(Verdict::Requeue(_)));
        let forgets = matches!(verdict, Some(Verdict::Forget));
        let certain = match &verdict {
            Some(Verdict::Keep(letter) | Verdict::Requeue(letter)) => {
                about.may_be_applied && !letter.may_be_applied()
            }
            _ => false,
        };
        // What is in the verdict goes where the rest is to be found.
        drop(verdict);
        let left = rescued.lock().unwrap_or_else(PoisonError::into_inner).take();
        let fate = match left {
            None => Fate::Gone,
            Some(_) if forgets => Fate::Gone,
            Some(_) if requeues => Fate::Back,
            Some(_) => Fate::Kept,
        };
        Handed { fate, certain }
    }
}
