//! Row P9: what ten thousand connections cost that have served and are silent now.
//!
//! Must never be true: memory divided by connections that the server does not have.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use kms_loadgen::{Exchanges, cpu};

use super::Options;
use crate::line::Line;
use crate::peers::{Site, ours};
use crate::place::raise_open_files_limit;
use crate::progress::say;
use crate::server::StartError;
use crate::table::{Goal, Judged, Report};

/// Of one connection, without what the kernel has for its socket.
const GOAL: Goal = Goal::AtMost(12.0 * 1024.0);
const WHAT: &str = "resident bytes of an idle connection that has served";
/// Files that a process has open besides connections, generously.
const OTHER_FILES: usize = 200;
/// Connections opened, served and closed before the first look at memory, so that nothing is new any more.
const REHEARSAL: usize = 64;
/// Connections that are asked once more at the end.
const ASKED_AGAIN: usize = 16;
/// Data keys in the cache.
const DATA_KEYS: usize = 1000;
/// How long the server's CPU is watched with all of them open.
const WATCHED: Duration = Duration::from_secs(5);
/// For the server to count its connections right.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// What was found.
struct Found {
    count: usize,
    before_bytes: u64,
    after_bytes: u64,
    /// Of the whole system: both ends of each connection.
    kernel_bytes: u64,
    /// Share of its core that the server used while nobody asked.
    busy: f64,
}

/// As many connections as the limits of this machine allow, up to what `options` want.
pub fn run(site: &Site, options: &Options, report: &mut Report) -> Result<(), String> {
    match measure(site, options.idle_connections, report) {
        Ok(found) => {
            let each =
                found.after_bytes.saturating_sub(found.before_bytes) as f64 / found.count as f64;
            report
                .judged
                .push(Judged::new("P9", WHAT, Some(found.count), each, GOAL, true));
            report.note("P9", found.told());
        }
        Err(why) => {
            report.note("P9", format!("not run: {why}"));
            report.judged.push(Judged::not_run("P9", WHAT, GOAL));
        }
    }
    Ok(())
}

fn measure(site: &Site, wanted: usize, report: &mut Report) -> Result<Found, StartError> {
    let count = affordable(wanted, raise_open_files_limit());
    if count < wanted {
        report.note(
            "P9",
            format!(
                "{count} connections instead of {wanted}: no more files may be open (ulimit -Hn)"
            ),
        );
    }
    let room = count + ASKED_AGAIN + REHEARSAL;
    let lines = format!("kms.connections.max={room}\nkms.limit.connections={room}\n");
    let server = ours::start_with(site, "kms-idle", DATA_KEYS + DATA_KEYS / 8, &lines)?;
    let exchanges = server.wrap(DATA_KEYS)?;
    server.fill(&exchanges)?;
    drop(serve(&server, &exchanges, REHEARSAL)?);
    await_connections(server.health, 0)?;
    let pid = server.server.pid();
    let (before_bytes, kernel_before) = (cpu::resident_bytes(pid)?, kernel_bytes()?);
    say(&format!("P9: opening {count} connections"));
    let silent = serve(&server, &exchanges, count - ASKED_AGAIN)?;
    let mut lines = Vec::new();
    for _ in 0..ASKED_AGAIN {
        lines.push(served(&server, &exchanges, lines.len())?);
    }
    await_connections(server.health, count)?;
    let (after_bytes, kernel_after) = (cpu::resident_bytes(pid)?, kernel_bytes()?);
    let (start, cpu_before) = (Instant::now(), cpu::process_tree(pid)?);
    thread::sleep(WATCHED);
    let used = cpu::process_tree(pid)?.saturating_sub(cpu_before);
    let busy = used.as_secs_f64() / start.elapsed().as_secs_f64();
    // They are connections yet, all of them.
    await_connections(server.health, count)?;
    for line in &mut lines {
        ask(line, &exchanges, 0)?;
    }
    drop(silent);
    Ok(Found {
        count,
        before_bytes,
        after_bytes,
        kernel_bytes: kernel_after.saturating_sub(kernel_before),
        busy,
    })
}

impl Found {
    fn told(&self) -> String {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        format!(
            "{} connections: {:.1} MiB resident before, {:.1} MiB after, {:.2} % of a core used while they are silent; \
             besides, the kernel took {:.1} KiB for the sockets of both ends of each",
            self.count,
            mib(self.before_bytes),
            mib(self.after_bytes),
            100.0 * self.busy,
            self.kernel_bytes as f64 / 1024.0 / self.count as f64
        )
    }
}

