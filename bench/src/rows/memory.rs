//! Row P8: memory a cached key, and CPU as the cache grows.

use std::sync::Arc;

use kms_loadgen::{Exchanges, cpu};

use super::{CPU, Options};
use crate::peers::{Site, ours};
use crate::rounds::alternate;
use crate::server::StartError;
use crate::table::{Goal, Judged, Memory, Report};

/// Connections.
const CONNECTIONS: usize = 64;
/// The small cache.
const SMALL_ENTRIES: usize = 1_000;

/// One server with a small cache and one with a large, both filled.
pub fn run(site: &Site, options: &Options, report: &mut Report) -> Result<(), String> {
    const BYTES: &str = "resident bytes a key, all of the large cache's cost";
    const GROWTH: &str = "server CPU a request, large cache / 1000 keys";
    let entries = options.memory_entries;
    let filled = |name, entries| {
        let server = ours::start(site, name, entries)?;
        let empty = cpu::resident_bytes(server.server.pid())?;
        let exchanges: Exchanges = server.wrap(entries)?;
        server.fill(&exchanges)?;
        let full = cpu::resident_bytes(server.server.pid())?;
        Ok::<_, StartError>((server.contender(name, Arc::new(exchanges)), empty, full))
    };
    let started = filled("kms-small", SMALL_ENTRIES)
        .and_then(|small| Ok((small, filled("kms-large", entries)?)));
    let ((small, _, small_bytes), (large, large_empty_bytes, large_bytes)) = match started {
        Ok(both) => both,
        Err(why) => {
            report.note("P8", format!("not run: {why}"));
            report
                .judged
                .push(Judged::not_run("P8", BYTES, Goal::AtMost(160.0)));
            report
                .judged
                .push(Judged::not_run("P8", GROWTH, Goal::AtMost(1.15)));
            return Ok(());
        }
    };
    let all = alternate(&[&small, &large], CONNECTIONS, &options.settings)?;
    let [few, many] = &all[..] else {
        return Err("P8: a series is missing".into());
    };
    let each = large_bytes.saturating_sub(small_bytes) as f64
        / entries.saturating_sub(SMALL_ENTRIES).max(1) as f64;
    let clean = few.is_clean() && many.is_clean();
    report.judged.push(Judged::new(
        "P8",
        BYTES,
        None,
        each,
        Goal::AtMost(160.0),
        clean,
    ));
    let growth = many.ratio(few, CPU);
    report.judged.push(Judged::new(
        "P8",
        GROWTH,
        Some(CONNECTIONS),
        growth,
        Goal::AtMost(1.15),
        clean,
    ));
    report.memory = Some(Memory {
        entries,
        small_bytes,
        large_empty_bytes,
        large_bytes,
    });
    report.note(
        "P8",
        resident(entries, [small_bytes, large_empty_bytes, large_bytes]),
    );
    report.list("P8", all);
    Ok(())
}

fn resident(entries: usize, bytes: [u64; 3]) -> String {
    let [small, large_empty, large] = bytes.map(|bytes| bytes as f64 / f64::from(1 << 20));
    format!(
        "resident {small:.1} MiB with a cache of {SMALL_ENTRIES}, {large_empty:.1} MiB with one of {entries} before filling \
         it, {large:.1} MiB after"
    )
}
