use std::time::Duration;

use deadpool_postgres::{ClientWrapper, Transaction};
use tokio_postgres::Row;
use write_behind::exactly_once::Fate;
use write_behind::{BatchId, Writer};

use crate::error::Error;
use crate::name::TableName;

/// The two small tables that make a batch count once: where they are, and for how long they remember instances
/// that are never heard of again. All stores of one database may share them.
///
/// ```
/// use std::time::Duration;
/// use write_behind_postgres::Ledger;
///
/// let ledger = Ledger::new().schema("statistics").name("bookkeeping");
/// assert_eq!(ledger.fates(), "\"statistics\".\"bookkeeping_fates\"");
/// let ledger = ledger.forget_after(Duration::from_secs(30 * 86_400));
/// # let _ = ledger;
/// ```
#[derive(Debug, Clone)]
pub struct Ledger {
    schema: Option<String>,
    name: String,
    forget_after: Duration,
}

impl Default for Ledger {
    fn default() -> Self {
        let forget_after = Duration::from_secs(90 * 86_400);
        Ledger { schema: None, name: "write_behind".to_owned(), forget_after }
    }
}

impl Ledger {
    /// The default ledger.
    #[must_use]
    pub fn new() -> Self {
        Ledger::default()
    }

    /// What the tables' names begin with; `_writers` and `_fates` follow. Default: `write_behind`. Quoted.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The schema that they are in, which must be there. Default: the first of the search path. Quoted.
    #[must_use]
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// Instances that have shown no sign of life for so long are forgotten when another one begins: those of
    /// processes that were killed. Default: 90 days. **A batch that is in doubt for longer stays undelivered**:
    /// choose more than the longest outage that is to be survived.
    ///
    /// Instances that were started again, with a higher epoch than 1, are never forgotten for that: they may come back.
    #[must_use]
    pub fn forget_after(mut self, silence: Duration) -> Self {
        self.forget_after = silence;
        self
    }

    /// The table of fates, quoted, for a read that asks in one statement for a row and whether the batch in flight
    /// is in it: columns `instance`, `sequence` (both `bigint`, the instance `as i64`) and `fate`, a text that
    /// [`Fate`] reads.
    #[must_use]
    pub fn fates(&self) -> String {
        self.table("_fates")
    }

    fn table(&self, ending: &str) -> String {
        TableName { schema: self.schema.clone(), table: format!("{}{ending}", self.name) }.quoted()
    }

    pub(crate) fn statements(&self) -> Statements {
        Statements::new(self.table("_writers"), self.fates(), self.forget_after)
    }
}

#[derive(Debug)]
pub(crate) struct Statements {
    writers: String,
    fates: String,
    /// In seconds.
    silence: f64,
    register: String,
    forget: String,
    /// Common table expressions: `fresh` has a row if the batch may be applied, and is recorded as applied.
    pub(crate) applied: String,
    void: String,
    look: String,
    correct: String,
    prune: String,
    retire: String,
}

