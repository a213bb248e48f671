//! What a connection does between jobs: it is looked at, asked something, made anew, or moves to another server.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::fleet::{Ailment, ServerId};
use super::Shared;
use super::check::check;
use super::worker::{Conn, Doing, LOOK_AROUND};

/// A connection that was closed sooner was not closed for being idle.
const IDLE_LIMIT_MIN: Duration = Duration::from_secs(2);
/// How soon a connection that could not be made anew is tried again.
const RENEW_AGAIN: Duration = Duration::from_secs(10);

/// Why an idle connection is asked something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Probe {
    /// So that it is not closed for being idle.
    KeepAlive,
    /// To see whether the server works: nobody else has shown it of late.
    Check,
}

/// Whether a connection that has nothing to do is to be asked something.
pub(super) fn due(shared: &Shared, server: ServerId, idle: Duration) -> Option<Probe> {
    let now = shared.time.now();
    let mut fleet = shared.fleet.lock();
    if fleet.begin_check(server, now) {
        return Some(Probe::Check);
    }
    (idle >= fleet.keep_alive_after(server)).then_some(Probe::KeepAlive)
}

/// Asks it.
pub(super) fn probe(shared: &Shared, conn: &mut Conn, why: Probe) -> Result<(), Ailment> {
    let session = conn.session.as_mut();
    match why {
        Probe::Check => check(shared, conn.server, session),
        Probe::KeepAlive => session.probe(shared.time.now() + shared.plan.connect_timeout),
    }
}

/// The new way to connect does not work: the old connection serves on, and it is tried again later.
pub(super) fn stay(shared: &Shared, mut old: Conn, why: &str) -> Conn {
    shared.metrics.connect_failed.bump();
    let mut fleet = shared.fleet.lock();
    fleet.stayed(old.server);
    log::warn!(
        "{}: {}: no connection with the reloaded certificates, the old one stays: {why}",
        shared.plan.name,
        fleet.label(old.server)
    );
    drop(fleet);
    old.looked = shared.time.now() + RENEW_AGAIN;
    old
}

/// Whether it is not yet time to look around: what did not work is tried again later, what is new at once.
fn is_early(shared: &Shared, conn: &Conn, epoch: u64) -> bool {
    shared.since(conn.looked) < LOOK_AROUND && epoch == conn.tried
}

/// Now and then: whether the connection is to be made anew, or another server has too few.
pub(super) fn look_around(shared: &Shared, mut conn: Conn) -> Doing {
    let epoch = shared.epoch.load(Ordering::Acquire);
    if is_early(shared, &conn, epoch) {
        return Doing::Draining(conn);
    }
    conn.looked = shared.time.now();
    let mut fleet = shared.fleet.lock();
    let better = if let Some(refuge) = fleet.refuge(conn.server) {
        conn.tried = epoch;
        Some(refuge)
    } else if conn.epoch < epoch && fleet.is_wanted(conn.server) {
        // One that is not configured any more is served by until there is a refuge.
        conn.tried = epoch;
        fleet.again(conn.server);
        Some(conn.server)
    } else {
        fleet.better(conn.server)
    };
    drop(fleet);
    match better {
        Some(server) => Doing::Moving(conn, server),
        None => Doing::Draining(conn),
    }
}

/// An HSM that drops idle connections is asked something before it would.
pub(super) fn note_idle_end(shared: &Shared, server: ServerId, idle: Duration) {
    if idle < IDLE_LIMIT_MIN {
        return;
    }
    let mut fleet = shared.fleet.lock();
    if fleet.learn_idle_limit(server, idle) {
        log::info!(
            "{}: {} closed a connection that was idle for {} s; from now on an idle one is asked something \
             every {} s",
            shared.plan.name,
            fleet.label(server),
            idle.as_secs(),
            fleet.keep_alive_after(server).as_secs()
        );
    }
}
