//! The acceptor: takes connections in, up to the limit, and deals them to the handshake threads.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};

use super::door::Knock;
use super::handshake::{self, Newcomer};
use super::{Phase, Shared, thread};

const LISTENER: Token = Token(0);
const WAKER: Token = Token(1);
/// How soon accepting is tried again after the kernel had no descriptor or memory for it.
const RETRY: Duration = Duration::from_millis(50);
/// How soon refusals that were not logged are told of in sum.
const TELL_LEFT_OUT: Duration = Duration::from_secs(1);

/// The way to the acceptor.
pub(super) struct Handle(Arc<Waker>);

impl Handle {
    pub(super) fn wake(&self) {
        if let Err(error) = self.0.wake() {
            log::error!("the acceptor could not be woken: {error}");
        }
    }
}

/// Starts the acceptor on `listener`.
pub(super) fn start(
    shared: Arc<Shared>,
    mut listener: TcpListener,
    handshakes: Vec<handshake::Handle>,
) -> io::Result<(Handle, JoinHandle<()>)> {
    let poll = Poll::new()?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
    let mut acceptor = Acceptor {
        shared,
        listener,
        handshakes,
        next: 0,
    };
    let thread = thread::spawn("acceptor".to_owned(), move || acceptor.run(poll))?;
    Ok((Handle(waker), thread))
}

struct Acceptor {
    shared: Arc<Shared>,
    listener: TcpListener,
    handshakes: Vec<handshake::Handle>,
    next: usize,
}

impl Acceptor {
    fn run(&mut self, mut poll: Poll) {
        let mut events = Events::with_capacity(16);
        let mut retry = false;
        // Leaving the loop closes the listener: while draining, new connections are refused.
        while self.shared.phase() <= Phase::Serving {
            let left_out = self.shared.door.tell_left_out(Instant::now());
            let timeout = match (retry, left_out) {
                (true, _) => Some(RETRY),
                (false, true) => Some(TELL_LEFT_OUT),
                (false, false) => None,
            };
            match poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => thread::give_up("the acceptor", &error),
            }
            retry = !self.accept_all();
        }
    }

    /// Accepts until nothing waits. False: the kernel could not, try again soon.
    fn accept_all(&mut self) -> bool {
        while self.shared.phase() <= Phase::Serving {
            match self.listener.accept() {
                Ok((stream, peer)) => self.deal(stream, peer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    log::warn!(
                        "accept failed, retrying: {error}; check the open files limit (LimitNOFILE)"
                    );
                    return false;
                }
            }
        }
        true
    }

    fn deal(&mut self, stream: TcpStream, peer: SocketAddr) {
        let limit = self.shared.settings.connections_max;
        if self.shared.connections.fetch_add(1, Ordering::Relaxed) >= limit {
            self.turn_away();
            return;
        }
        let shared = &self.shared;
        let knock = shared
            .door
            .knock(peer, &shared.quota, &shared.metrics, Instant::now());
        if matches!(knock, Knock::Refused) {
            self.shared.connections.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        self.shared.metrics.accepted.bump();
        // Without it small answers wait for the peer's delayed acknowledgement.
        if stream.set_nodelay(true).is_err() {
            self.shared.connections.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        self.next = (self.next + 1) % self.handshakes.len();
        if self.handshakes[self.next]
            .hand_over(Newcomer {
                stream,
                peer,
                knock,
            })
            .is_err()
        {
            self.turn_away();
        }
    }

    fn turn_away(&self) {
        self.shared.connections.fetch_sub(1, Ordering::Relaxed);
        self.shared.metrics.turned_away.bump();
    }
}

/// Errors that concern the connection being accepted, not the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}
