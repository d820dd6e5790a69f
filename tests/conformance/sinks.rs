//! The same sink in four kinds.

use std::sync::Mutex;

use tokio::task::yield_now;
use write_behind::{
    AsyncBatchDataBuffer, AsyncDataBuffer, BatchDataBuffer, DataBuffer, DeadLetter, FlushBatch, FlushContext,
    FlushError, Retirement, Sum, Verdict,
};

use crate::store::{End, Flaw, Ledger, Statement, Store};

type Batch = FlushBatch<String, Sum<i64>>;

pub(crate) struct Client {
    store: Store,
    flaw: Flaw,
    memory: Mutex<Ledger>,
}

pub(crate) struct ByKey(pub(crate) Client);
pub(crate) struct ByBatch(pub(crate) Client);
pub(crate) struct AsyncByKey(pub(crate) Client);
pub(crate) struct AsyncByBatch(pub(crate) Client);

impl Client {
    pub(crate) fn new(store: &Store, flaw: Flaw) -> Self {
        Client { store: store.clone(), flaw, memory: Mutex::default() }
    }

    fn apply(&self, statement: &Statement) -> End {
        self.store.apply(statement, self.flaw, &self.memory)
    }

    async fn apply_async(&self, statement: &Statement) -> End {
        yield_now().await;
        let torn = matches!(self.flaw, Flaw::AddsThenRecords | Flaw::RecordsThenAdds);
        if !torn {
            let end = self.apply(statement);
            yield_now().await;
            return end;
        }
        if !self.store.knows(statement) {
            let adds_first = self.flaw == Flaw::AddsThenRecords;
            if adds_first {
                self.store.only_add(statement)
            } else {
                self.store.only_record(statement)
            }
            yield_now().await;
            if adds_first { self.store.only_record(statement) } else { self.store.only_add(statement) }
        }
        End::Done
    }

    fn judge(&self, letter: DeadLetter<String, Sum<i64>>) -> Verdict<String, Sum<i64>> {
        match self.flaw {
            Flaw::Requeues => Verdict::Requeue(letter),
            Flaw::Forgets => Verdict::Forget,
            _ => Verdict::Keep(letter),
        }
    }
}

fn one(key: &str, data: &Sum<i64>, context: &FlushContext) -> Statement {
    let rows = vec![(key.to_owned(), data.0)];
    Statement { id: context.id(), settled_below: context.settled_below(), rows }
}

fn many(batch: &Batch) -> Statement {
    let rows = batch.entries().iter().map(|entry| (entry.key().clone(), entry.data().0)).collect();
    Statement { id: batch.id(), settled_below: batch.settled_below(), rows }
}

fn of_one(end: End) -> Result<(), FlushError> {
    match end {
        End::Done => Ok(()),
        End::Failed(error) => Err(error),
        End::FailedAt(_) => Err("refused".into()),
    }
}

fn of_many(batch: &Batch, end: End) -> Result<(), FlushError> {
    match end {
        End::Done => Ok(()),
        End::Failed(error) => Err(error),
        End::FailedAt(places) => FlushError::entries(
            places.iter().map(|place| batch.entries()[*place].failed(FlushError::not_applied("refused"))),
        ),
    }
}

impl DataBuffer<String, Sum<i64>> for ByKey {
    fn handle_flush(&self, key: &String, data: &Sum<i64>, context: &FlushContext) -> Result<(), FlushError> {
        of_one(self.0.apply(&one(key, data, context)))
    }

    fn handle_error(&self, letter: DeadLetter<String, Sum<i64>>) -> Verdict<String, Sum<i64>> {
        self.0.judge(letter)
    }

    fn handle_retired(&self, retirement: &Retirement) {
        self.0.store.retire(retirement, self.0.flaw);
    }
}

impl BatchDataBuffer<String, Sum<i64>> for ByBatch {
    fn handle_flush_batch(&self, batch: &Batch) -> Result<(), FlushError> {
        of_many(batch, self.0.apply(&many(batch)))
    }

    fn handle_error(&self, letter: DeadLetter<String, Sum<i64>>) -> Verdict<String, Sum<i64>> {
        self.0.judge(letter)
    }

    fn handle_retired(&self, retirement: &Retirement) {
        self.0.store.retire(retirement, self.0.flaw);
    }
}

impl AsyncDataBuffer<String, Sum<i64>> for AsyncByKey {
    async fn handle_flush(
        &self,
        key: &String,
        data: &Sum<i64>,
        context: &FlushContext,
    ) -> Result<(), FlushError> {
        of_one(self.0.apply_async(&one(key, data, context)).await)
    }

    async fn handle_error(&self, letter: DeadLetter<String, Sum<i64>>) -> Verdict<String, Sum<i64>> {
        yield_now().await;
        self.0.judge(letter)
    }

    async fn handle_retired(&self, retirement: &Retirement) {
        self.0.store.retire(retirement, self.0.flaw);
    }
}

impl AsyncBatchDataBuffer<String, Sum<i64>> for AsyncByBatch {
    async fn handle_flush_batch(&self, batch: &Batch) -> Result<(), FlushError> {
        let end = self.0.apply_async(&many(batch)).await;
        of_many(batch, end)
    }

    async fn handle_error(&self, letter: DeadLetter<String, Sum<i64>>) -> Verdict<String, Sum<i64>> {
        yield_now().await;
        self.0.judge(letter)
    }

    async fn handle_retired(&self, retirement: &Retirement) {
        self.0.store.retire(retirement, self.0.flaw);
    }
}
