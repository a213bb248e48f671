//! What came of the requests, counted where they are sent: histograms and counters of the whole run, and a
//! tick for each second of it.
//!
//! Counts into memory that is there already. Must never be true: a request of the warm-up in the figures; a
//! request with two ends. Called by the event loop; ticks go to [`super::observer`].

use std::sync::mpsc::{Receiver, SyncSender, TrySendError};
use std::time::Duration;

use super::mix::Kind;
use crate::results::{ErrorKind, Errors, Latencies, Latency, Operation, OperationLatency, Totals};

const STATUSES: usize = 1000;
/// The server's figures may take so long.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(5);

/// What happened in one second.
#[derive(Debug, Default)]
pub struct Tick {
    /// Nothing: figures begin after this.
    pub is_begin: bool,
    /// Seconds since 1970.
    pub unix_s: u64,
    /// Requests that became due.
    pub planned: u64,
    /// Requests written.
    pub sent: u64,
    /// Right answers.
    pub right: u64,
    /// Failures by kind.
    pub failed: [u64; ErrorKind::ALL.len()],
    /// Of the right answers: the one that counts.
    pub latency: Latency,
    /// The longest send lag.
    pub lag_max_ns: u64,
    /// Handshakes that succeeded.
    pub handshakes: u64,
    /// Connections open at its end.
    pub connections: u64,
    /// CPU time of the generator.
    pub cpu: Duration,
}

impl Tick {
    /// Failures, in the results' form.
    pub fn errors(&self) -> Errors {
        errors(&self.failed)
    }

    fn clear(&mut self, unix_s: u64) {
        let mut latency = std::mem::take(&mut self.latency);
        latency.clear();
        *self = Self {
            unix_s,
            latency,
            ..Self::default()
        };
    }
}

fn errors(failed: &[u64; ErrorKind::ALL.len()]) -> Errors {
    let all = ErrorKind::ALL.iter().zip(failed);
    all.filter(|(_, count)| **count > 0)
        .map(|(kind, count)| (*kind, *count))
        .collect()
}

/// The way of ticks to whoever shows them, and back to be used again.
#[derive(Debug)]
pub struct Ticks {
    /// To the observer.
    pub out: SyncSender<Box<Tick>>,
    /// From it.
    pub back: Receiver<Box<Tick>>,
}

/// When a request was written, beside the end of its schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// By then.
    OnSchedule,
    /// Within its slack, as what waits for an answer at the end is.
    Soon,
    /// Later.
    Late,
}

impl Begun {
    /// What was written then, of a schedule with such an end and slack.
    pub fn at(sent_ns: u64, end_ns: u64, slack_ns: u64) -> Self {
        match sent_ns.saturating_sub(end_ns) {
            0 => Self::OnSchedule,
            after_ns if after_ns <= slack_ns => Self::Soon,
            _ => Self::Late,
        }
    }
}

/// Counts a run.
pub struct Tally {
    kinds: Vec<Operation>,
    is_closed: bool,
    operations: Vec<OperationLatency>,
    handshake_full: Latency,
    handshake_resumed: Latency,
    lag: Latency,
    planned: u64,
    sent: u64,
    begun_on_schedule: u64,
    begun_in_time: u64,
    right: u64,
    answers: u64,
    failed: [u64; ErrorKind::ALL.len()],
    statuses: Vec<u64>,
    handshakes: (u64, u64),
    bytes: (u64, u64),
    tick: Box<Tick>,
    ticks: Option<Ticks>,
    lost_ticks: u64,
}

impl Tally {
    /// For these kinds of request.
    pub fn new(kinds: &[Kind], is_closed: bool, ticks: Option<Ticks>) -> Self {
        Self {
            kinds: kinds.iter().map(|kind| name(*kind)).collect(),
            is_closed,
            operations: kinds.iter().map(|_| OperationLatency::default()).collect(),
            handshake_full: Latency::new(),
            handshake_resumed: Latency::new(),
            lag: Latency::new(),
            planned: 0,
            sent: 0,
            begun_on_schedule: 0,
            begun_in_time: 0,
            right: 0,
            answers: 0,
            failed: [0; ErrorKind::ALL.len()],
            statuses: vec![0; STATUSES],
            handshakes: (0, 0),
            bytes: (0, 0),
            tick: Box::default(),
            ticks,
            lost_ticks: 0,
        }
    }

    /// A request became due.
    pub fn planned(&mut self) {
        self.planned += 1;
        self.tick.planned += 1;
    }

    /// It was written, so long after it could have been.
    pub fn sent(&mut self, lag_ns: u64, begun: Begun) {
        self.sent += 1;
        self.begun_on_schedule += u64::from(begun == Begun::OnSchedule);
        self.begun_in_time += u64::from(begun != Begun::Late);
        self.tick.sent += 1;
        if !self.is_closed {
            self.lag.record_ns(lag_ns);
            self.tick.lag_max_ns = self.tick.lag_max_ns.max(lag_ns);
        }
    }

    /// Its answer had this status.
    pub fn status(&mut self, status: u16) {
        self.answers += 1;
        if let Some(count) = self.statuses.get_mut(usize::from(status)) {
            *count += 1;
        }
    }

    /// It was the right one: so long after it was due, and so long after it was written.
    pub fn right(&mut self, kind: u8, response_ns: u64, service_ns: u64) {
        self.right += 1;
        self.tick.right += 1;
        let Some(operation) = self.operations.get_mut(usize::from(kind)) else {
            return;
        };
        operation.service.record_ns(service_ns);
        if self.is_closed {
            self.tick.latency.record_ns(service_ns);
        } else {
            operation.response.record_ns(response_ns);
            self.tick.latency.record_ns(response_ns);
        }
    }

