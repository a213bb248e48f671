//! The way to a worker: connections and tickets that other threads send it.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mio::net::TcpStream;
use zeroize::Zeroizing;

use crate::engine::{Outcome, Waiter};
use crate::identity::Pin;
use crate::net::inbox::Inbox;
use crate::net::pipe::Pipe;
use crate::quota::{Client, Guest};

/// A connection whose handshake is done.
pub struct Arrival {
    /// The TLS connection.
    pub pipe: Pipe<TcpStream>,
    /// Its place among those of its address.
    pub guest: Guest,
    /// Whose it is.
    pub pin: Arc<Pin>,
    /// The client's address, as a load balancer told it where there is one.
    pub address: IpAddr,
    /// Whose limits it is counted to.
    pub client: Arc<Client>,
    /// Plaintext that came with the last handshake message.
    pub early: Zeroizing<Vec<u8>>,
}

/// What other threads send a worker.
pub enum Mail {
    /// A connection to serve.
    Arrival(Box<Arrival>),
    /// An outcome for a parked request.
    Ticket(Waiter, Outcome),
}

/// The way to a worker from other threads.
pub struct Port {
    pub(super) inbox: Inbox<Mail>,
    load: AtomicUsize,
}

impl Port {
    pub(super) fn new(inbox: Inbox<Mail>) -> Self {
        Self {
            inbox,
            load: AtomicUsize::new(0),
        }
    }

    /// A connection has gone.
    pub(super) fn one_less(&self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
    }

    /// Connections it has, or is about to have.
    pub fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    pub(super) fn deliver(&self, waiter: Waiter, outcome: Outcome) {
        // The engine's waiter bound is the inbox's size; a full inbox is a bug, and the request's
        // own deadline answers it.
        if self.inbox.push(Mail::Ticket(waiter, outcome)).is_err() {
            log::error!("a worker's inbox is full; a request will time out");
        }
    }

    /// Hands a connection over; gives it back when the worker's inbox is full.
    pub(super) fn hand_over(&self, arrival: Box<Arrival>) -> Result<(), Mail> {
        self.load.fetch_add(1, Ordering::Relaxed);
        self.inbox.push(Mail::Arrival(arrival)).inspect_err(|_| {
            self.one_less();
        })
    }

    pub(super) fn wake(&self) {
        self.inbox.wake();
    }
}
