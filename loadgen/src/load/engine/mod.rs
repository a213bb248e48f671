//! The event loop of the load engine: one thread, all connections, open or closed loop.
//!
//! **Open loop**: requests are due by a schedule that does not look at the answers. A request that is due takes a
//! free connection, or opens one of those allowed, or waits for one; its response time counts from when it was
//! due. How late the loop itself was, with a connection free, is its lag. **Closed loop**: a connection asks again
//! when it has its answer.
//!
//! Must never be true: an allocation for each request; a wait without a deadline; a request whose end is not told.
//! Called by [`super::run`].

mod core;
mod plan;
mod serve;
mod slots;
mod times;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kms::net::pipe::SCRATCH_BYTES_MIN;
use mio::{Events, Poll, Token};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use self::core::Core;
use self::slots::Slots;
use self::times::{SECOND_NS, Times};
use super::clock::Clock;
use super::request::Requests;
use super::source::Feed;
use super::tally::Tally;
use crate::alarm::Alarm;
use crate::cpu;

pub use self::plan::{EngineError, EnginePlan, Life, Pace};

const ALARM: Token = Token(0);
const SLOTS_FROM: usize = 1;
/// Between two looks at what takes too long.
const TICK_NS: u64 = 20_000_000;
/// While a start is waited for, between two looks at whether to go on.
const WAIT_SLICE: Duration = Duration::from_millis(100);
/// Connections that are opened at the same time before the run.
const OPENING_MAX: usize = 32;
/// How long they may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Closer than this a due time is spun for, where that was asked for.
const SPIN_NS: u64 = 200_000;

/// What an engine measured.
pub struct Ended {
    /// All counts and histograms.
    pub tally: Tally,
    /// The clock of the run.
    pub clock: Clock,
    /// Of the first request in figures, microseconds since 1970.
    pub start_unix_us: u64,
    /// Until the last answer, or until nobody waited any more.
    pub duration_ns: u64,
    /// As planned, or until the run was cut.
    pub planned_ns: u64,
    /// CPU time of the event loop's thread.
    pub cpu: Duration,
    /// Why the run was cut, if it was.
    pub cut: Option<String>,
    /// What connections agreed on.
    pub agreed: Option<String>,
    /// Why the last of them failed.
    pub last_failure: Option<String>,
    /// What the first refusal said.
    pub first_refusal: Option<String>,
    /// How often a scan of keys began anew.
    pub rounds: u64,
    /// Composer, with the samples to look at.
    pub requests: Requests,
}

/// Whether a run is over.
enum End {
    NotYet,
    Whole,
    Cut(String),
}

/// Connections to a server, and what is asked on them.
pub struct Engine<'a> {
    poll: Poll,
    events: Events,
    alarm: Alarm,
    slots: Slots,
    core: Core,
    scratch: Vec<u8>,
    stop: &'a AtomicBool,
}

impl<'a> Engine<'a> {
    /// Opens the connections. `stop` ends the run when it becomes true.
    pub fn connect(
        plan: EnginePlan,
        feed: Feed,
        requests: Requests,
        tally: Tally,
        stop: &'a AtomicBool,
    ) -> Result<Self, EngineError> {
        let poll = Poll::new()?;
        let alarm = Alarm::new(poll.registry(), ALARM)?;
        let whole_ns = plan.warm_up_ns.saturating_add(plan.duration_ns);
        let core = Core {
            clock: Clock::start(plan.jump),
            requests,
            tally,
            now_ns: 0,
            measure_from_ns: plan.warm_up_ns,
            has_begun: false,
            end_ns: whole_ns,
            slack_ns: plan.slack_ns(),
            is_over: false,
            answered_ns: 0,
            failed_since: 0,
            first_refusal: None,
            feed,
        };
        let random = SmallRng::seed_from_u64(plan.seed);
        let devices = core.feed.devices();
        let capacity = (plan.connections_max + devices).clamp(64, 4096) as usize;
        let mut engine = Self {
            poll,
            events: Events::with_capacity(capacity),
            alarm,
            slots: Slots::new(plan, devices, random, SLOTS_FROM),
            core,
            scratch: vec![0; 2 * SCRATCH_BYTES_MIN],
            stop,
        };
        engine.open_kept()?;
        Ok(engine)
    }

