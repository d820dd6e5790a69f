//! Counters and their ledger in Postgres.

use std::time::Duration;

use postgres::error::{DbError, Severity};
use postgres::types::Type;
use postgres::{Client, Config, NoTls, Statement, Transaction};

use crate::args::describe;
use crate::idle::Idle;
use crate::store::{
    Deltas, Fate, LedgerId, Reading, Replay, Replayed, Store, StoreError, Writer, checked_total,
};

/// Any number that is the same in all processes: they take turns at creating the tables, because
/// `create table if not exists` alone fails when two do it at once.
const SETUP_LOCK: i64 = 0x636f_756e_7465_7273;

const SETUP: &str = "
    create table if not exists counters (key text primary key, value bigint not null);
    create table if not exists counter_writers (
        writer bigint primary key, settled_below bigint not null, seen_at timestamptz not null default now());
    create table if not exists counter_batches (
        writer bigint, sequence bigint, applied boolean not null, primary key (writer, sequence));
    create table if not exists counter_letters (
        id text primary key, replayed_at timestamptz not null default now());";

const FORGET_THE_DEAD: &str = "
    with dead as (delete from counter_writers where seen_at < now() - interval '90 days' returning writer)
    delete from counter_batches using dead where counter_batches.writer = dead.writer;
    delete from counter_letters where replayed_at < now() - interval '90 days';";

/// One statement, so that record and counters are one transaction without a round trip more.
///
/// `for share` waits for a `PRUNE` under way and then sees what it wrote; a plain read would see
/// the state before it. Inserting the record waits for another attempt of the same batch that is
/// still under way. All writers take the rows in the same order, so that they never deadlock.
const APPLY: &str = "
    with lane as (
        select writer from counter_writers where writer = $1 and settled_below <= $2 for share
    ), fresh as (
        insert into counter_batches (writer, sequence, applied) select writer, $2, true from lane
        on conflict do nothing returning sequence
    )
    insert into counters (key, value)
    select key, value from unnest($3, $4) as delta (key, value)
    where exists (select from fresh) order by key collate \"C\"
    on conflict (key) do update set value = coalesce(counters.value, 0) + excluded.value";

/// The delete depends on the update, so that the update's lock is taken first: whoever waits for it
/// finds both done.
const PRUNE: &str = "
    with lane as (
        update counter_writers set settled_below = greatest(settled_below, $2), seen_at = now()
        where writer = $1 returning writer, settled_below
    )
    delete from counter_batches using lane
    where counter_batches.writer = lane.writer and sequence < lane.settled_below";

const READ: &str = "
    select (select value from counters where key = $1),
           exists (select from counter_batches where writer = $2 and sequence = $3 and applied)";

pub(crate) struct PostgresStore {
    config: Config,
    idle: Idle<Connection>,
}

/// A connection and the statements that it has prepared.
struct Connection {
    client: Client,
    apply: Statement,
    read: Statement,
}

impl PostgresStore {
    /// Connects and creates what is missing.
    pub(crate) fn open(mut config: Config) -> Result<Self, StoreError> {
        // Without limits a host that vanished would be waited for for a quarter of an hour.
        let limit = Duration::from_secs(5);
        config.connect_timeout(*config.get_connect_timeout().unwrap_or(&limit));
        config.tcp_user_timeout(*config.get_tcp_user_timeout().unwrap_or(&limit));
        config.keepalives_idle(limit).keepalives_interval(limit).keepalives_retries(2);
        if config.get_application_name().is_none() {
            config.application_name("counters");
        }
        let mut client = connect(&config)?;
        let encoding: String = client.query_one("show server_encoding", &[]).map_err(explain)?.get(0);
        if encoding != "UTF8" {
            let problem = format!("the database's encoding is {encoding}; keys can be any text only in UTF8");
            return Err(StoreError::Unavailable(problem));
        }
        let mut setup = client.transaction().map_err(explain)?;
        setup.execute("select pg_advisory_xact_lock($1)", &[&SETUP_LOCK]).map_err(explain)?;
        setup.batch_execute(SETUP).map_err(explain)?;
        setup.commit().map_err(explain)?;
        Ok(PostgresStore { config, idle: Idle::new() })
    }

