//! What a run cost: CPU time and memory from `/proc`, of a server by its process id and of this thread.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;

/// CPU time (user and system, ended threads included) of process `pid` and of its living children:
/// nginx works in one. Steps of 10 ms; measure over seconds.
pub fn process_tree(pid: u32) -> io::Result<Duration> {
    let mut total = of_stat(&fs::read_to_string(format!("/proc/{pid}/stat"))?)?;
    for child in children(pid)? {
        total += process_tree(child)?;
    }
    Ok(total)
}

/// Resident bytes of process `pid`, its locked memory included.
pub fn resident_bytes(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.map(|kib| kib * 1024)
        .ok_or_else(|| malformed("status has no VmRSS"))
}

/// CPU time of the calling thread, to the nanosecond.
pub fn this_thread() -> io::Result<Duration> {
    of_schedstat(Path::new("/proc/thread-self"))
}

/// CPU time of this process' thread of that name, to the nanosecond.
pub fn thread_named(name: &str) -> io::Result<Duration> {
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if fs::read_to_string(task.join("comm"))?.trim_end() == name {
            return of_schedstat(&task);
        }
    }
    Err(malformed("no thread of that name"))
}

fn of_schedstat(task: &Path) -> io::Result<Duration> {
    let text = fs::read_to_string(task.join("schedstat"))?;
    let nanos = text
        .split_ascii_whitespace()
        .next()
        .and_then(|field| field.parse().ok());
    nanos
        .map(Duration::from_nanos)
        .ok_or_else(|| malformed("schedstat has no run time"))
}

/// The host's idea of its own disturbance: run time stolen by other guests since boot.
pub fn stolen() -> io::Result<Duration> {
    let stat = fs::read_to_string("/proc/stat")?;
    let steal = stat
        .lines()
        .next()
        .and_then(|line| line.split_ascii_whitespace().nth(8)?.parse().ok());
    steal
        .map(ticks)
        .ok_or_else(|| malformed("stat has no steal time"))
}

fn children(pid: u32) -> io::Result<Vec<u32>> {
    let mut all = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = match fs::read_to_string(task?.path().join("children")) {
            Ok(text) => text,
            // The thread ended meanwhile, or the kernel does not tell children.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        all.extend(
            text.split_ascii_whitespace()
                .filter_map(|field| field.parse::<u32>().ok()),
        );
    }
    Ok(all)
}

/// Fields 14 and 15 of `/proc/PID/stat`. The second field, the program's name, may hold spaces and parentheses.
fn of_stat(stat: &str) -> io::Result<Duration> {
    let (_, rest) = stat
        .rsplit_once(')')
        .ok_or_else(|| malformed("stat has no name"))?;
    let mut fields = rest
        .split_ascii_whitespace()
        .skip(11)
        .map(str::parse::<u64>);
    match (fields.next(), fields.next()) {
        (Some(Ok(user)), Some(Ok(system))) => Ok(ticks(user + system)),
        _ => Err(malformed("stat has no CPU times")),
    }
}

fn ticks(count: u64) -> Duration {
    Duration::from_nanos(count.saturating_mul(1_000_000_000 / clock_ticks_per_second().max(1)))
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn cpu_times_are_read_behind_any_name() {
        for (name, stat, want_ms) in [
            (
                "plain",
                "7 (kms) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0",
                Some(2000),
            ),
            (
                "spaces and parentheses",
                "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 1 2 0",
                Some(30),
            ),
            ("cut", "7 (kms) S 1 2 3 4 5 6 7 8 9 10 150", None),
            ("no name", "7 kms S 1", None),
        ] {
            let want = want_ms.map(|ms| Duration::from_millis(ms * 100 / clock_ticks_per_second()));
            assert_eq!(of_stat(stat).ok(), want, "{name}");
        }
    }

    #[test]
    fn own_figures_grow_with_work() {
        let before = this_thread().unwrap();
        let block: Vec<u8> = (0..16 << 20).map(|i: u32| i.to_le_bytes()[0]).collect();
        let pid = std::process::id();
        assert!(resident_bytes(pid).unwrap() > 16 << 20);
        assert_eq!(
            block.iter().map(|&byte| u64::from(byte)).sum::<u64>(),
            (16 << 20) / 256 * 32640
        );
        assert!(this_thread().unwrap() > before);
        assert!(process_tree(pid).is_ok() && stolen().is_ok());
    }
}