/// How many connections this process and a server can have open with so many files each.
fn affordable(wanted: usize, files_max: Option<u64>) -> usize {
    let files = files_max.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
    let least = ASKED_AGAIN + 1;
    wanted
        .min(files.saturating_sub(OTHER_FILES + REHEARSAL))
        .max(least)
}

/// `count` connections that have served one request each, and whose client has forgotten all but the socket.
fn serve(
    server: &ours::Ours,
    exchanges: &Exchanges,
    count: usize,
) -> Result<Vec<TcpStream>, StartError> {
    let silent = |turn| Ok(served(server, exchanges, turn)?.fall_silent()?);
    (0..count).map(silent).collect()
}

fn served(server: &ours::Ours, exchanges: &Exchanges, turn: usize) -> Result<Line, StartError> {
    let line = Line::open(&server.target);
    let mut line = line.map_err(|why| StartError::Failed(format!("a connection: {why}")))?;
    ask(&mut line, exchanges, turn)?;
    Ok(line)
}

fn ask(line: &mut Line, exchanges: &Exchanges, turn: usize) -> Result<(), StartError> {
    let exchange = exchanges.get(turn % exchanges.len().max(1));
    let exchange = exchange.ok_or_else(|| StartError::Failed("no data keys".into()))?;
    match line.ask(exchange) {
        Ok(true) => Ok(()),
        Ok(false) => Err(StartError::Failed("a wrong answer".into())),
        Err(why) => Err(StartError::Failed(format!("an unwrap: {why}"))),
    }
}

/// Waits until the server itself counts so many connections.
fn await_connections(health: SocketAddr, count: usize) -> Result<(), StartError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let told = gauge(&metrics(health)?, "kms_connections");
        if told == Some(count as f64) {
            return Ok(());
        }
        if Instant::now() > deadline {
            let why = format!("the server has {told:?} connections open, not {count}");
            return Err(StartError::Failed(why));
        }
        thread::sleep(POLL_INTERVAL);
    }
}

fn metrics(health: SocketAddr) -> Result<String, StartError> {
    let mut stream = TcpStream::connect_timeout(&health, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The value of a metric without labels.
fn gauge(metrics: &str, name: &str) -> Option<f64> {
    metrics
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

/// What the kernel has for sockets, and whatever else is in its slabs and buffers.
fn kernel_bytes() -> Result<u64, StartError> {
    let [meminfo, sockstat] = ["/proc/meminfo", "/proc/net/sockstat"].map(fs::read_to_string);
    let slab_kib = after(&meminfo?, "Slab:");
    let buffer_pages = after(&sockstat?, " mem ");
    match (slab_kib, buffer_pages) {
        (Some(kib), Some(pages)) => Ok(kib * 1024 + pages * rustix::param::page_size() as u64),
        _ => Err(StartError::Failed(
            "/proc tells no slabs, or no socket buffers".into(),
        )),
    }
}

/// The number that follows the first `mark`.
fn after(text: &str, mark: &str) -> Option<u64> {
    let (_, rest) = text.split_once(mark)?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_connections_than_files() {
        for (name, wanted, files, want) in [
            ("any number of files", 10_000, None, 10_000),
            ("enough", 10_000, Some(20_000), 10_000),
            (
                "too few",
                10_000,
                Some(4_096),
                4_096 - OTHER_FILES - REHEARSAL,
            ),
            ("none to speak of", 10_000, Some(100), ASKED_AGAIN + 1),
            ("few wanted", 300, Some(20_000), 300),
        ] {
            assert_eq!(affordable(wanted, files), want, "{name}");
        }
    }

    #[test]
    fn figures_of_the_server_and_the_kernel_are_found() {
        let metrics =
            "# TYPE kms_connections gauge\nkms_connections_accepted_total 9\nkms_connections 42\n";
        assert_eq!(gauge(metrics, "kms_connections"), Some(42.0));
        assert_eq!(gauge(metrics, "kms_clients"), None);
        let sockstat =
            "sockets: used 30\nTCP: inuse 1 orphan 0 tw 782 alloc 1 mem 7\nUDP: inuse 0 mem 0\n";
        assert_eq!(after(sockstat, " mem "), Some(7));
        assert_eq!(after("Slab:      711664 kB\n", "Slab:"), Some(711_664));
        assert!(kernel_bytes().is_ok_and(|bytes| bytes > 1 << 20));
    }
}
