//! One established connection of a worker: moves bytes between socket, TLS and session.

use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::TcpStream;

use crate::net::pipe::{Pipe, PipeError};
use crate::quota::Guest;

use super::Shared;
use super::desk::Desk;
use super::linger::Linger;
use super::port::Arrival;
use super::session::{Session, State};

/// Ciphertext waiting for a slow reader, above which nothing more is read from it.
const BACKLOG_BYTES_PAUSE: usize = 256 * 1024;
/// Reads of one connection before the others of its worker get their turn.
const READS_AT_ONCE: usize = 8;
/// Connections that have been idle for so long end while clients are sent elsewhere.
const IDLE_WHILE_LEAVING: Duration = Duration::from_secs(5);
/// While stopping, and beyond the time that a request may wait: for answers to be written and read.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// One client.
pub(super) struct Conn {
    pipe: Pipe<TcpStream>,
    /// Counted to its address as long as it is here.
    _guest: Guest,
    pub session: Session,
    /// The socket may hold bytes: epoll tells only once.
    readable: bool,
    /// The peer has shut its sending side down; reads go on to the end.
    read_closed: bool,
    /// All input has been read.
    at_end: bool,
    /// When it last gave plaintext or got an answer. Mere records, or parts of one, do not count.
    served: Instant,
    /// When ciphertext last left for the peer.
    sent: Instant,
    /// Bytes of ciphertext that waited after the last flush.
    waiting: usize,
    linger: Option<Linger>,
}

/// Whether a connection goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    Keep,
    /// It has more to do than one turn's worth, and epoll will not tell: drive it again.
    Again,
    /// Its answers wait until the audit log has them: then [`Conn::finish`].
    Told,
    Close,
}

impl Conn {
    pub(super) fn new(arrival: Arrival, index: u32, generation: u32, now: Instant) -> Self {
        let Arrival {
            pipe,
            guest,
            pin,
            address,
            client,
            ..
        } = arrival;
        Self {
            pipe,
            _guest: guest,
            session: Session::new(pin, client, address, index, generation),
            readable: true,
            read_closed: false,
            at_end: false,
            served: now,
            sent: now,
            waiting: 0,
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
        match self.turn_over(shared, desk, records) {
            Ok(fate) => fate,
            Err(error) => {
                // The alert, if there is one, is queued; a peer that is gone does not matter. Behind answers that the
                // audit log does not have it stays unsent.
                if desk.commit() {
                    let _ = self.pipe.flush();
                }
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
        let mut reads = 0;
        loop {
            // First, so that a writable socket makes room for what was paused: nobody tells again.
            if !self.has_room() {
                if !desk.commit() {
                    return Ok(Fate::Close);
                }
                self.flush(desk.clock.now)?;
            }
            match self.session.state() {
                State::Cut => return Ok(Fate::Close),
                State::Ready if self.has_room() => self.session.resume(shared, desk),
                State::Idle if self.readable && !self.at_end && self.has_room() => {
                    if reads == READS_AT_ONCE {
                        if !desk.commit() {
                            return Ok(Fate::Close);
                        }
                        self.flush(desk.clock.now)?;
                        return Ok(Fate::Again);
                    }
                    reads += 1;
                    self.receive(shared, desk, records)?;
                }
                _ => break,
            }
            self.pass_on(desk)?;
        }
        if desk.has_lines() {
            return Ok(Fate::Told);
        }
        let flushed = self.flush(desk.clock.now)?;
        Ok(self.fate(flushed, desk.clock.now))
    }

    /// Sends what waited for the audit log.
    pub(super) fn finish(&mut self, now: Instant) -> Fate {
        match self.flush(now) {
            Ok(flushed) => self.fate(flushed, now),
            Err(_) => Fate::Close,
        }
    }

    fn flush(&mut self, now: Instant) -> Result<bool, PipeError> {
        let before = self.pipe.backlog();
        let flushed = self.pipe.flush();
        self.waiting = self.pipe.backlog();
        if self.waiting < before {
            self.sent = now;
        }
        flushed
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
        let served = &mut self.served;
        let received = self.pipe.receive(records, |plaintext| {
            *served = desk.clock.now;
            session.feed(plaintext, shared, desk);
        })?;
        self.at_end = received.closed;
        // A short read has emptied the socket, and epoll tells when more arrives; only the end of
        // the stream may have been told together with these bytes.
        self.readable = received.more || (self.read_closed && received.bytes > 0);
        Ok(())
    }

    /// Encrypts the replies that are complete: plaintext never waits for the socket.
    pub(super) fn pass_on(&mut self, desk: &mut Desk) -> Result<(), PipeError> {
        if !desk.reply.bytes().is_empty() {
            self.served = desk.clock.now;
            if self.pipe.backlog() == 0 {
                self.sent = desk.clock.now;
            }
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
        if !matches!(self.flush(now), Ok(true)) || self.at_end {
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

    /// Says `close_notify`, so that the peer knows that nothing was cut off; it need not arrive.
    pub(super) fn say_goodbye(&mut self) {
        self.pipe.close();
        let _ = self.pipe.flush();
    }

    /// Now and then: whether a deadline has passed or the pin is gone. `stopping` is since when the
    /// node has been stopping: from then on only what is in flight may go on, and not for long.
    pub(super) fn sweep(&self, shared: &Shared, stopping: Option<Instant>, now: Instant) -> Fate {
        let settings = &shared.settings;
        let since = |then: Instant| now.saturating_duration_since(then);
        let must_end =
            stopping.is_some_and(|then| since(then) > settings.request_timeout + LAST_ANSWERS);
        let late = match (&self.linger, self.session.state()) {
            (Some(linger), _) => linger.is_late(now),
            (None, _) if self.session.is_revoked() || must_end => true,
            (None, State::Parked { .. }) => false,
            (None, _) if self.waiting > 0 => since(self.sent) > settings.send_timeout,
            (None, _) if stopping.is_some() => true,
            (None, _) => match self.session.receiving_since() {
                Some(then) => since(then) > settings.receive_timeout,
                None if shared.is_leaving() => since(self.served) > IDLE_WHILE_LEAVING,
                None => since(self.served) > settings.idle_timeout,
            },
        };
        if late { Fate::Close } else { Fate::Keep }
    }
}
