//! Stands between the service and Postgres or Redis and spoils the connection in chosen ways.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use crate::wait::LIMIT;

/// How a request to cancel a statement begins: its length and its number.
const CANCELLATION: [u8; 8] = [0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e];

/// What happens to the next flush.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Spoil {
    /// It reaches the server and is done, but the answer is lost.
    LoseAnswer,
    /// It stays under way until it is let through, long after the client has given it up.
    Delay,
}

pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    delayed: Receiver<Delayed>,
}

struct Shared {
    server: u16,
    /// Taken by the connection that it happens to.
    next: Mutex<Option<Spoil>>,
    /// While set, new connections are turned away.
    closed: Mutex<bool>,
    /// While set, requests to cancel a statement do not arrive.
    losing_cancellations: Mutex<bool>,
    delayed: Sender<Delayed>,
}

/// What a client sent and the server has not got.
pub struct Delayed {
    server: TcpStream,
    bytes: Vec<u8>,
    answered: Receiver<()>,
}

impl Delayed {
    /// Reaches the server after all; returns when the server has answered.
    pub fn arrive(mut self) {
        self.server.write_all(&self.bytes).unwrap();
        self.answered.recv_timeout(LIMIT).expect("the server answers");
    }
}

impl Proxy {
    pub fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, delayed) = channel();
        let (next, [closed, losing_cancellations]) = Default::default();
        let shared = Arc::new(Shared { server, next, closed, losing_cancellations, delayed: sender });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, shared) = (client.unwrap(), Arc::clone(&accepting));
                if !*shared.closed.lock().unwrap() {
                    std::thread::spawn(move || relay(client, &shared));
                }
            }
        });
        Proxy { port, shared, delayed }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn spoil_next(&self, spoil: Spoil) {
        *self.shared.next.lock().unwrap() = Some(spoil);
    }

    pub fn has_spoiled(&self) -> bool {
        self.shared.next.lock().unwrap().is_none()
    }

    /// Turns new connections away from now on.
    pub fn close(&self) {
        *self.shared.closed.lock().unwrap() = true;
    }

    /// From now on what the client gives up goes on at the server.
    pub fn lose_cancellations(&self) {
        *self.shared.losing_cancellations.lock().unwrap() = true;
    }

    /// What was delayed.
    pub fn delayed(&self) -> Delayed {
        self.delayed.recv_timeout(LIMIT).unwrap()
    }
}

fn relay(mut client: TcpStream, shared: &Shared) {
    let mut server = TcpStream::connect(("127.0.0.1", shared.server)).unwrap();
    let (mut to_client, mut from_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let lost = Arc::new(Mutex::new(false));
    let losing = Arc::clone(&lost);
    let (answer, answered) = channel();
    std::thread::spawn(move || {
        let mut bytes = [0; 65_536];
        while let Ok(read @ 1..) = from_server.read(&mut bytes) {
            if *losing.lock().unwrap() {
                let _ = answer.send(());
                break;
            }
            if to_client.write_all(&bytes[..read]).is_err() {
                break;
            }
        }
        let _ = to_client.shutdown(Shutdown::Both);
    });
    let mut bytes = [0; 65_536];
    while let Ok(read @ 1..) = client.read(&mut bytes) {
        if bytes.starts_with(&CANCELLATION) && *shared.losing_cancellations.lock().unwrap() {
            break;
        }
        match take_spoil(shared, &bytes[..read]) {
            None => {}
            Some(Spoil::LoseAnswer) => *lost.lock().unwrap() = true,
            Some(Spoil::Delay) => {
                *lost.lock().unwrap() = true;
                let _ = client.shutdown(Shutdown::Both);
                let _ = shared.delayed.send(Delayed { server, bytes: bytes[..read].to_vec(), answered });
                return;
            }
        }
        if server.write_all(&bytes[..read]).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
}

fn take_spoil(shared: &Shared, bytes: &[u8]) -> Option<Spoil> {
    if executes(bytes) || evaluates(bytes) { shared.next.lock().unwrap().take() } else { None }
}

/// Whether a script is run that Redis knows.
fn evaluates(bytes: &[u8]) -> bool {
    bytes.starts_with(b"*") && bytes.windows(7).any(|word| word == b"EVALSHA")
}

/// Whether a prepared statement is executed, which begins with a Bind message. Messages are a byte
/// for the kind and four for the length of the rest.
fn executes(mut bytes: &[u8]) -> bool {
    while let [kind @ b'A'..=b'z', a, b, c, d, ..] = *bytes {
        if kind == b'B' {
            return true;
        }
        let length = 1 + u32::from_be_bytes([a, b, c, d]) as usize;
        bytes = bytes.get(length..).unwrap_or_default();
    }
    false
}
