//! A network path with a delay, on loopback: what is written at one end comes out at the other so much
//! later, however much is under way. The simulator's own latency is the HSM's work, which one connection
//! has done message by message; a path's delay is what messages under way together share.
//!
//! Must never be true: a byte early, or out of order.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes and when they are to come out.
type Piece = (Instant, Vec<u8>);

/// A path to `to` with this delay in each direction. Its threads live as long as the program.
pub fn open(to: SocketAddr, each_way: Duration) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            // Whoever connected sees it end.
            let _ = join(&near, to, each_way);
        }
    });
    Ok(address)
}

fn join(near: &TcpStream, to: SocketAddr, each_way: Duration) -> io::Result<()> {
    let far = TcpStream::connect(to)?;
    for (from, into) in [
        (near.try_clone()?, far.try_clone()?),
        (far.try_clone()?, near.try_clone()?),
    ] {
        into.set_nodelay(true)?;
        let (entered, waiting) = mpsc::channel();
        thread::spawn(move || read(from, &entered, each_way));
        thread::spawn(move || write(into, &waiting));
    }
    Ok(())
}

fn read(mut from: TcpStream, entered: &Sender<Piece>, each_way: Duration) {
    let mut room = vec![0; 64 * 1024];
    while let Ok(len @ 1..) = from.read(&mut room) {
        let piece = room.get(..len).unwrap_or_default().to_vec();
        if entered.send((Instant::now() + each_way, piece)).is_err() {
            return;
        }
    }
}

fn write(mut into: TcpStream, waiting: &Receiver<Piece>) {
    while let Ok((due, piece)) = waiting.recv() {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if into.write_all(&piece).is_err() {
            break;
        }
    }
    // It may be closed already.
    let _ = into.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_under_way_together_is_delayed_once() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let each_way = Duration::from_millis(40);
        let address = open(server.local_addr().unwrap(), each_way).unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        let (mut served, _) = server.accept().unwrap();
        let start = Instant::now();
        let mut got = [0; 3];
        for byte in b"abc" {
            client.write_all(&[*byte]).unwrap();
        }
        served.read_exact(&mut got).unwrap();
        served.write_all(&got).unwrap();
        client.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"abc");
        assert!(start.elapsed() >= 2 * each_way, "early");
        drop(client);
        assert_eq!(served.read(&mut got).unwrap(), 0, "the end comes through");
    }
}
