//! What the event loop does with one connection: read, wait its turn, answer; and what it does when a
//! time has come.
//!
//! Called by [`super::server`] only.

use std::sync::Arc;

use kms::wire::kmip::decode_request;
use rustls::ServerConfig;

use super::fault::FaultKind;
use super::plan::Verdict;
use super::server::Sim;
use super::station::{Admission, ns_of_ms};
use super::timers::Due;

impl Sim {
    /// Reads a connection that has something to read, and serves what is whole.
    pub(super) fn drive(&mut self, place: usize) {
        let now_ns = self.now().ns;
        let Some(Some(conn)) = self.conns.get_mut(place) else {
            return;
        };
        if conn.is_frozen {
            return;
        }
        let faults = &mut self.hsm.faults;
        if faults.strikes(FaultKind::HalfOpen, now_ns) {
            conn.is_frozen = true;
            self.any_frozen = true;
            return;
        }
        conn.last_ns = now_ns;
        if conn.pipe.is_established() && faults.strikes(FaultKind::TlsAlert, now_ns) {
            conn.pipe.stream_mut().falsify = true;
        }
        if conn.receive(&mut self.scratch) {
            conn.pipe.stream_mut().falsify = false;
            self.pump(place);
        } else {
            self.close(place, false);
        }
    }

    /// Serves a connection's requests in their order, until one has to wait.
    pub(super) fn pump(&mut self, place: usize) {
        loop {
            let now_ns = self.now().ns;
            let Some(Some(conn)) = self.conns.get_mut(place) else {
                return;
            };
            if conn.since_ns.is_some() || conn.is_frozen {
                break;
            }
            let items = match conn.request() {
                Ok(Some(frame)) => decode_request(frame).map_or(1, |message| message.items.len()),
                Ok(None) => break,
                Err(error) => {
                    log::debug!("connection {}: {error}", conn.number);
                    return self.close(place, false);
                }
            };
            conn.since_ns = Some(now_ns);
            let number = conn.number;
            let admission = self.station.admit(now_ns, items);
            let busy = matches!(admission, Admission::Busy(_));
            self.modelled_ns
                .saturating_record(admission.due_ns() - now_ns);
            let stalled = self.hsm.faults.get(FaultKind::Stall).is_some();
            if admission.due_ns() > now_ns || stalled {
                let due = Due::Answer {
                    place,
                    number,
                    busy,
                };
                self.timers.set(admission.due_ns(), due);
                break;
            }
            if !self.answer(place, busy) {
                return self.close(place, false);
            }
        }
        self.flush(place);
    }

    /// Answers the request being served. False: the connection is over.
    fn answer(&mut self, place: usize, busy: bool) -> bool {
        let now = self.now();
        let Some(Some(conn)) = self.conns.get_mut(place) else {
            return false;
        };
        let since_ns = conn.since_ns.take().unwrap_or(now.ns);
        self.service_ns
            .saturating_record(now.ns - since_ns.min(now.ns));
        conn.last_ns = now.ns;
        self.out.clear();
        let Some((frame, session)) = conn.next_to_answer() else {
            return false;
        };
        let batch_max = self.station.model().batch_max;
        let items = decode_request(frame).map_or(0, |message| message.items.len());
        let verdict = if items > batch_max {
            Verdict::TooMany(batch_max)
        } else if busy {
            Verdict::Busy
        } else {
            Verdict::Serve
        };
        let bytes = frame.len();
        self.hsm.answer(session, frame, now, verdict, &mut self.out);
        conn.forget(bytes);
        let cut = self.hsm.faults.strikes(FaultKind::DropMidFrame, now.ns);
        let end = if cut {
            self.out.len() / 2
        } else {
            self.out.len()
        };
        let sent = conn.pipe.send(self.out.get(..end).unwrap_or_default());
        if let Err(error) = &sent {
            log::debug!("connection {}: {error}", conn.number);
        }
        sent.is_ok() && !cut
    }

    /// Writes what waits for the socket; the log first.
    pub(super) fn flush(&mut self, place: usize) {
        if let Err(error) = self.hsm.flush_truth() {
            log::error!("the ground truth cannot be written: {error}");
            self.is_stopping = true;
        }
        let Some(Some(conn)) = self.conns.get_mut(place) else {
            return;
        };
        if !conn.is_frozen && conn.pipe.flush().is_err() {
            self.close(place, false);
        }
    }

    /// Does what is due.
    pub(super) fn fire(&mut self) {
        while let Some((_, due)) = self.timers.take(self.now().ns) {
            self.happen(due);
        }
    }

    pub(super) fn happen(&mut self, due: Due) {
        match due {
            Due::Stall => {
                if let Some(ms) = self.station.stall_ms() {
                    let text = format!("stall {ms}");
                    // Of our own making: it reads.
                    if let Err(error) = self.obey(&text) {
                        log::error!("{text}: {error}");
                    }
                }
                self.plan_stall();
            }
            Due::Answer {
                place,
                number,
                busy,
            } => {
                if self.hsm.faults.get(FaultKind::Stall).is_some() {
                    return self.held.push(due);
                }
                if !self.is_there(place, number) {
                    return;
                }
                if self.answer(place, busy) {
                    self.pump(place);
                } else {
                    self.flush(place);
                    self.close(place, false);
                }
            }
            Due::Idle { place, number } => self.check_idle(place, number),
        }
    }

    /// Whether the connection is still the same, and answered at all.
    fn is_there(&self, place: usize, number: u64) -> bool {
        let conn = self.conns.get(place).and_then(Option::as_ref);
        conn.is_some_and(|conn| conn.number == number && !conn.is_frozen)
    }

    fn check_idle(&mut self, place: usize, number: u64) {
        let (true, Some(ms)) = (self.is_there(place, number), self.station.model().idle_ms) else {
            return;
        };
        let Some(Some(conn)) = self.conns.get(place) else {
            return;
        };
        let ends_ns = conn.last_ns.saturating_add(ns_of_ms(ms));
        if conn.since_ns.is_none() && ends_ns <= self.now().ns {
            log::debug!("connection {number} was idle for {ms} ms");
            return self.close(place, true);
        }
        let next_ns = ends_ns.max(self.now().ns + ns_of_ms(1.0));
        self.timers.set(next_ns, Due::Idle { place, number });
    }

    /// The certificate shown to new connections.
    pub(super) fn certificate(&self) -> Arc<ServerConfig> {
        let skew = self.hsm.faults.get(FaultKind::ClockSkew);
        let wrong = skew.and_then(|order| {
            if order.future {
                self.shown.future.as_ref()
            } else {
                self.shown.expired.as_ref()
            }
        });
        Arc::clone(wrong.unwrap_or(&self.shown.valid))
    }
}
