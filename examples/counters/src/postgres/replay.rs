//! Dead letters, applied in one transaction.

use deadpool_postgres::{ClientWrapper, Transaction};

use crate::store::{LedgerId, Replay, Replayed, StoreError};

/// Voids a batch where nothing is recorded of it, and holds off its pruning.
const VOID: &str = "
    with lane as (
        select writer from counter_writers where writer = $1 and settled_below <= $2 for share
    )
    insert into counter_batches (writer, sequence, applied) select writer, $2, false from lane
    on conflict (writer, sequence) do update set applied = counter_batches.applied returning applied";

pub(super) async fn replay(
    client: &mut ClientWrapper,
    letters: &[Replay],
) -> Result<Vec<Replayed>, StoreError> {
    let step = client.transaction().await?;
    let mut replayed = Vec::with_capacity(letters.len());
    for letter in letters {
        replayed.push(replay_one(&step, letter).await?);
    }
    step.commit().await?;
    Ok(replayed)
}

async fn replay_one(step: &Transaction<'_>, letter: &Replay) -> Result<Replayed, StoreError> {
    let insert = "insert into counter_letters (id) values ($1) on conflict do nothing";
    if step.execute(insert, &[&letter.id]).await? == 0 {
        return Ok(Replayed::WasThere);
    }
    if let Some(LedgerId { writer, sequence }) = letter.batch {
        let known = step.query_opt(VOID, &[&writer, &sequence]).await?;
        match known.map(|row| row.get(0)) {
            None => {
                step.execute("delete from counter_letters where id = $1", &[&letter.id]).await?;
                return Ok(Replayed::CannotTell);
            }
            Some(true) => return Ok(Replayed::WasThere),
            Some(false) => {}
        }
    }
    let add = "insert into counters (key, value) values ($1, $2)
               on conflict (key) do update set value = coalesce(counters.value, 0) + excluded.value";
    step.execute(add, &[&letter.key, &letter.value]).await?;
    Ok(Replayed::Added)
}
