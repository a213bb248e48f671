//! What of the machine matters to the server: limits, swap, core dumps.

use std::fs;

use rustix::process::{Resource, getrlimit};

use crate::config::Config;
use crate::config::plan::Plan;
use crate::secret::{Arena, ArenaPlan, Mode, memlock_limit};

use super::Report;

/// Log, audit log, listeners, event loops, wakers, and what an administrator's shell needs beside.
const OTHER_FILES: u64 = 64;
/// Enough to see how memory is locked here.
const TRIAL_BYTES: usize = 4096;

pub(super) fn examine(config: &Config, plan: &Plan, report: &mut Report) {
    locked_memory(report);
    open_files(config, plan, report);
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    report.host.push(swap(&swaps).to_owned());
    let core =
        "core dumps: the server turns them off for itself, and for whoever would attach to it";
    report.host.push(core.to_owned());
}

/// Whether it suffices is judged elsewhere, for that is an error.
fn locked_memory(report: &mut Report) {
    let limit = match memlock_limit() {
        Some(limit) => format!("limit {limit} bytes here"),
        None => "no limit here".to_owned(),
    };
    let needed = report.locked_bytes;
    let hidden = match lock() {
        Some(Mode::MemfdSecret) => "; the kernel hides it from root too (memfd_secret)",
        Some(_) => "; root can read it (the kernel has no memfd_secret, or does not allow it)",
        None => "",
    };
    report.host.push(format!(
        "locked memory: {needed} bytes needed, {limit}{hidden}; a service has limits of its own (LimitMEMLOCK=, \
         LimitNOFILE=)"
    ));
}

fn lock() -> Option<Mode> {
    let plan = ArenaPlan {
        key_bytes: TRIAL_BYTES,
        large_count: 0,
        large_bytes: 0,
        buffer_bytes: TRIAL_BYTES,
        mode: None,
    };
    Arena::reserve(&plan).ok().map(Arena::mode)
}

fn open_files(config: &Config, plan: &Plan, report: &mut Report) {
    let needed = config.sizes.connections_max as u64 + plan.pool_size as u64 + OTHER_FILES;
    let Some(limit) = getrlimit(Resource::Nofile).maximum else {
        let fact = format!("open files: no limit; {needed} may be needed");
        return report.host.push(fact);
    };
    let fact = format!("open files: limit {limit}; {needed} may be needed");
    report.host.push(fact);
    if limit < needed {
        report.warnings.push(format!(
            "open files: {needed} may be needed and RLIMIT_NOFILE allows {limit}; raise it (LimitNOFILE= in the \
             service, ulimit -n) or lower kms.connections.max"
        ));
    }
}

/// A line for each device follows the heading.
fn swap(table: &str) -> &'static str {
    if table.lines().count() > 1 {
        "swap: on; keys are in locked memory and do not go there, but hibernation would write all memory: keep it off"
    } else {
        "swap: off"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_is_seen() {
        for (table, want) in [
            ("", "swap: off"),
            ("Filename Type Size Used Priority\n", "swap: off"),
            (
                "Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2\n",
                "swap: on",
            ),
        ] {
            assert!(swap(table).starts_with(want), "{table}");
        }
    }
}