    /// Lends a connection. Everything but `read_then_write` may be done twice without harm, so
    /// what fails on a connection from before is done once more on a new one: the server may have
    /// been restarted meanwhile.
    fn with<T>(
        &self,
        work: impl Fn(&mut Connection) -> Result<T, StoreError>,
        twice: bool,
    ) -> Result<T, StoreError> {
        if let Some(connection) = self.idle.take() {
            match self.lend(connection, &work) {
                // The others are probably as dead as this one.
                Err(StoreError::Unavailable(_)) if twice => while self.idle.take().is_some() {},
                result => return result,
            }
        }
        self.lend(Connection::new(&self.config)?, &work)
    }

    fn lend<T>(
        &self,
        mut connection: Connection,
        work: impl Fn(&mut Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let result = work(&mut connection);
        if !matches!(result, Err(StoreError::Unavailable(_))) {
            self.idle.give_back(connection);
        }
        result
    }
}

impl Connection {
    fn new(config: &Config) -> Result<Self, StoreError> {
        let mut client = connect(config)?;
        let types = [Type::INT8, Type::INT8, Type::TEXT_ARRAY, Type::INT8_ARRAY];
        let apply = client.prepare_typed(APPLY, &types).map_err(explain)?;
        let read = client.prepare_typed(READ, &[Type::TEXT, Type::INT8, Type::INT8]).map_err(explain)?;
        Ok(Connection { client, apply, read })
    }
}

fn connect(config: &Config) -> Result<Client, StoreError> {
    let mut client = config.connect(NoTls).map_err(explain)?;
    // The statements above rely on seeing, after a wait, what was waited for.
    client.batch_execute("set default_transaction_isolation to 'read committed'").map_err(explain)?;
    Ok(client)
}

/// Decides by SQLSTATE who is to blame. Only errors that a key of the batch, or the batch's size,
/// can have caused are told apart: for all others (connection refused, server shutting down, disk
/// full, read-only standby) the batch must stay whole, or an outage would grind it to single keys.
fn explain(error: postgres::Error) -> StoreError {
    let answer = error.as_db_error().filter(|answer| rolled_back(answer));
    let class = answer.map(|answer| &answer.code().code()[..2]);
    let text = describe("Postgres", &error);
    match class {
        // Data exception, integrity constraint, program limit.
        Some("22" | "23" | "54") => StoreError::Data(text),
        // Deadlock, serialization failure.
        Some("40") => StoreError::Contended(text),
        _ => StoreError::Unavailable(text),
    }
}

/// A server that gives up the connection does not always say what became of the transaction.
fn rolled_back(answer: &DbError) -> bool {
    matches!(answer.parsed_severity(), Some(Severity::Error))
}

fn fate(client: &mut Client, batch: LedgerId) -> Result<Option<Fate>, StoreError> {
    let query = "select applied from counter_batches where writer = $1 and sequence = $2";
    let row = client.query_opt(query, &[&batch.writer, &batch.sequence]).map_err(explain)?;
    Ok(row.map(|row| if row.get(0) { Fate::Applied } else { Fate::Void }))
}

impl Store for PostgresStore {
    fn register(&self, writer: Writer) -> Result<(), StoreError> {
        let insert =
            "insert into counter_writers (writer, settled_below) values ($1, 0) on conflict do nothing";
        let work = |connection: &mut Connection| {
            connection.client.batch_execute(FORGET_THE_DEAD).map_err(explain)?;
            connection.client.execute(insert, &[&writer]).map_err(explain)
        };
        self.with(work, true).map(drop)
    }

    fn apply(&self, batch: LedgerId, deltas: &Deltas<'_>) -> Result<Fate, StoreError> {
        let LedgerId { writer, sequence } = batch;
        let work = |connection: &mut Connection| {
            let Connection { client, apply, .. } = connection;
            match client.execute(apply, &[&writer, &sequence, &deltas.keys, &deltas.values]) {
                Ok(0) => fate(client, batch),
                Ok(_) => Ok(Some(Fate::Applied)),
                Err(error) => Err(explain(error)),
            }
        };
        if let Some(fate) = self.with(work, true)? {
            return Ok(fate);
        }
        // Forgotten as dead after 90 quiet days.
        self.register(writer)?;
        let refused = || StoreError::Unavailable(format!("the ledger refuses batch {batch}"));
        self.with(work, true)?.ok_or_else(refused)
    }

