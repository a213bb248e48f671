//! A thread beside the event loop that makes the second-by-second series: percentiles of each second, the
//! server's own figures, its CPU time; and tells whoever shows progress.
//!
//! It is as nice as can be, so that it does not take the event loop's core. Must never be true: an event loop that
//! waits for it. Called by [`super::run`].

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::sync::{Arc, atomic::AtomicU32, atomic::Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::scrape::MetricsUrl;
use super::tally::{Tick, Ticks};
use crate::cpu;
use crate::results::{Second, ServerFigures};

/// Seconds that may wait for this thread.
const TICKS_MAX: usize = 64;
const NICEST: i32 = 19;

/// Who shows progress.
pub trait Progress: Send {
    /// A second is over.
    fn second(&mut self, second: &Second);
}

/// What is watched beside the load.
#[derive(Default)]
pub struct Watch {
    /// The server's figures.
    pub metrics: Option<MetricsUrl>,
    /// The server's process; 0: not known. It may change when a server is started again.
    pub server_pid: Arc<AtomicU32>,
    /// Told each second.
    pub progress: Option<Box<dyn Progress>>,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// One entry a second.
    pub series: Vec<Second>,
    /// Of the server, over the whole run.
    pub server_cpu: Option<Duration>,
    /// The server's figures before it.
    pub before: Option<ServerFigures>,
    /// And after.
    pub after: Option<ServerFigures>,
    /// Why its figures could not be had.
    pub unheard: Option<String>,
}

/// The thread.
pub struct Observer {
    thread: JoinHandle<Seen>,
}

impl Observer {
    /// Starts it. The ticks are for the event loop's [`super::tally::Tally`].
    pub fn start(watch: Watch) -> io::Result<(Self, Ticks)> {
        let ((out, ticks), (again, back)) = (sync_channel(TICKS_MAX), channel());
        let thread = std::thread::Builder::new()
            .name("observer".to_owned())
            .spawn(move || observe(watch, &ticks, &again))?;
        Ok((Self { thread }, Ticks { out, back }))
    }

    /// Waits until it has seen the last tick: the tally must be gone, or have no ticks any more.
    pub fn finish(self) -> Seen {
        self.thread.join().unwrap_or_default()
    }
}

/// A counter's last value.
#[derive(Default)]
struct Last {
    figures: Option<ServerFigures>,
    /// What processes counted that are no more.
    ended: ServerFigures,
    /// What the process told that is there.
    told: Option<ServerFigures>,
    /// CPU time by process: a server started again is another.
    cpu: BTreeMap<u32, Duration>,
}

impl Last {
    /// What was counted in all, also by processes before this one: a server that was started again counts from nothing.
    fn whole(&mut self, told: ServerFigures) -> ServerFigures {
        if let Some(before) = self.told.take()
            && told.is_anew(&before)
        {
            self.ended = self.ended.plus(&before);
        }
        let whole = told.plus(&self.ended);
        self.told = Some(told);
        whole
    }
}

fn observe(mut watch: Watch, ticks: &Receiver<Box<Tick>>, again: &Sender<Box<Tick>>) -> Seen {
    // Refused where it cannot be; then it is not nice.
    let _ = rustix::process::setpriority_process(None, NICEST);
    let (mut seen, mut last) = (Seen::default(), Last::default());
    while let Ok(tick) = ticks.recv() {
        let figures = watch.metrics.as_ref().map(MetricsUrl::scrape).transpose();
        let figures = figures.unwrap_or_else(|why| {
            seen.unheard = Some(why);
            None
        });
        let figures = figures.map(|figures| last.whole(figures));
        let used = server_cpu(&watch, &mut last);
        if tick.is_begin {
            seen.before.clone_from(&figures);
            last.figures = figures;
            let _ = again.send(tick);
            continue;
        }
        let mut second = second(&tick);
        // Its memory is used again; an event loop that has ended needs none.
        let _ = again.send(tick);
        if let (Some(before), Some(after)) = (&last.figures, &figures) {
            add_figures(&mut second, before, after);
        }
        if figures.is_some() {
            last.figures = figures;
        }
        if let Some(used) = used {
            second.server_cpu_us = u64::try_from(used.as_micros()).ok();
            *seen.server_cpu.get_or_insert_default() += used;
        }
        if let Some(progress) = &mut watch.progress {
            progress.second(&second);
        }
        seen.series.push(second);
    }
    seen.after = last.figures;
    seen
}

fn second(tick: &Tick) -> Second {
    let mut second = Second {
        unix_s: tick.unix_s,
        planned: tick.planned,
        sent: tick.sent,
        right: tick.right,
        errors: tick.errors(),
        lag_max_ns: tick.lag_max_ns,
        handshakes: tick.handshakes,
        connections: tick.connections,
        client_cpu_us: u64::try_from(tick.cpu.as_micros()).ok(),
        ..Second::default()
    };
    second.set_latency(&tick.latency);
    second
}

fn add_figures(second: &mut Second, before: &ServerFigures, after: &ServerFigures) {
    if let (Some(before), Some(after)) = (before.unwraps, after.unwraps) {
        let split = after.since(&before);
        second.hits = Some(split.hits);
        second.joined = Some(split.joined);
        second.shared = Some(split.shared);
        second.misses = Some(split.misses);
    }
    if let (Some(before), Some(after)) = (before.hsm_operations, after.hsm_operations) {
        second.hsm_operations = Some(after.saturating_sub(before));
    }
}

/// What the server used since this was asked last. None: its process is not known, or new, or gone.
fn server_cpu(watch: &Watch, last: &mut Last) -> Option<Duration> {
    let pid = watch.server_pid.load(Ordering::Relaxed);
    if pid == 0 {
        return None;
    }
    let now = cpu::process_tree(pid).ok()?;
    let before = last.cpu.insert(pid, now)?;
    Some(now.saturating_sub(before))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::results::Split;

    struct Told(Sender<u64>);

    impl Progress for Told {
        fn second(&mut self, second: &Second) {
            self.0.send(second.right).unwrap();
        }
    }

    #[test]
    fn seconds_are_told_and_kept_in_order() {
        let (tell, told) = channel();
        let watch = Watch {
            progress: Some(Box::new(Told(tell))),
            server_pid: Arc::new(AtomicU32::new(std::process::id())),
            ..Watch::default()
        };
        let (observer, ticks) = Observer::start(watch).unwrap();
        let begin = Tick {
            is_begin: true,
            ..Tick::default()
        };
        ticks.out.send(Box::new(begin)).unwrap();
        for right in 1..=3 {
            let mut tick = Tick {
                unix_s: 100 + right,
                right,
                ..Tick::default()
            };
            tick.latency.record_ns(right * 1_000_000);
            ticks.out.send(Box::new(tick)).unwrap();
        }
        assert!(ticks.back.recv().unwrap().is_begin, "it has looked");
        assert_eq!(told.iter().take(3).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(ticks.back.recv().is_ok(), "memory comes back");
        drop(ticks);
        let seen = observer.finish();
        let seconds: Vec<_> = seen
            .series
            .iter()
            .map(|s| (s.unix_s, s.latency.unwrap().count))
            .collect();
        assert_eq!(seconds, [(101, 1), (102, 1), (103, 1)]);
        assert!(seen.server_cpu.is_some());
    }

    #[test]
    fn counters_are_told_by_what_they_grew() {
        let figures = |hits, misses, begun: f64| ServerFigures {
            unwraps: Some(Split {
                hits,
                misses,
                ..Split::default()
            }),
            hsm_operations: Some(misses),
            samples: [("process_start_time_seconds".to_owned(), begun)].into(),
            ..ServerFigures::default()
        };
        let mut last = Last::default();
        let mut before = last.whole(figures(10, 4, 1.0));
        for (name, told, want) in [
            ("grown", figures(25, 5, 1.0), (15, 1)),
            (
                "a process that was started again",
                figures(5, 3, 2.0),
                (5, 3),
            ),
            (
                "and has more than the one before",
                figures(40, 9, 3.0),
                (40, 9),
            ),
            ("the same", figures(41, 9, 3.0), (1, 0)),
        ] {
            let after = last.whole(told);
            let mut second = Second::default();
            add_figures(&mut second, &before, &after);
            assert_eq!(
                (second.hits, second.misses),
                (Some(want.0), Some(want.1)),
                "{name}"
            );
            assert_eq!(second.hsm_operations, Some(want.1), "{name}");
            before = after;
        }
        assert_eq!(before.unwraps.unwrap().hits, 25 + 5 + 41, "all of them");
        let mut unnamed = figures(3, 9, 0.0);
        unnamed.samples.clear();
        assert!(unnamed.is_anew(&figures(4, 9, 0.0)), "a counter fell");
    }
}
