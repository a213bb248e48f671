//! What every Prometheus client tells of its process, under the names that all of them use.

use std::fs;
use std::time::{Duration, SystemTime};

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use crate::server::Shared;

use super::text::Text;
use super::text::Type::{Counter, Gauge};

pub(super) fn put(text: &mut Text, shared: &Shared) {
    let (began, at) = shared.metrics.started();
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    text.one(
        "process_start_time_seconds",
        Gauge,
        "When this process began to serve, seconds since 1970.",
        seconds(since.unwrap_or_default()),
    );
    text.one(
        "kms_uptime_seconds",
        Gauge,
        "For how long it has served, by a clock that nobody sets.",
        seconds(began.elapsed()),
    );
    if let Some(usage) = fs::read_to_string("/proc/self/stat")
        .ok()
        .and_then(|stat| usage(&stat))
    {
        text.one(
            "process_cpu_seconds_total",
            Counter,
            "Processor time of all threads.",
            seconds(usage.cpu),
        );
        text.one(
            "process_resident_memory_bytes",
            Gauge,
            "Memory that is in RAM.",
            usage.resident_bytes,
        );
        text.one(
            "process_virtual_memory_bytes",
            Gauge,
            "Memory that is mapped.",
            usage.virtual_bytes,
        );
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        text.one(
            "process_open_fds",
            Gauge,
            "Open files, sockets included.",
            files.count(),
        );
    }
    if let Some(limit) = getrlimit(Resource::Nofile).current {
        text.one(
            "process_max_fds",
            Gauge,
            "Files that may be open (RLIMIT_NOFILE).",
            limit,
        );
    }
}

struct Usage {
    cpu: Duration,
    resident_bytes: u64,
    virtual_bytes: u64,
}

/// Of a line of `/proc/PID/stat`; the name in it, in parentheses, may hold anything.
fn usage(stat: &str) -> Option<Usage> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    // proc(5) counts from 1, and the name is the second.
    let field = |number: usize| fields.get(number.checked_sub(3)?)?.parse::<u64>().ok();
    let ticks = field(14)? + field(15)?;
    let ms = ticks
        .saturating_mul(1000)
        .checked_div(clock_ticks_per_second())?;
    Some(Usage {
        cpu: Duration::from_millis(ms),
        virtual_bytes: field(23)?,
        resident_bytes: field(24)?.saturating_mul(page_size() as u64),
    })
}

fn seconds(time: Duration) -> String {
    format!("{}.{:03}", time.as_secs(), time.subsec_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proc_is_read_whatever_the_name_holds() {
        let ticks = clock_ticks_per_second();
        for (name, comm, is_read) in [
            ("usual", "kms", true),
            ("hostile", "k) m (s", true),
            ("none", "", true),
        ] {
            let stat = format!(
                "7 ({comm}) S 1 7 7 0 -1 4194560 1 0 0 0 {} {} 0 0 20 0 9 0 100 4096 3 18446744073709551615",
                ticks * 2,
                ticks / 2
            );
            let usage = usage(&stat);
            assert_eq!(usage.is_some(), is_read, "{name}");
            let told = usage.map(|usage| (usage.cpu, usage.virtual_bytes, usage.resident_bytes));
            let want = (Duration::from_millis(2500), 4096, 3 * page_size() as u64);
            assert_eq!(told, Some(want), "{name}");
        }
        assert!(usage("nonsense").is_none() && usage("1 (x) S 1").is_none());
    }
}
