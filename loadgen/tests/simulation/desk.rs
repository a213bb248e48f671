//! The clients' side of the world: what a worker does with their bytes, tickets and deadlines; and
//! incidents.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use kms::engine::{Outcome, Waiter};
use kms::identity::{Operations, Pin, Role};
use kms::server::loopback::{Awaits, Loopback, Place};

use crate::client::{Answered, Ask, Judge, Piece, Sent, answers};
use crate::hsm::{UNIX_S, lock};
use crate::plan::{Incident, MS};
use crate::trace::note;
use crate::world::{Event, World};

pub struct Client<'s> {
    pub conn: u32,
    pub loopback: Loopback<'s>,
    pub script: VecDeque<Piece>,
    pub sent: VecDeque<Sent>,
    pub replies: Vec<u8>,
    /// The deadline that was last set.
    pub noted: Option<Instant>,
}

impl<'s> World<'s> {
    pub fn ticket(&mut self, waiter: Waiter, outcome: Outcome) {
        let conn = waiter.conn;
        let Some(at) = self.clients.iter().position(|client| client.conn == conn) else {
            return note(self.ns, "late ticket", conn, 0_u64);
        };
        self.with(at, |client| {
            client.loopback.ticket(waiter, outcome, &mut client.replies)
        });
    }

    pub fn expire(&mut self, conn: u32) {
        let now = self.now();
        let Some(at) = self.clients.iter().position(|client| client.conn == conn) else {
            return;
        };
        let due = self.clients[at].loopback.deadline();
        if due.is_some_and(|deadline| deadline <= now) {
            note(self.ns, "gives up", conn, 0_u64);
            self.with(at, |client| client.loopback.give_up(&mut client.replies));
        }
    }