impl Statements {
    /// `for share` waits for a pruning or a registration under way and then sees what it wrote; a plain read would see
    /// the state before it. A registration in turn waits for it, so that nobody takes over in the middle of a batch. Inserting the fate waits for another attempt of the same batch that is still under way, such as
    /// one that was cancelled here and goes on there, and then finds what that one recorded.
    ///
    /// Where two tables change in one statement, the second change depends on the first, so that the lock on the
    /// instance is taken first: whoever waits for it finds both done.
    fn new(writers: String, fates: String, forget_after: Duration) -> Self {
        let lane = format!(
            "with lane as (
                 select instance from {writers} where instance = $1 and gate <= $2 and epoch = $3 for share)"
        );
        Statements {
            silence: forget_after.as_secs_f64(),
            register: format!(
                "insert into {writers} as old (instance, gate, epoch) values ($1, 0, $2)
                 on conflict (instance) do update
                     set epoch = greatest(old.epoch, excluded.epoch), seen_at = now()
                 returning epoch"
            ),
            forget: format!(
                "with dead as (
                     delete from {writers} where epoch = 1 and seen_at < now() - make_interval(secs => $1)
                     returning instance)
                 delete from {fates} as old using dead where old.instance = dead.instance"
            ),
            applied: format!(
                "{lane}, fresh as (
                     insert into {fates} (instance, sequence, fate) select instance, $2, 'applied' from lane
                     on conflict do nothing returning sequence)"
            ),
            void: format!(
                "{lane} insert into {fates} (instance, sequence, fate) select instance, $2, 'void' from lane
                 on conflict do nothing"
            ),
            look: format!(
                "select epoch, gate, (select fate from {fates} where instance = $1 and sequence = $2)
                 from {writers} where instance = $1"
            ),
            correct: format!("update {fates} set fate = $3 where instance = $1 and sequence = $2"),
            prune: format!(
                "with lane as (
                     update {writers} set gate = greatest(gate, $2), seen_at = now()
                     where instance = $1 and epoch <= $3 returning instance, gate)
                 delete from {fates} as old using lane where old.instance = lane.instance and sequence < lane.gate"
            ),
            retire: format!(
                "with lane as (
                     delete from {writers} where instance = $1 and epoch <= $2 returning instance)
                 delete from {fates} as old using lane where old.instance = lane.instance"
            ),
            writers,
            fates,
        }
    }

    pub(crate) async fn set_up(&self, step: &Transaction<'_>) -> Result<(), Error> {
        let (writers, fates) = (&self.writers, &self.fates);
        let create = format!(
            "create table {writers} (
                instance bigint primary key, gate bigint not null, epoch bigint not null,
                seen_at timestamptz not null default now())"
        );
        create_if_missing(step, writers, &create).await?;
        let create = format!(
            "create table {fates} (
                instance bigint, sequence bigint, fate text not null, primary key (instance, sequence))"
        );
        create_if_missing(step, fates, &create).await
    }

    pub(crate) async fn register(&self, client: &ClientWrapper, writer: Writer) -> Result<u64, Error> {
        let (instance, epoch) = of_writer(writer);
        let highest: i64 = client.query_one(&self.register, &[&instance, &epoch]).await?.get(0);
        client.execute(&self.forget, &[&self.silence]).await?;
        Ok(highest.unsigned_abs())
    }

    /// Records the batch as applied if it may be applied.
    pub(crate) async fn begin(
        &self,
        step: &Transaction<'_>,
        batch: BatchId,
        epoch: u64,
    ) -> Result<bool, Error> {
        let (instance, sequence, epoch) = in_columns(batch, epoch);
        let begin = step.prepare_cached(&format!("{} select sequence from fresh", self.applied)).await?;
        Ok(step.query_opt(&begin, &[&instance, &sequence, &epoch]).await?.is_some())
    }

    /// What became of the batch that was recorded as applied, if it is something else.
    pub(crate) async fn correct(
        &self,
        step: &Transaction<'_>,
        batch: BatchId,
        fate: &Fate,
    ) -> Result<(), Error> {
        let (instance, sequence, _) = in_columns(batch, 0);
        step.execute(&self.correct, &[&instance, &sequence, &fate.to_string()]).await?;
        Ok(())
    }

    pub(crate) async fn void(
        &self,
        client: &ClientWrapper,
        batch: BatchId,
        epoch: u64,
    ) -> Result<Fate, Error> {
        let (instance, sequence, asking) = in_columns(batch, epoch);
        client.execute(&self.void, &[&instance, &sequence, &asking]).await?;
        self.look(client, batch, epoch).await
    }

    /// What the ledger says of a batch that could not be recorded, or has been.
    pub(crate) async fn look(
        &self,
        client: &ClientWrapper,
        batch: BatchId,
        epoch: u64,
    ) -> Result<Fate, Error> {
        let (instance, sequence, asking) = in_columns(batch, epoch);
        let row: Option<Row> = client.query_opt(&self.look, &[&instance, &sequence]).await?;
        let Some(row) = row else { return Ok(Fate::Unregistered) };
        let (highest, gate, fate): (i64, i64, Option<&str>) = (row.get(0), row.get(1), row.get(2));
        match fate {
            _ if highest > asking => Ok(Fate::Superseded { by: highest.unsigned_abs() }),
            _ if highest < asking => Ok(Fate::Unregistered),
            Some(fate) => Ok(fate.parse()?),
            None if sequence < gate => Ok(Fate::Settled),
            // Registered in this very moment by somebody else.
            None => Err(Error::Definition(format!("the ledger has changed its mind about {batch}"))),
        }
    }

    /// A query, and in the last column the fate of a batch whose instance and sequence are the parameters of these numbers.
    pub(crate) fn beside_fate(&self, query: &str, instance: usize, sequence: usize) -> String {
        format!(
            "select found.*, ledger.fate from
                 (select (select fate from {} where instance = ${instance} and sequence = ${sequence}) as fate) as ledger
                 left join ({query}) as found on true",
            self.fates
        )
    }

    pub(crate) async fn prune(
        &self,
        client: &ClientWrapper,
        writer: Writer,
        below: u64,
    ) -> Result<(), Error> {
        let (instance, epoch) = of_writer(writer);
        client.execute(&self.prune, &[&instance, &signed(below), &epoch]).await?;
        Ok(())
    }

    pub(crate) async fn retire(&self, client: &ClientWrapper, writer: Writer) -> Result<(), Error> {
        let (instance, epoch) = of_writer(writer);
        client.execute(&self.retire, &[&instance, &epoch]).await?;
        Ok(())
    }
}

/// `create table if not exists` asks for the right to create tables, even where there is nothing to create.
pub(crate) async fn create_if_missing(
    step: &Transaction<'_>,
    table: &str,
    create: &str,
) -> Result<(), Error> {
    let there: bool = step.query_one("select to_regclass($1) is not null", &[&table]).await?.get(0);
    if !there {
        step.batch_execute(create).await?;
    }
    Ok(())
}

/// Of the instance all 64 bits, with a sign. Sequences and epochs count up from 1.
pub(crate) fn in_columns(batch: BatchId, epoch: u64) -> (i64, i64, i64) {
    (batch.instance as i64, signed(batch.sequence), signed(epoch))
}

fn of_writer(writer: Writer) -> (i64, i64) {
    (writer.instance as i64, signed(writer.epoch))
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
