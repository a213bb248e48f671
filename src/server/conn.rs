//! One established connection of a worker: moves bytes between socket, TLS and session.

use std::sync::Arc;
use std::time::Instant;

use mio::event::Event;
use mio::net::TcpStream;

use crate::identity::Pin;
use crate::net::pipe::{Pipe, PipeError};

use super::desk::Desk;
use super::linger::Linger;
use super::session::{Session, State};
use super::{Phase, Shared};

/// Ciphertext waiting for a slow reader, above which nothing more is read from it.
const BACKLOG_BYTES_PAUSE: usize = 256 * 1024;

/// One client.
pub(super) struct Conn {
    pipe: Pipe<TcpStream>,
    pub session: Session,
    /// The socket may hold bytes: epoll tells only once.
    readable: bool,
    /// The peer has shut its sending side down; reads go on to the end.
    read_closed: bool,
    /// All input has been read.
    at_end: bool,
    /// Last sign of life.
    touched: Instant,
    linger: Option<Linger>,
}

/// Whether a connection goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    Keep,
    Close,
}

impl Conn {
    pub(super) fn new(
        pipe: Pipe<TcpStream>,
        pin: Arc<Pin>,
        index: u32,
        generation: u32,
        now: Instant,
    ) -> Self {
        Self {
            pipe,
            session: Session::new(pin, index, generation),
            readable: true,
            read_closed: false,
            at_end: false,
            touched: now,
            linger: None,
        }
    }

    pub(super) fn stream_mut(&mut self) -> &mut TcpStream {
        self.pipe.stream_mut()
    }

    /// Notes what epoll says.
    pub(super) fn note(&mut self, event: &Event) {
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        self.read_closed |= event.is_read_closed();
    }

    /// Does all that can be done now.
    pub(super) fn drive(&mut self, shared: &Shared, desk: &mut Desk, records: &mut [u8]) -> Fate {
        if let Some(linger) = &mut self.linger {
            let over = linger.is_over(self.pipe.stream_mut(), records);
            return if over { Fate::Close } else { Fate::Keep };
        }
        self.touched = desk.clock.now;
        match self.turn_over(shared, desk, records) {
            Ok(fate) => fate,
            Err(error) => {
                // The alert, if there is one, is queued; a peer that is gone does not matter.
                let _ = self.pipe.flush();
                log::debug!("connection of {} ended: {error}", self.session.pin().alias);
                Fate::Close
            }
        }
    }

    fn turn_over(
        &mut self,
        shared: &Shared,
        desk: &mut Desk,
        records: &mut [u8],
    ) -> Result<Fate, PipeError> {
        loop {
            match self.session.state() {
                State::Cut => return Ok(Fate::Close),
                State::Ready if self.has_room() => self.session.resume(shared, desk),
                State::Idle if self.readable && !self.at_end && self.has_room() => {
                    self.receive(shared, desk, records)?;
                }
                _ => break,
            }
            self.pass_on(desk)?;
            if !self.has_room() {
                self.pipe.flush()?;
            }
        }
        let flushed = self.pipe.flush()?;
        Ok(self.fate(flushed, desk.clock.now))
    }

    fn has_room(&self) -> bool {
        self.pipe.backlog() < BACKLOG_BYTES_PAUSE
    }

    fn receive(
        &mut self,
        shared: &Shared,
        desk: &mut Desk,
        records: &mut [u8],
    ) -> Result<(), PipeError> {
        let session = &mut self.session;
        let received = self
            .pipe
            .receive(records, |plaintext| session.feed(plaintext, shared, desk))?;
        self.at_end = received.closed;
        // A short read has emptied the socket, and epoll tells when more arrives; only the end of
        // the stream may have been told together with these bytes.
        self.readable = received.more || (self.read_closed && received.bytes > 0);
        Ok(())
    }

    /// Encrypts the replies that are complete: plaintext never waits for the socket.
    pub(super) fn pass_on(&mut self, desk: &mut Desk) -> Result<(), PipeError> {
        if !desk.reply.bytes().is_empty() {
            let sent = self.pipe.send(desk.reply.bytes());
            desk.reply.clear();
            sent?;
        }
        Ok(())
    }

    fn fate(&mut self, flushed: bool, now: Instant) -> Fate {
        let over = match self.session.state() {
            State::Ending => true,
            State::Idle => self.at_end,
            _ => false,
        };
        if !over || !flushed {
            return Fate::Keep;
        }
        self.pipe.close();
        if !matches!(self.pipe.flush(), Ok(true)) || self.at_end {
            return Fate::Close;
        }
        self.linger = Some(Linger::begin(self.pipe.stream(), now));
        Fate::Keep
    }

    /// Runs a parked request again and goes on.
    pub(super) fn unpark(&mut self, shared: &Shared, desk: &mut Desk, records: &mut [u8]) -> Fate {
        self.session.unpark(shared, desk);
        match self.pass_on(desk) {
            Ok(()) => self.drive(shared, desk, records),
            Err(_) => Fate::Close,
        }
    }

    /// Once a second: whether a deadline has passed or the pin is gone.
    pub(super) fn sweep(&self, shared: &Shared, now: Instant) -> Fate {
        let settings = &shared.settings;
        let since = |then: Instant| now.saturating_duration_since(then);
        let late = match (&self.linger, self.session.state()) {
            (Some(linger), _) => linger.is_late(now),
            (None, _) if self.session.is_revoked() => true,
            (None, State::Parked { .. }) => false,
            (None, _) if self.pipe.backlog() > 0 => since(self.touched) > settings.send_timeout,
            (None, _) => match self.session.receiving_since() {
                Some(then) => since(then) > settings.receive_timeout,
                None => {
                    since(self.touched) > settings.idle_timeout || shared.phase() == Phase::Stopping
                }
            },
        };
        if late { Fate::Close } else { Fate::Keep }
    }
}