    fn void(&self, batch: LedgerId) -> Result<Fate, StoreError> {
        let insert = "insert into counter_batches (writer, sequence, applied) values ($1, $2, false)
                      on conflict do nothing";
        let work = |connection: &mut Connection| {
            connection.client.execute(insert, &[&batch.writer, &batch.sequence]).map_err(explain)?;
            let fate = fate(&mut connection.client, batch)?;
            fate.ok_or_else(|| StoreError::Unavailable(format!("batch {batch} was forgotten")))
        };
        self.with(work, true)
    }

    fn prune(&self, writer: Writer, settled_below: i64) -> Result<(), StoreError> {
        let work = |connection: &mut Connection| {
            connection.client.execute(PRUNE, &[&writer, &settled_below]).map_err(explain)
        };
        self.with(work, true).map(drop)
    }

    fn retire(&self, writer: Writer) -> Result<(), StoreError> {
        let work = |connection: &mut Connection| {
            let retire = "with lane as (delete from counter_writers where writer = $1 returning writer)
                          delete from counter_batches using lane where counter_batches.writer = lane.writer";
            connection.client.execute(retire, &[&writer]).map_err(explain)
        };
        self.with(work, true).map(drop)
    }

    fn read(&self, key: &str, batch: Option<LedgerId>) -> Result<Reading, StoreError> {
        let (writer, sequence) = batch.map(|batch| (batch.writer, batch.sequence)).unzip();
        let work = |connection: &mut Connection| {
            let Connection { client, read, .. } = connection;
            let row = client.query_one(&*read, &[&key, &writer, &sequence]).map_err(explain)?;
            Ok(Reading { value: row.get(0), applied: row.get(1) })
        };
        self.with(work, true)
    }

    fn read_then_write(&self, key: &str, value: i64) -> Result<(), StoreError> {
        let work = |connection: &mut Connection| {
            let mut step = connection.client.transaction().map_err(explain)?;
            let insert = "insert into counters (key, value) values ($1, 0) on conflict do nothing";
            step.execute(insert, &[&key]).map_err(explain)?;
            let select = "select coalesce(value, 0) from counters where key = $1 for update";
            let before = step.query_one(select, &[&key]).map_err(explain)?.get(0);
            let total = checked_total(key, before, value)?;
            step.execute("update counters set value = $2 where key = $1", &[&key, &total])
                .map_err(explain)?;
            step.commit().map_err(explain)
        };
        self.with(work, false)
    }

    fn replay(&self, letters: &[Replay<'_>]) -> Result<Vec<Replayed>, StoreError> {
        let work = |connection: &mut Connection| {
            let mut step = connection.client.transaction().map_err(explain)?;
            let replayed = letters.iter().map(|letter| replay_one(&mut step, letter));
            let replayed = replayed.collect::<Result<_, _>>()?;
            step.commit().map_err(explain)?;
            Ok(replayed)
        };
        self.with(work, true)
    }
}

fn replay_one(step: &mut Transaction<'_>, letter: &Replay<'_>) -> Result<Replayed, StoreError> {
    let insert = "insert into counter_letters (id) values ($1) on conflict do nothing";
    if step.execute(insert, &[&letter.id]).map_err(explain)? == 0 {
        return Ok(Replayed::WasThere);
    }
    if let Some(LedgerId { writer, sequence }) = letter.batch {
        // Voids the batch where nothing is recorded of it, and holds off its pruning.
        let void = "
            with lane as (
                select writer from counter_writers where writer = $1 and settled_below <= $2 for share
            )
            insert into counter_batches (writer, sequence, applied) select writer, $2, false from lane
            on conflict (writer, sequence) do update set applied = counter_batches.applied returning applied";
        let known = step.query_opt(void, &[&writer, &sequence]).map_err(explain)?;
        match known.map(|row| row.get(0)) {
            None => {
                step.execute("delete from counter_letters where id = $1", &[&letter.id]).map_err(explain)?;
                return Ok(Replayed::CannotTell);
            }
            Some(true) => return Ok(Replayed::WasThere),
            Some(false) => {}
        }
    }
    let add = "insert into counters (key, value) values ($1, $2)
               on conflict (key) do update set value = coalesce(counters.value, 0) + excluded.value";
    step.execute(add, &[&letter.key, &letter.value]).map_err(explain)?;
    Ok(Replayed::Added)
}