    /// Has a client's connection do something, and looks at what it answered.
    fn with(&mut self, at: usize, act: impl FnOnce(&mut Client<'s>) -> Awaits) {
        let (now, ns) = (self.now(), self.ns);
        let client = &mut self.clients[at];
        let unix_s = UNIX_S + u32::try_from(ns / (1000 * MS)).unwrap();
        client.loopback.set_clock(now, unix_s);
        let awaits = act(client);
        assert_ne!(awaits, Awaits::Nothing, "the connection was ended");
        for answered in answers(&mut client.replies) {
            self.take_answer(at, &answered);
        }
        let client = &mut self.clients[at];
        let (conn, deadline) = (client.conn, client.loopback.deadline());
        if let Some(due) = deadline.filter(|_| deadline != client.noted) {
            self.at(self.ns_of(due), Event::Deadline(conn));
        }
        self.clients[at].noted = deadline;
    }

    fn take_answer(&mut self, at: usize, answered: &Answered) {
        let ns = self.ns;
        let client = &mut self.clients[at];
        let sent = client.sent.pop_front().expect("an answer to nothing");
        if let Some(next) = client.sent.front_mut() {
            next.since_ns = ns;
        }
        note(ns, answered.kind(), at, ns - sent.since_ns);
        let late_ns = if self.frozen.0 >= sent.since_ns {
            self.frozen.1
        } else {
            0
        };
        let cluster = lock(&self.cluster);
        let judge = Judge {
            plan: self.plan,
            hsm: &cluster.hsm,
            ns,
        };
        judge.check(&sent, answered);
        judge.check_time(&sent, answered.status, late_ns);
        if sent.is_warm && sent.is_alone && cluster.is_away() {
            note(ns, "hit while the HSM is away", at, 0_u64);
        }
        if sent.must_succeed && !self.plan.faults.is_empty() {
            note(ns, "recovered", at, 0_u64);
        }
        drop(cluster);
        self.note_warm(&sent, answered);
    }

    pub fn deliver(&mut self, at: usize) {
        let Some(mut piece) = self.clients[at].script.pop_front() else {
            return;
        };
        if let Some(request) = piece.completes.take() {
            let is_warm = self.is_warm(&request.ask);
            let may_hit = request
                .ask
                .unwraps()
                .all(|number| self.asked.contains(&number));
            self.asked.extend(request.ask.unwraps());
            let sent = &mut self.clients[at].sent;
            note(self.ns, "client asks", at, request.bytes.len());
            sent.push_back(Sent {
                is_alone: sent.is_empty(),
                is_warm,
                may_hit,
                must_succeed: request.must_succeed,
                since_ns: self.ns,
                ask: request.ask,
            });
        }
        self.with(at, |client| {
            client.loopback.feed(&mut piece.bytes, &mut client.replies)
        });
        self.next_piece(at);
    }

    pub fn next_piece(&mut self, at: usize) {
        if let Some(piece) = self.clients[at].script.front() {
            let at_ns = piece.at_ns.max(self.ns);
            self.at(at_ns, Event::Bytes(at));
        }
    }

    pub fn open(&mut self, at: usize) -> (u32, Loopback<'s>) {
        self.conns += 1;
        let place = Place {
            conn: self.conns,
            address: address(at),
        };
        let now = self.now();
        let loopback = Loopback::open_at(self.shared, pin(), place, now, UNIX_S);
        (self.conns, loopback.expect("locked memory"))
    }

    pub fn befall(&mut self, incident: Incident) {
        note(self.ns, incident.kind(), 0_u64, 0_u64);
        match incident {
            Incident::Purge => {
                self.shared.engine.cache().purge_all();
                // Who joins a fetch that is older than the purge is answered, but fills nothing.
                self.fills_from_ns = self.ns + 3 * self.plan.timeout_ms * MS;
                self.warm.clear();
                // What waits now may have to ask only after the purge.
                let waiting = self.clients.iter().flat_map(|client| &client.sent);
                self.asked = waiting.flat_map(|sent| sent.ask.unwraps()).collect();
            }
            Incident::Freeze(lasts_ns) => self.frozen = (self.ns + lasts_ns, lasts_ns),
            Incident::Rotate => lock(&self.cluster).rotate("side:v2"),
            Incident::Deactivate => lock(&self.cluster).deactivate("side"),
            Incident::Hangup(at) => {
                let (conn, loopback) = self.open(at);
                let client = &mut self.clients[at];
                (client.conn, client.loopback, client.noted) = (conn, loopback, None);
                client.sent.clear();
                client.replies.clear();
                // What was sent in part is not gone on with.
                while client.script.front().is_some_and(|piece| piece.goes_on) {
                    client.script.pop_front();
                }
            }
        }
    }

    /// Whether the cache must have what is asked.
    fn is_warm(&self, ask: &Ask) -> bool {
        let Ask::Decrypt(items, false) = ask else {
            return false;
        };
        let filled_ns = self.warm.get(&items[0].number);
        filled_ns.is_some_and(|filled_ns| self.ns - filled_ns < self.sure_life_ns())
    }

    /// Up to a tenth less by its name, and counted in tenths of a second.
    fn sure_life_ns(&self) -> u64 {
        (u64::from(self.plan.ttl_s) * 900 - 100) * MS
    }

    fn note_warm(&mut self, sent: &Sent, answered: &Answered) {
        let Ask::Decrypt(items, false) = &sent.ask else {
            return;
        };
        let item = &items[0];
        let fills = item.is_sure && answered.status == 200 && sent.since_ns >= self.fills_from_ns;
        if !fills || self.plan.entries_max < 1000 || self.plan.is_tight() {
            return;
        }
        // What was answered at once may have been there for long.
        if sent.since_ns < self.ns && !self.warm.contains_key(&item.number) {
            self.warm.insert(item.number, self.ns);
        }
    }

    pub fn waiting(&self, at: usize) -> usize {
        let address = kms::quota::Address::of((address(at), 0).into());
        let client = self.shared.quota.client(&[0; 32], address, self.now());
        client.waiting()
    }
}

/// Two clients share an address, and so their limits.
fn address(at: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, u8::try_from(at / 2).unwrap()))
}

fn pin() -> Arc<Pin> {
    let role = Role {
        name: "all".to_owned(),
        operations: Operations::all(),
        keys: vec!["*".to_owned()],
    };
    Arc::new(Pin {
        alias: "client".to_owned(),
        subject: "CN=client".to_owned(),
        fingerprint: [0; 32],
        spki: Vec::new(),
        not_before_unix_s: 0,
        not_after_unix_s: i64::MAX,
        role: Arc::new(role),
        revoked: AtomicBool::new(false),
        issued: None,
    })
}
