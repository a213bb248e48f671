//! Row P8: memory a cached key, and CPU as the cache grows.

use std::sync::Arc;

use kms_loadgen::{Exchanges, cpu};

use super::{CPU, Options};
use crate::peers::{Contender, Site, ours};
use crate::rounds::alternate;
use crate::server::StartError;
use crate::table::{Goal, Judged, Memory, Report};

/// Connections.
const CONNECTIONS: usize = 64;
/// The small cache.
const SMALL_ENTRIES: usize = 1_000;

const BYTES: &str = "resident bytes a key, all of the large cache's cost";
const BYTES_GOAL: Goal = Goal::AtMost(160.0);
const GROWTH: &str = "server CPU a request, large cache / 1000 keys";
const GROWTH_GOAL: Goal = Goal::AtMost(1.15);

/// A server with a full cache.
struct Filled {
    server: Contender,
    empty_bytes: u64,
    full_bytes: u64,
}

/// One server with a small cache and one with a large, both filled.
pub fn run(site: &Site, options: &Options, report: &mut Report) -> Result<(), String> {
    let entries = options.memory_entries;
    let started = fill(site, "kms-small", SMALL_ENTRIES)
        .and_then(|small| Ok((small, fill(site, "kms-large", entries)?)));
    let (small, large) = match started {
        Ok(both) => both,
        Err(why) => {
            report.note("P8", format!("not run: {why}"));
            report.judged.extend([
                Judged::not_run("P8", BYTES, BYTES_GOAL),
                Judged::not_run("P8", GROWTH, GROWTH_GOAL),
            ]);
            return Ok(());
        }
    };
    let servers = [&small.server, &large.server];
    let all = alternate(&servers, CONNECTIONS, &options.settings)?;
    let [few, many] = &all[..] else {
        return Err("P8: a series is missing".into());
    };
    let memory = Memory {
        entries,
        small_bytes: small.full_bytes,
        large_empty_bytes: large.empty_bytes,
        large_bytes: large.full_bytes,
    };
    let each = memory.large_bytes.saturating_sub(memory.small_bytes) as f64
        / entries.saturating_sub(SMALL_ENTRIES).max(1) as f64;
    let growth = many.ratio(few, CPU);
    let clean = few.is_clean() && many.is_clean();
    report.judged.extend([
        Judged::new("P8", BYTES, None, each, BYTES_GOAL, clean),
        Judged::new("P8", GROWTH, Some(CONNECTIONS), growth, GROWTH_GOAL, clean),
    ]);
    report.note("P8", told(&memory));
    report.memory = Some(memory);
    report.list("P8", all);
    Ok(())
}

fn fill(site: &Site, name: &'static str, entries: usize) -> Result<Filled, StartError> {
    let server = ours::start(site, name, entries)?;
    let empty_bytes = cpu::resident_bytes(server.server.pid())?;
    let exchanges: Exchanges = server.wrap(entries)?;
    server.fill(&exchanges)?;
    let full_bytes = cpu::resident_bytes(server.server.pid())?;
    Ok(Filled {
        server: server.contender(name, Arc::new(exchanges)),
        empty_bytes,
        full_bytes,
    })
}

fn told(memory: &Memory) -> String {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    format!(
        "resident {:.1} MiB with a cache of {SMALL_ENTRIES}, {:.1} MiB with one of {} before filling it, {:.1} MiB after",
        mib(memory.small_bytes),
        mib(memory.large_empty_bytes),
        memory.entries,
        mib(memory.large_bytes)
    )
}
