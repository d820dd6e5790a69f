//! Several services with one database, killed and started again at random, while all of them add to the same keys.
//!
//! `WRITE_BEHIND_KILLS` says how often (default 5), `WRITE_BEHIND_SEED` which and when.

use std::sync::Arc;
use std::thread::{JoinHandle, spawn};

use test_servers::eventually;

use crate::database::Database;
use crate::kills::{Random, assert_exact, from_environment, run};
use crate::marks::{Account, Marks, Sent};
use crate::service::{Home, Service};

const SERVICES: usize = 3;
const CLIENTS: usize = 3;

/// A service with clients that go on until it is gone.
struct Member {
    service: Service,
    clients: Vec<JoinHandle<Sent>>,
}

impl Member {
    fn start(home: &Home, options: &[&str], marks: &Arc<Marks>, random: &mut Random) -> Self {
        let interval = ["5ms", "30ms", "150ms"][random.below(3) as usize];
        let service = home.start(&[options, &["--interval", interval]].concat());
        let clients = (0..CLIENTS).map(|_| {
            let (client, marks, random) =
                (service.client(), Arc::clone(marks), Random(random.below(u64::MAX)));
            spawn(move || run(&client, &marks, random).0)
        });
        Member { clients: clients.collect(), service }
    }

    fn kill(self, sent: &mut Sent) {
        self.service.kill();
        self.clients.into_iter().for_each(|client| sent.add(client.join().unwrap()));
    }
}

#[test]
fn what_several_services_have_acknowledged_counts_once_however_often_they_are_killed() {
    let Some(database) = Database::postgres() else { return };
    let url = database.url();
    let options = ["--database", &url, "--ack", "durable", "--journal", "the.journal"];
    let (kills, seed) =
        (from_environment("WRITE_BEHIND_KILLS").unwrap_or(5), from_environment("WRITE_BEHIND_SEED"));
    let mut random = Random(seed.unwrap_or(1));
    let homes: Vec<_> = (0..SERVICES).map(|_| Home::new()).collect();
    let (marks, mut sent) = (Arc::<Marks>::default(), Sent::default());
    let mut members: Vec<_> =
        homes.iter().map(|home| Some(Member::start(home, &options, &marks, &mut random))).collect();
    for _ in 0..kills {
        random.pass(200);
        let which = random.below(SERVICES as u64) as usize;
        members[which].take().into_iter().for_each(|member| member.kill(&mut sent));
        members[which] = Some(Member::start(&homes[which], &options, &marks, &mut random));
    }
    members.into_iter().flatten().for_each(|member| member.kill(&mut sent));
    for home in &homes {
        let service = home.start(&[&options[..], &["--interval", "5ms"]].concat());
        let client = service.client();
        eventually("everything is written", || {
            (client.stat("pending") + client.stat("in_flight") == 0).then_some(())
        });
        service.stop();
        assert_eq!(home.dead_letters(), Vec::<String>::new());
    }
    assert_eq!(sent.refused, Vec::<String>::new());
    let account = Account::new(&marks, &sent, &database.counters());
    eprintln!("counted: {kills} kills, {account}");
    assert_exact(&account);
    let Database::Postgres(server) = &database else { return };
    assert!(!server.log().contains("deadlock detected"), "{}", server.log());
}
