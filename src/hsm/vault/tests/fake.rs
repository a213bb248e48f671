//! An HTTP server of a few lines.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use parking_lot::Mutex;

/// What a request is answered with.
pub(super) enum Reply {
    /// These bytes.
    Bytes(Vec<u8>),
    /// These, and then nothing more.
    Hang(Vec<u8>),
    /// The end of the connection, after these.
    Close(Vec<u8>),
}

/// A whole answer.
pub(super) fn json(status: u16, body: &str) -> Reply {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}");
    Reply::Bytes(head.into_bytes())
}

pub(super) struct Fake {
    pub(super) port: u16,
    /// Heads and bodies of requests.
    pub(super) seen: Arc<Mutex<Vec<(String, String)>>>,
}

type Answer = Arc<dyn Fn(&str, &str) -> Reply + Send + Sync>;

impl Fake {
    /// `answer` is given `METHOD /path` and the body. The threads end with their connections.
    pub(super) fn start(answer: impl Fn(&str, &str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, all): (Answer, _) = (Arc::new(answer), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (answer, seen) = (Arc::clone(&answer), Arc::clone(&all));
                std::thread::spawn(move || converse(&mut stream.unwrap(), &answer, &seen));
            }
        });
        Self { port, seen }
    }

    /// Bodies of the requests to this path.
    pub(super) fn bodies(&self, request: &str) -> Vec<String> {
        let seen = self.seen.lock();
        let to = seen
            .iter()
            .filter(|(head, _)| head.starts_with(&format!("{request} HTTP")));
        to.map(|(_, body)| body.clone()).collect()
    }
}

fn converse(stream: &mut TcpStream, answer: &Answer, seen: &Mutex<Vec<(String, String)>>) {
    while let Some((head, body)) = request(stream) {
        let line = head.lines().next().unwrap_or_default();
        let line = line.trim_end_matches(" HTTP/1.1").to_owned();
        seen.lock().push((head, body.clone()));
        let (bytes, goes_on) = match answer(&line, &body) {
            Reply::Bytes(bytes) => (bytes, true),
            Reply::Close(bytes) => (bytes, false),
            Reply::Hang(bytes) => {
                let _ = stream.write_all(&bytes);
                // Until the other side has had enough.
                let _ = stream.read(&mut [0]);
                return;
            }
        };
        if stream.write_all(&bytes).is_err() || !goes_on {
            return;
        }
    }
}

fn request(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut seen = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        if let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&seen[..end]).into_owned();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length")
                    .then(|| value.trim().parse::<usize>().unwrap())
            });
            let whole = end + 4 + length.unwrap_or(0);
            if seen.len() >= whole {
                let body = String::from_utf8_lossy(&seen[end + 4..whole]).into_owned();
                return Some((head, body));
            }
        }
        match stream.read(&mut chunk) {
            Ok(read @ 1..) => seen.extend_from_slice(&chunk[..read]),
            _ => return None,
        }
    }
}
