//! The tables, seen past the pipeline.

use std::path::Path;

use tokio_postgres::NoTls;

/// What must be the same, asked in different words than the pipeline does.
#[derive(Debug, PartialEq, Eq, Default)]
pub(crate) struct Tables {
    pub(crate) tweets: i64,
    pub(crate) distinct: i64,
    pub(crate) users: i64,
    pub(crate) users_who_tweeted: i64,
    pub(crate) users_with_the_sum_of_their_tweets: i64,
    pub(crate) swear_words: i64,
}

const QUERIES: [&str; 6] = [
    "select count(*) from tweets",
    "select count(*) from (select distinct id from tweets) as ids",
    "select count(*) from users",
    "select count(*) from (select distinct user_id from tweets) as ids",
    "select count(*) from (
        select user_id, sum(tweets.engagement) as total, max(users.engagement) as theirs
        from tweets join users on users.id = user_id group by user_id) as sums where total = theirs",
    "select count(*) from tweets
        where ' ' || text || ' ' like '% damn %' or ' ' || text || ' ' like '% hell %'",
];

impl Tables {
    fn new([tweets, distinct, users, who_tweeted, right, swear_words]: [i64; 6]) -> Self {
        Tables {
            tweets,
            distinct,
            users,
            users_who_tweeted: who_tweeted,
            users_with_the_sum_of_their_tweets: right,
            swear_words,
        }
    }

    pub(crate) fn in_sqlite(path: &Path) -> Self {
        let connection = rusqlite::Connection::open(path).unwrap();
        Tables::new(QUERIES.map(|query| connection.query_row(query, (), |row| row.get(0)).unwrap()))
    }

    pub(crate) fn in_postgres(url: &str) -> Self {
        Tables::new(QUERIES.map(|query| query_postgres(url, query).unwrap()))
    }

    /// Every tweet there once, every user with what their tweets add up to, no swear word left.
    pub(crate) fn assert_right(&self, tweets: i64) {
        let users = self.users;
        assert!(users > 0);
        let right = Tables::new([tweets, tweets, users, users, users, 0]);
        assert_eq!(*self, right);
    }
}

/// A number; `None` while there is no such table, or no server.
pub(crate) fn query_postgres(url: &str, query: &str) -> Option<i64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.ok()?;
        tokio::spawn(connection);
        Some(client.query_one(query, &[]).await.ok()?.get(0))
    })
}
