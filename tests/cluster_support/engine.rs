//! An engine of the tests' own, in plaintext: honest until a test has it answer something else.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What is done instead of an honest answer.
#[derive(Clone)]
pub enum Reaction {
    Say(Vec<u8>),
    /// A byte now and then, without end.
    Trickle(Vec<u8>),
    Silence,
    Close,
}

type Twist = Box<dyn Fn(&[Vec<u8>]) -> Option<Reaction> + Send>;

#[derive(Default)]
struct State {
    values: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
    twist: Mutex<Option<Twist>>,
    connections: AtomicUsize,
    /// Connections of an earlier reign end.
    reign: AtomicUsize,
    stop: AtomicBool,
}

pub struct Engine {
    pub port: u16,
    state: Arc<State>,
}

impl Engine {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stop.load(Ordering::SeqCst) {
                    return;
                }
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || shared.serve(stream.unwrap()));
            }
        });
        Self { port, state }
    }

    /// Ends all connections, and answers by `twist` where that says something; honestly otherwise.
    pub fn twist(&self, twist: impl Fn(&[Vec<u8>]) -> Option<Reaction> + Send + 'static) {
        *self.state.twist.lock().unwrap() = Some(Box::new(twist));
        self.state.reign.fetch_add(1, Ordering::SeqCst);
    }

    pub fn be_honest(&self) {
        *self.state.twist.lock().unwrap() = None;
    }

    /// Connections taken so far.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl State {
    fn serve(&self, mut stream: TcpStream) {
        stream
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let mut input = Vec::new();
        let mut chunk = [0; 4096];
        let reign = self.reign.load(Ordering::SeqCst);
        while !self.stop.load(Ordering::SeqCst) && reign == self.reign.load(Ordering::SeqCst) {
            while let Some((command, used)) = parse(&input) {
                input.drain(..used);
                let twist = self.twist.lock().unwrap();
                let reaction = twist.as_ref().and_then(|twist| twist(&command));
                drop(twist);
                let reaction = reaction.unwrap_or_else(|| Reaction::Say(self.honest(&command)));
                if self.react(&mut stream, &reaction).is_none() {
                    return;
                }
            }
            match stream.read(&mut chunk) {
                Ok(0) => return,
                Ok(read) => input.extend_from_slice(&chunk[..read]),
                Err(error)
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) => {}
                Err(_) => return,
            }
        }
    }

    /// `None`: the connection is over.
    fn react(&self, stream: &mut TcpStream, reaction: &Reaction) -> Option<()> {
        match reaction {
            Reaction::Say(bytes) => stream.write_all(bytes).ok(),
            Reaction::Silence => Some(()),
            Reaction::Close => None,
            Reaction::Trickle(bytes) => {
                for byte in bytes.iter().cycle() {
                    if self.stop.load(Ordering::SeqCst) {
                        return None;
                    }
                    stream.write_all(&[*byte]).ok()?;
                    std::thread::park_timeout(Duration::from_millis(2));
                }
                None
            }
        }
    }

    fn honest(&self, command: &[Vec<u8>]) -> Vec<u8> {
        let word = |at: usize| command.get(at).map(Vec::as_slice).unwrap_or_default();
        let has = |option: &[u8]| command.iter().any(|part| part.eq_ignore_ascii_case(option));
        let mut values = self.values.lock().unwrap();
        match word(0) {
            b"PING" if command.len() > 1 => bulk(Some(&command[1])),
            b"PING" => b"+PONG\r\n".to_vec(),
            b"GET" => bulk(values.get(word(1))),
            b"GETRANGE" => {
                let value = values.get(word(1)).cloned().unwrap_or_default();
                bulk(Some(&value))
            }
            b"SET" => {
                let before = values.get(word(1)).cloned();
                let is_set = (!has(b"NX") || before.is_none()) && (!has(b"XX") || before.is_some());
                if is_set {
                    values.insert(word(1).to_vec(), word(2).to_vec());
                }
                match (has(b"GET"), is_set) {
                    (true, _) => bulk(before.as_ref()),
                    (false, true) => b"+OK\r\n".to_vec(),
                    (false, false) => bulk(None),
                }
            }
            b"SUBSCRIBE" => {
                let channel = word(1);
                let mut said = format!("*3\r\n$9\r\nsubscribe\r\n${}\r\n", channel.len());
                said += &String::from_utf8_lossy(channel);
                (said + "\r\n:1\r\n").into_bytes()
            }
            b"ROLE" => b"*1\r\n$6\r\nmaster\r\n".to_vec(),
            b"DEL" | b"PUBLISH" => b":1\r\n".to_vec(),
            _ => b"+OK\r\n".to_vec(),
        }
    }
}

fn bulk(value: Option<&Vec<u8>>) -> Vec<u8> {
    match value {
        None => b"$-1\r\n".to_vec(),
        Some(value) => [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat(),
    }
}

/// The first whole command of `input`, and its bytes.
fn parse(input: &[u8]) -> Option<(Vec<Vec<u8>>, usize)> {
    let mut at = 0;
    let number = |mark: u8, at: &mut usize| -> Option<usize> {
        let rest = input.get(*at..)?;
        assert!(rest.first().is_none_or(|byte| *byte == mark), "no command");
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        *at += end + 2;
        std::str::from_utf8(&rest[1..end]).ok()?.parse().ok()
    };
    let count = number(b'*', &mut at)?;
    let mut parts = Vec::new();
    for _ in 0..count {
        let len = number(b'$', &mut at)?;
        parts.push(input.get(at..at + len)?.to_vec());
        at += len + 2;
    }
    (at <= input.len()).then_some((parts, at))
}
