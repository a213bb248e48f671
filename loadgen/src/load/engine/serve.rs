//! What is done with a place when its socket is ready, when a request is due, and when time has passed.
//!
//! Must never be true: a request that is sent before one that has waited longer in its lane. Called by the event loop.

use mio::Registry;

use super::Pace;
use super::core::{Asked, Core, Due};
use super::slots::{Slots, State};
use crate::connection::{Broken, Connection};
use crate::results::ErrorKind;

/// Requests that wait in one lane.
const WAITING_MAX: usize = 1 << 20;

impl Slots {
    /// Sends what is due by now.
    pub fn dispatch(&mut self, now_ns: u64, registry: &Registry, core: &mut Core) {
        while core.is_due(now_ns) {
            let Some(shot) = core.feed.next_shot() else {
                return;
            };
            if core.is_measured(shot.at_ns) {
                core.tally.planned();
            }
            let due = Due {
                shot,
                late_ns: core.clock.now_ns().saturating_sub(shot.at_ns),
            };
            self.assign(due, registry, core);
        }
    }

    /// Finds a connection for a request.
    fn assign(&mut self, due: Due, registry: &Registry, core: &mut Core) {
        let refusal = self.refusal();
        let shot = due.shot;
        let Some(lane) = self.lanes.get_mut(shot.device as usize) else {
            return core.drop_shot(shot, ErrorKind::NotSent, shot.at_ns);
        };
        if let Some(place) = lane.idle.pop_front() {
            return self.send(place, due, 0, registry, core);
        }
        // A handshake costs as much as a hundred requests: too many at once, and all are late.
        let may_open = lane.opening < self.plan.opening_max();
        if let Some(place) = lane.closed.pop_if(|_| may_open) {
            return self.open_place(place, Some(due), registry, core);
        }
        if lane.alive == 0 {
            core.drop_shot(shot, refusal, shot.at_ns);
        } else if lane.waiting.len() < WAITING_MAX {
            lane.waiting.push_back(due);
        } else {
            core.drop_shot(shot, ErrorKind::NotSent, shot.at_ns);
        }
    }

    /// Sends a request on a connection that is free since `ready_ns`.
    fn send(&mut self, place: u32, due: Due, ready_ns: u64, registry: &Registry, core: &mut Core) {
        let Some(slot) = self.all.get_mut(place as usize) else {
            return;
        };
        slot.is_idle = false;
        slot.left = slot.left.saturating_sub(1);
        let Some(connection) = &mut slot.connection else {
            return core.drop_shot(due.shot, ErrorKind::NotSent, due.shot.at_ns);
        };
        let sent = core.send(connection, due, ready_ns);
        if let Err(why) = sent.and_then(|()| connection.flush()) {
            self.break_off(place, &why, registry, core);
        }
    }

    /// Takes what a socket has, and gives it new requests.
    pub fn touch(&mut self, place: u32, scratch: &mut [u8], registry: &Registry, core: &mut Core) {
        let Some(slot) = self.all.get_mut(place as usize) else {
            return;
        };
        let Some(connection) = &mut slot.connection else {
            return;
        };
        let done = if slot.state == State::Opening {
            connection
                .handshake(scratch)
                .map(|()| !connection.is_established())
        } else {
            Ok(false)
        };
        match done {
            Ok(true) => return,
            Err(why) => return self.break_off(place, &why, registry, core),
            Ok(false) if slot.state == State::Opening => {
                return self.established(place, registry, core);
            }
            Ok(false) => {}
        }
        // A connection that broke, or was retired, has another in its place, which is opening.
        while let Some(connection) = self.open_connection(place) {
            let received = connection.receive(scratch, core);
            match received.and_then(|more| connection.flush().map(|()| more)) {
                Err(why) => return self.break_off(place, &why, registry, core),
                Ok(more) => {
                    self.refill(place, registry, core);
                    if !more {
                        return;
                    }
                }
            }
        }
    }

    fn open_connection(&mut self, place: u32) -> Option<&mut Connection<Asked>> {
        let slot = self.all.get_mut(place as usize)?;
        slot.connection
            .as_mut()
            .filter(|_| slot.state == State::Open)
    }

    /// A handshake is complete.
    fn established(&mut self, place: u32, registry: &Registry, core: &mut Core) {
        let now_ns = core.clock.now_ns();
        core.now_ns = now_ns;
        let Some(slot) = self.all.get_mut(place as usize) else {
            return;
        };
        let Some(connection) = &mut slot.connection else {
            return;
        };
        slot.state = State::Open;
        let lane = slot.lane;
        self.open += 1;
        let took_ns = now_ns.saturating_sub(slot.opened_ns);
        core.tally.handshake(connection.is_resumed(), took_ns);
        if self.agreed.is_none() {
            self.agreed = Some(connection.describe());
        }
        let ahead = slot.ahead.take();
        if let Some(lane) = self.lanes.get_mut(lane as usize) {
            lane.opening = lane.opening.saturating_sub(1);
        }
        match ahead {
            None => self.refill(place, registry, core),
            Some(due) => {
                slot.left = slot.left.saturating_sub(1);
                // The handshake is part of its time, and no lag.
                let sent = core.send(connection, due, u64::MAX);
                if let Err(why) = sent.and_then(|()| connection.flush()) {
                    self.break_off(place, &why, registry, core);
                }
            }
        }
        self.open_next(lane, registry, core);
    }