    /// It failed, which was known so long after it was due.
    pub fn failed(&mut self, kind: u8, error: ErrorKind, after_ns: u64) {
        if let (Some(whole), Some(second)) = (
            self.failed.get_mut(error as usize),
            self.tick.failed.get_mut(error as usize),
        ) {
            *whole += 1;
            *second += 1;
        }
        // It was begun, but for the server's refusal.
        let is_refused = matches!(error, ErrorKind::ConnectFailed | ErrorKind::HandshakeFailed);
        self.begun_on_schedule += u64::from(is_refused);
        self.begun_in_time += u64::from(is_refused);
        if let Some(operation) = self.operations.get_mut(usize::from(kind)) {
            operation.failed.record_ns(after_ns);
        }
    }

    /// A handshake succeeded, so long after TCP began to connect.
    pub fn handshake(&mut self, is_resumed: bool, took_ns: u64) {
        self.tick.handshakes += 1;
        if is_resumed {
            self.handshakes.1 += 1;
            self.handshake_resumed.record_ns(took_ns);
        } else {
            self.handshakes.0 += 1;
            self.handshake_full.record_ns(took_ns);
        }
    }

    /// Bytes of TLS, sent and received.
    pub fn bytes(&mut self, (sent, received): (u64, u64)) {
        self.bytes.0 += sent;
        self.bytes.1 += received;
    }

    /// The warm-up is over, and the second `unix_s` is what comes now. Handshakes stay: connections that are kept
    /// were made before. `is_told`: also to whoever takes the seconds.
    pub fn begin(&mut self, unix_s: u64, is_told: bool) {
        for operation in &mut self.operations {
            operation.response.clear();
            operation.service.clear();
            operation.failed.clear();
        }
        self.lag.clear();
        (
            self.planned,
            self.sent,
            self.begun_on_schedule,
            self.begun_in_time,
            self.right,
            self.answers,
        ) = (0, 0, 0, 0, 0, 0);
        self.failed.fill(0);
        self.statuses.fill(0);
        self.bytes = (0, 0);
        self.tick.clear(unix_s);
        if is_told {
            self.tell_begin();
        }
    }

    /// Before anything is asked: whoever takes the seconds looks at the server. Waits until that is done.
    pub fn prepare(&mut self) {
        if self.tell_begin()
            && let Some(ticks) = &self.ticks
        {
            // Later than that, the first second has some of what came before.
            let _ = ticks.back.recv_timeout(PREPARE_TIMEOUT);
        }
    }

    fn tell_begin(&self) -> bool {
        let begin = Tick {
            is_begin: true,
            ..Tick::default()
        };
        let told = self
            .ticks
            .as_ref()
            .map(|ticks| ticks.out.try_send(Box::new(begin)));
        told.is_some_and(|told| told.is_ok())
    }

    /// The second is over: `next_unix_s` is what comes now.
    pub fn turn(&mut self, connections: u64, cpu: Duration, next_unix_s: u64) {
        self.tick.connections = connections;
        self.tick.cpu = cpu;
        let Some(ticks) = &self.ticks else {
            return self.tick.clear(next_unix_s);
        };
        let mut next = ticks.back.try_recv().unwrap_or_default();
        next.clear(next_unix_s);
        let done = std::mem::replace(&mut self.tick, next);
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = ticks.out.try_send(done)
        {
            self.lost_ticks += 1;
        }
    }

    /// Answers of any kind.
    pub fn answers(&self) -> u64 {
        self.answers
    }

    /// So many answers that counted as right were not, as was found later.
    pub fn found_wrong(&mut self, count: u64) {
        let count = count.min(self.right);
        self.right -= count;
        if let Some(wrong) = self.failed.get_mut(ErrorKind::WrongAnswer as usize) {
            *wrong += count;
        }
    }

    /// No more seconds: whoever takes them is told.
    pub fn finish_ticks(&mut self) {
        self.ticks = None;
    }

    /// Requests written before their schedule was over, and those that nobody let in.
    pub fn begun_on_schedule(&self) -> u64 {
        self.begun_on_schedule
    }

    /// The same, and those written in the time that a schedule is given beyond its end.
    pub fn begun_in_time(&self) -> u64 {
        self.begun_in_time
    }

    /// Seconds that nobody took.
    pub fn lost_ticks(&self) -> u64 {
        self.lost_ticks
    }

    /// All counts.
    pub fn totals(&self) -> Totals {
        let statuses = (0..).zip(&self.statuses).filter(|(_, count)| **count > 0);
        Totals {
            planned: self.planned,
            sent: self.sent,
            right: self.right,
            errors: errors(&self.failed),
            statuses: statuses.map(|(status, count)| (status, *count)).collect(),
            handshakes_full: self.handshakes.0,
            handshakes_resumed: self.handshakes.1,
            bytes_sent: self.bytes.0,
            bytes_received: self.bytes.1,
        }
    }

    /// All histograms.
    pub fn into_latencies(self) -> Latencies {
        let mut latencies = Latencies {
            handshake_full: self.handshake_full,
            handshake_resumed: self.handshake_resumed,
            lag: self.lag,
            ..Latencies::default()
        };
        for (operation, latency) in self.kinds.into_iter().zip(self.operations) {
            latencies.operations.insert(operation, latency);
        }
        latencies
    }
}

/// Its name in results: `decrypt`, `decrypt-batch32`.
pub fn name(kind: Kind) -> Operation {
    let text = match kind.items {
        1 => kind.operation.name().to_owned(),
        items => format!("{}-batch{items}", kind.operation.name()),
    };
    Operation::new(&text).unwrap_or_else(|_| unreachable!("letters, a dash and digits"))
}

#[cfg(test)]
#[path = "tally/tests.rs"]
mod tests;
