//! A server for one test, thrown away afterwards.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::{Commands, Connection};
use test_servers::{LIMIT, Server};

pub(crate) const LONG: Duration = Duration::from_secs(600);

pub(crate) struct Redis {
    pub(crate) server: Server,
    /// Guards the connection for a question.
    connection: Mutex<Connection>,
}

impl Redis {
    /// `None` where Redis is not installed. Durable.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(|port| {
            let port = port.to_string();
            let options =
                ["--port", &port, "--bind", "127.0.0.1", "--appendonly", "yes", "--appendfsync", "always"];
            options.map(str::to_owned).into()
        })
    }

    pub(crate) fn start_with(options: fn(u16) -> Vec<String>) -> Option<Self> {
        let server = Server::start("redis-server", options)?;
        let connection = Mutex::new(connect(&server));
        Some(Redis { server, connection })
    }

    pub(crate) fn url(&self) -> String {
        url(&self.server)
    }

    pub(crate) fn restart(&mut self) {
        self.server.restart();
        self.connection = Mutex::new(connect(&self.server));
    }

    pub(crate) fn ask<T>(&self, question: impl FnOnce(&mut Connection) -> redis::RedisResult<T>) -> T {
        question(&mut self.connection.lock().unwrap_or_else(PoisonError::into_inner)).unwrap()
    }

    pub(crate) fn hash(&self, name: &str) -> BTreeMap<String, String> {
        self.ask(|redis| redis.hgetall(name))
    }

    pub(crate) fn totals(&self, name: &str) -> BTreeMap<String, i64> {
        self.hash(name).into_iter().map(|(field, total)| (field, total.parse().unwrap())).collect()
    }

    /// The keys of the ledger's records.
    pub(crate) fn records(&self) -> Vec<String> {
        self.ask(|redis| redis.keys("write_behind:*"))
    }

    /// What cancelled calls have started is over: their connections are closed, and only ours and one more are left.
    pub(crate) fn settle(&self) {
        let deadline = Instant::now() + LIMIT;
        loop {
            let clients: String = self.ask(|redis| redis::cmd("INFO").arg("clients").query(redis));
            let connected = clients.lines().find_map(|line| line.strip_prefix("connected_clients:"));
            if connected.unwrap().parse::<u32>().unwrap() <= 2 {
                return;
            }
            assert!(Instant::now() < deadline, "{clients}");
        }
    }
}

fn url(server: &Server) -> String {
    format!("redis://127.0.0.1:{}", server.port())
}

fn connect(server: &Server) -> Connection {
    // A server that has been killed may still read its file.
    let client = redis::Client::open(url(server)).unwrap();
    test_servers::eventually("Redis answers", || {
        let mut connection = client.get_connection().ok()?;
        redis::cmd("PING").exec(&mut connection).ok()?;
        Some(connection)
    })
}