    fn open_kept(&mut self) -> Result<(), EngineError> {
        let deadline = Instant::now() + PATIENCE;
        // Nothing is asked yet: no connection asks by itself.
        self.core.is_over = true;
        loop {
            while self.slots.opening() < OPENING_MAX
                && self.slots.last_failure.is_none()
                && let Some(place) = self.slots.next_kept()
            {
                self.slots
                    .open_place(place, None, self.poll.registry(), &mut self.core);
            }
            if let Some((why, _)) = self.slots.last_failure.take() {
                return Err(EngineError::Connect(why));
            }
            if self.slots.opening() == 0 {
                self.core.is_over = false;
                return Ok(());
            }
            if Instant::now() > deadline {
                let why = "the handshakes do not end".to_owned();
                return Err(EngineError::Connect(why));
            }
            let tick = Duration::from_nanos(TICK_NS);
            self.wait(Some(tick))?;
            self.handle(false);
        }
    }

    /// Runs to the end. Begins at `start`, or at once; `begun` hears when the first figure is taken.
    pub fn run(
        mut self,
        start: Option<SystemTime>,
        begun: Option<&Sender<SystemTime>>,
    ) -> Result<Ended, EngineError> {
        self.core.tally.prepare();
        self.wait_for(start);
        self.core.clock = Clock::start(self.slots.plan.jump);
        // Times of the clock before are none of this one: with them, requests would be due early.
        self.core.now_ns = 0;
        self.slots.forget_times();
        let started_unix_us = self.core.clock.start_unix_us();
        let warm_up_ns = self.slots.plan.warm_up_ns;
        let start_unix_us = started_unix_us + warm_up_ns / 1000;
        if let Some(begun) = begun {
            // Whoever asked may not wait for it any more.
            let _ = begun.send(UNIX_EPOCH + Duration::from_micros(start_unix_us));
        }
        self.core.has_begun = warm_up_ns == 0;
        self.core.tally.begin(start_unix_us / 1_000_000, false);
        let mut times = Times::new(started_unix_us, warm_up_ns);
        times.cpu_begin = cpu::this_thread()?;
        times.cpu_second = times.cpu_begin;
        self.first_requests();
        let cut = loop {
            let now_ns = self.core.clock.now_ns();
            self.slots
                .dispatch(now_ns, self.poll.registry(), &mut self.core);
            if now_ns >= times.tick_ns {
                match self.tick(now_ns, &mut times)? {
                    End::NotYet => {}
                    End::Whole => break None,
                    End::Cut(why) => break Some(why),
                }
            }
            let next_ns = self.core.feed.peek_ns().unwrap_or(u64::MAX);
            let wake_ns = next_ns.min(times.tick_ns);
            let is_near = self.slots.plan.spins && wake_ns < now_ns + SPIN_NS;
            if is_near || wake_ns <= now_ns {
                self.wait(Some(Duration::ZERO))?;
            } else {
                self.alarm.arm(wake_ns, now_ns)?;
                self.wait(None)?;
            }
            self.handle(true);
        };
        self.finish(start_unix_us, &times, cut)
    }

    /// Agents on several machines begin at one time.
    fn wait_for(&self, start: Option<SystemTime>) {
        let left = || start.and_then(|start| start.duration_since(SystemTime::now()).ok());
        while let Some(left) = left()
            && !self.stop.load(Ordering::Relaxed)
        {
            std::thread::sleep(left.min(WAIT_SLICE));
        }
    }

