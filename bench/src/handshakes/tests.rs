#![allow(clippy::unwrap_used)]
use kms::cli::pki::KeyKind;
use kms::net::pipe::PipeError;
use kms_loadgen::stream::Uniform;

use super::*;
use crate::credentials::Credentials;
use crate::echo::tests::{server, target};
use crate::line::Line;

const RIGHT: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n[key]";

fn asks() -> Exchanges {
    let mut exchanges = Exchanges::default();
    exchanges.push(b"GET /a HTTP/1.1\r\n\r\n", b"key");
    exchanges.push(b"GET /b HTTP/1.1\r\n\r\n", b"key");
    exchanges
}

#[test]
fn only_handshakes_with_the_right_answer_count() {
    for (name, answer, right) in [
        ("right", RIGHT, true),
        (
            "wrong",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n[kex]",
            false,
        ),
        (
            "refused",
            b"HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\n[key]",
            false,
        ),
    ] {
        let (address, credentials) = server(answer);
        let mut to = target(address, &credentials);
        for group in [NamedGroup::X25519, NamedGroup::X25519MLKEM768] {
            to.tls = credentials.client_config(group).unwrap();
            let mut order = Uniform::new(1, 2).unwrap();
            let done = |so_far: &Handshakes| so_far.right + so_far.wrong >= 20;
            let made = run(&to, &asks(), &mut order, 4, done).unwrap();
            let all = made.right + made.wrong;
            // Those under way when it was enough come to their end as well.
            assert!((20..25).contains(&all), "{name}: {made:?}");
            assert_eq!((made.right > 0, made.wrong > 0), (right, !right), "{name}");
            assert_eq!((made.failed, made.is_clean()), (0, right), "{name}");
            assert_eq!(made.took_us.len() as u64, made.right, "{name}");
        }
    }
}

#[test]
fn a_server_that_refuses_ends_the_run() {
    let (address, _) = server(RIGHT);
    let strangers = Credentials::new(KeyKind::P256).unwrap();
    let to = target(address, &strangers);
    let made = run(&to, &asks(), &mut std::iter::repeat(0), 4, |_| false);
    assert!(
        matches!(made, Err(LineError::Pipe(PipeError::Tls(_)))),
        "{made:?}"
    );
}

#[test]
fn a_line_asks_again_and_then_falls_silent() {
    let (address, credentials) = server(RIGHT);
    let mut line = Line::open(&target(address, &credentials)).unwrap();
    let (asks, mut other) = (asks(), Exchanges::default());
    other.push(b"GET /c HTTP/1.1\r\n\r\n", b"another");
    for index in [0, 1, 0] {
        assert!(line.ask(asks.get(index).unwrap()).unwrap());
    }
    assert!(
        !line.ask(other.get(0).unwrap()).unwrap(),
        "another answer is none"
    );
    let mut socket = line.fall_silent().unwrap();
    socket.set_nonblocking(true).unwrap();
    let open = io::Read::read(&mut socket, &mut [0; 1]);
    assert_eq!(
        open.unwrap_err().kind(),
        io::ErrorKind::WouldBlock,
        "it stays open"
    );
}
