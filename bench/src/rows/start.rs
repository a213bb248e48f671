//! Row P10: from `exec` to the first answered unwrap, with the embedded back end.
//!
//! Deriving the key of its key file takes as long as its cost asks for, so it is not counted: the server logs how
//! long it took. What opening the keystore takes is counted.

use std::thread;
use std::time::{Duration, Instant};

use kms_loadgen::Exchanges;
use kms_loadgen::transit::Transit;

use super::Options;
use crate::line::Line;
use crate::peers::{Site, ours};
use crate::rounds::median;
use crate::server::StartError;
use crate::table::{Goal, Judged, Report};

const GOAL: Goal = Goal::AtMost(100.0);
const WHAT: &str = "ms from exec to the first answered unwrap, key derivation not counted";
/// The product's default.
const CACHE_ENTRIES: usize = 100_000;
/// The configuration: `info`, so that it tells of the derivation.
const LINES: &str = "kms.log.level=info\nkms.audit.mode=off\n";
/// Between two attempts to connect.
const RETRY_EVERY: Duration = Duration::from_micros(500);
const PATIENCE: Duration = Duration::from_secs(30);
/// In front of the derivation's microseconds in the log.
const DERIVED: &str = "the key of the key file was derived us=";
/// In front of the locked bytes and their mode.
const LOCKED: &str = "locked memory reserved bytes=";

/// One start.
struct Start {
    whole_ms: f64,
    derivation_ms: f64,
    log: String,
}

/// Starts the server anew in each round, with the same files.
pub fn run(site: &Site, options: &Options, report: &mut Report) -> Result<(), String> {
    match measure(site, options.settings.rounds) {
        Ok(starts) => {
            let of = |figure: fn(&Start) -> f64| median(starts.iter().map(figure).collect());
            let counted_ms = of(|start| start.whole_ms - start.derivation_ms);
            let judged = Judged::new("P10", WHAT, Some(1), counted_ms, GOAL, true);
            report.judged.push(judged);
            let log = starts.first().map_or("", |start| start.log.as_str());
            report.note("P10", format!(
                "{:.1} ms in all, {:.1} ms of it the derivation (Argon2id, {}); {}, cache of {CACHE_ENTRIES}, keystore \
                 PKCS12 with two private keys and three certificates, one worker, files in the page cache",
                of(|start| start.whole_ms),
                of(|start| start.derivation_ms),
                cost(log),
                locked(log),
            ));
        }
        Err(why) => {
            report.note("P10", format!("not run: {why}"));
            report.judged.push(Judged::not_run("P10", WHAT, GOAL));
        }
    }
    Ok(())
}

fn measure(site: &Site, rounds: usize) -> Result<Vec<Start>, StartError> {
    let lines = format!("{}{LINES}", ours::EMBEDDED);
    let laid = ours::lay(site, "kms-start", CACHE_ENTRIES, &lines)?;
    let exchanges = {
        let first = laid.start()?;
        ours::create_key(site, &laid.target)?;
        first.prepare(|transit: &Transit<'_>| transit.unwraps(1, 1))?
    };
    (0..rounds).map(|_| once(&laid, &exchanges)).collect()
}

fn once(laid: &ours::Laid, exchanges: &Exchanges) -> Result<Start, StartError> {
    let failed = |why: &dyn std::fmt::Display| StartError::Failed(why.to_string());
    let exchange = exchanges.get(0).ok_or_else(|| failed(&"no data key"))?;
    let start = Instant::now();
    let server = laid.spawn()?;
    let mut line = loop {
        match Line::open(&laid.target) {
            Ok(line) => break line,
            Err(why) if start.elapsed() > PATIENCE => {
                return Err(failed(&format!("{why}; its log: {}", server.log())));
            }
            Err(_) => thread::sleep(RETRY_EVERY),
        }
    };
    let right = line.ask(exchange).map_err(|why| failed(&why))?;
    let whole_ms = start.elapsed().as_secs_f64() * 1e3;
    if !right {
        return Err(failed(&"a wrong answer"));
    }
    let log = server.log();
    let derived_us: Option<f64> = after(&log, DERIVED).and_then(|text| text.parse().ok());
    let derived_us = derived_us.ok_or_else(|| {
        failed(&"the server's log does not tell how long the derivation took (KMS_BENCH_KMS an older one?)")
    })?;
    Ok(Start {
        whole_ms,
        derivation_ms: derived_us / 1e3,
        log,
    })
}

/// The word that follows `mark` in the log.
fn after<'a>(log: &'a str, mark: &str) -> Option<&'a str> {
    let (_, rest) = log.split_once(mark)?;
    rest.split_ascii_whitespace().next()
}

/// What the derivation asks for.
fn cost(log: &str) -> String {
    let [memory, passes] = [" memory_kib=", " passes="].map(|mark| after(log, mark).unwrap_or("?"));
    format!("{memory} KiB, {passes} passes")
}

/// How much memory is locked, and how.
fn locked(log: &str) -> String {
    let bytes: Option<f64> = after(log, LOCKED).and_then(|text| text.parse().ok());
    let mode = after(log, " mode=").unwrap_or("?");
    bytes.map_or("locked memory not told".into(), |bytes| {
        format!(
            "{:.1} MiB of locked memory ({mode})",
            bytes / f64::from(1 << 20)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_log_tells_of_the_derivation_and_of_locked_memory() {
        let log = "INFO locked memory reserved bytes=10485760 mode=MemfdSecret\n\
                   INFO the key of the key file was derived us=245678 memory_kib=65536 passes=3 lanes=1\n";
        assert_eq!(after(log, DERIVED), Some("245678"));
        assert_eq!(cost(log), "65536 KiB, 3 passes");
        assert_eq!(locked(log), "10.0 MiB of locked memory (MemfdSecret)");
        assert_eq!(after("", DERIVED), None);
        assert_eq!(locked(""), "locked memory not told");
    }
}