    /// In a closed loop: what every connection asks first.
    fn first_requests(&mut self) {
        if self.slots.plan.pace == Pace::Open {
            return;
        }
        for place in 0..self.slots.plan.connections {
            self.slots.touch(
                place,
                &mut self.scratch,
                self.poll.registry(),
                &mut self.core,
            );
        }
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.events.clear(),
            other => other?,
        }
        self.slots.polled_ns = self.core.clock.now_ns();
        Ok(())
    }

    /// Serves what the poll found; between two connections sends what has become due.
    fn handle(&mut self, dispatches: bool) {
        // Swapped out, so that events can be read while connections change.
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        let registry = self.poll.registry();
        for event in &events {
            if event.token() == ALARM {
                self.alarm.went_off();
                continue;
            }
            let place = u32::try_from(event.token().0 - SLOTS_FROM).unwrap_or(u32::MAX);
            self.slots
                .touch(place, &mut self.scratch, registry, &mut self.core);
            if dispatches && self.core.is_due(self.core.now_ns) {
                self.slots
                    .dispatch(self.core.now_ns, registry, &mut self.core);
            }
        }
        self.events = events;
    }

    /// What is done now and then. Whether the run is over.
    fn tick(&mut self, now_ns: u64, times: &mut Times) -> io::Result<End> {
        self.slots
            .expire(now_ns, self.poll.registry(), &mut self.core);
        if !times.is_measuring && now_ns >= times.begin_ns {
            times.is_measuring = true;
            let cpu = cpu::this_thread()?;
            (times.cpu_begin, times.cpu_second) = (cpu, cpu);
            self.core.has_begun = true;
            self.core.tally.begin(times.unix_s(times.begin_ns), true);
        }
        while now_ns >= times.second_ns {
            self.core.clock.look();
            let cpu = cpu::this_thread()?;
            let used = cpu.saturating_sub(times.cpu_second);
            times.cpu_second = cpu;
            let next_unix_s = times.unix_s(times.second_ns);
            times.second_ns += SECOND_NS;
            if times.is_measuring {
                self.core.tally.turn(self.slots.open, used, next_unix_s);
            }
        }
        times.tick_ns = (now_ns + TICK_NS).min(times.second_ns);
        if times.begin_ns > now_ns {
            times.tick_ns = times.tick_ns.min(times.begin_ns);
        }
        Ok(self.end(now_ns))
    }

    fn end(&mut self, now_ns: u64) -> End {
        let plan = &self.slots.plan;
        let end_ns = plan.warm_up_ns + plan.duration_ns;
        let is_asking = match plan.pace {
            Pace::Open => self.core.feed.peek_ns().is_some(),
            Pace::Closed { .. } => now_ns < end_ns,
        };
        let timeout_ns = plan.timeout_ns;
        let give_up_ns = plan.give_up_ns;
        self.core.is_over = !is_asking;
        let under_way = if is_asking { 0 } else { self.slots.under_way() };
        if self.stop.load(Ordering::Relaxed) {
            return End::Cut("it was interrupted".to_owned());
        }
        let silent_ns = now_ns.saturating_sub(self.core.answered_ns);
        let has_failed = self.core.failed_since > 0;
        if is_asking && has_failed && silent_ns > give_up_ns {
            let why = self
                .slots
                .last_failure
                .as_ref()
                .map_or("no answer comes", |(why, _)| why);
            return End::Cut(format!(
                "nothing was answered for {} s, and the run was given up: {why}",
                silent_ns / SECOND_NS
            ));
        }
        let is_late = now_ns > end_ns.saturating_add(timeout_ns) && !is_asking;
        if !is_asking && (under_way == 0 || is_late) {
            End::Whole
        } else {
            End::NotYet
        }
    }

    fn finish(
        mut self,
        start_unix_us: u64,
        times: &Times,
        cut: Option<String>,
    ) -> Result<Ended, EngineError> {
        let now_ns = self.core.clock.now_ns();
        self.slots.cut(&mut self.core);
        self.core.clock.look();
        let cpu_now = cpu::this_thread()?;
        let used = cpu_now.saturating_sub(times.cpu_second);
        if times.is_measuring {
            self.core.tally.turn(self.slots.open, used, 0);
        }
        let last_ns = if cut.is_some() {
            now_ns
        } else {
            self.core.answered_ns
        };
        let planned_ns = self
            .slots
            .plan
            .duration_ns
            .min(now_ns.saturating_sub(times.begin_ns));
        Ok(Ended {
            start_unix_us,
            duration_ns: last_ns.saturating_sub(times.begin_ns).max(planned_ns),
            planned_ns,
            cpu: cpu_now.saturating_sub(times.cpu_begin),
            cut,
            agreed: self.slots.agreed,
            last_failure: self.slots.last_failure.map(|(why, _)| why),
            first_refusal: self.core.first_refusal,
            rounds: self.core.feed.rounds(),
            clock: self.core.clock,
            tally: self.core.tally,
            requests: self.core.requests,
        })
    }
}