    /// There is room for one more handshake.
    fn open_next(&mut self, lane: u32, registry: &Registry, core: &mut Core) {
        let Some(lane) = self.lanes.get_mut(lane as usize) else {
            return;
        };
        if lane.waiting.is_empty() {
            return;
        }
        if let (Some(place), Some(due)) = (lane.closed.pop(), lane.waiting.front().copied()) {
            lane.waiting.pop_front();
            self.open_place(place, Some(due), registry, core);
        }
    }

    /// A connection has room for a request: gives it one, closes it, or lets it stand by.
    fn refill(&mut self, place: u32, registry: &Registry, core: &mut Core) {
        let (polled_ns, pace) = (self.polled_ns, self.plan.pace);
        let Some(slot) = self.all.get_mut(place as usize) else {
            return;
        };
        let in_flight = slot.connection.as_ref().map_or(0, Connection::in_flight);
        if slot.left == 0 && in_flight == 0 {
            return self.retire(place, registry, core);
        }
        match pace {
            Pace::Closed { depth } => self.fill(place, usize::from(depth), registry, core),
            Pace::Open if in_flight > 0 || slot.is_idle => {}
            Pace::Open => {
                let Some(lane) = self.lanes.get_mut(slot.lane as usize) else {
                    return;
                };
                if let Some(due) = lane.waiting.pop_front() {
                    self.send(place, due, polled_ns, registry, core);
                } else {
                    slot.is_idle = true;
                    lane.idle.push_back(place);
                }
            }
        }
    }

    /// In a closed loop: asks until so many requests are in flight, with one write.
    fn fill(&mut self, place: u32, depth: usize, registry: &Registry, core: &mut Core) {
        let Some(slot) = self.all.get_mut(place as usize) else {
            return;
        };
        let Some(connection) = &mut slot.connection else {
            return;
        };
        let mut filled = Ok(());
        while filled.is_ok() && slot.left > 0 && connection.in_flight() < depth {
            if core.is_over {
                break;
            }
            let Some(shot) = core.feed.now(core.now_ns) else {
                break;
            };
            if core.is_measured(shot.at_ns) {
                core.tally.planned();
            }
            slot.left -= 1;
            filled = core.send(connection, Due { shot, late_ns: 0 }, 0);
        }
        if let Err(why) = filled.and_then(|()| connection.flush()) {
            self.break_off(place, &why, registry, core);
        }
    }

    /// Ends what took too long, and wakes what has rested.
    pub fn expire(&mut self, now_ns: u64, registry: &Registry, core: &mut Core) {
        let timeout_ns = self.plan.timeout_ns;
        for place in 0..u32::try_from(self.all.len()).unwrap_or(u32::MAX) {
            let Some(slot) = self.all.get(place as usize) else {
                return;
            };
            let is_late = match slot.state {
                State::Closed => false,
                State::Resting { until_ns } => {
                    if until_ns <= now_ns {
                        self.wake(place, registry, core);
                    }
                    false
                }
                State::Opening => slot.opened_ns + timeout_ns < now_ns,
                State::Open => {
                    let oldest = slot.connection.as_ref().and_then(Connection::oldest);
                    oldest.is_some_and(|asked| asked.sent_ns + timeout_ns < now_ns)
                }
            };
            if is_late {
                self.break_off(place, &Broken::Silent, registry, core);
            }
        }
        for lane in &mut self.lanes {
            while lane
                .waiting
                .front()
                .is_some_and(|due| due.shot.at_ns + timeout_ns < now_ns)
            {
                if let Some(due) = lane.waiting.pop_front() {
                    core.drop_shot(due.shot, ErrorKind::NotSent, now_ns);
                }
            }
        }
    }

    /// The run is cut: what is under way has no end.
    pub fn cut(&mut self, core: &mut Core) {
        let now_ns = core.clock.now_ns();
        for slot in &mut self.all {
            if let Some(connection) = &mut slot.connection {
                core.tally.bytes(connection.take_bytes());
                for asked in connection.give_up() {
                    core.lose(&asked, ErrorKind::Unfinished, now_ns);
                }
                connection.close();
            }
            if let Some(due) = slot.ahead.take() {
                core.drop_shot(due.shot, ErrorKind::Unfinished, now_ns);
            }
        }
        for lane in &mut self.lanes {
            for due in std::mem::take(&mut lane.waiting) {
                core.drop_shot(due.shot, ErrorKind::NotSent, now_ns);
            }
        }
    }
}
