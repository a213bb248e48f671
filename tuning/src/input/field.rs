//! The one table of fields.
//!
//! Must never be true: two fields of one path, a default outside its own range, a field without help.

use crate::trace::Unit;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A number in this range.
    Number {
        /// Lowest accepted.
        min: f64,
        /// Highest accepted.
        max: f64,
        /// Whether it counts things.
        whole: bool,
    },
    /// `true` or `false`; 1 or 0 as a number.
    Flag,
    /// One of these words; its place among them as a number.
    Choice(&'static [&'static str]),
    /// A file; relative ones start at the folder of the description.
    File,
}

/// What holds when nobody wrote the field.
#[derive(Clone, Copy, Debug)]
pub enum Absent {
    /// It must be written.
    Required,
    /// Nothing: what it is about is left out, or worked out.
    Unset(&'static str),
    /// This value, and why.
    Value(f64, &'static str),
    /// This word, and why.
    Word(&'static str, &'static str),
    /// The value of another field, and why.
    As(&'static Field, &'static str),
    /// What `hsm.preset` says.
    Preset,
}

/// One field.
#[derive(Debug)]
pub struct Field {
    /// `section.name`; also its name as a quantity.
    pub path: &'static str,
    /// Of the number.
    pub unit: Unit,
    /// Type and range.
    pub kind: Kind,
    /// When nobody wrote it.
    pub absent: Absent,
    /// A sentence or two for operators.
    pub help: &'static str,
}

impl Field {
    /// The table it stands in.
    pub fn section(&self) -> &'static str {
        self.path
            .rsplit_once('.')
            .map_or("", |(section, _)| section)
    }

    /// Its name in that table.
    pub fn key(&self) -> &'static str {
        self.path.rsplit_once('.').map_or(self.path, |(_, key)| key)
    }

    /// Whether it may be varied by a share of itself.
    pub fn is_number(&self) -> bool {
        matches!(self.kind, Kind::Number { .. })
    }
}

/// The field of that path.
pub fn find(path: &str) -> Option<&'static Field> {
    FIELDS.iter().copied().find(|field| field.path == path)
}

/// The known path nearest to `path`, if one is near.
pub fn suggest(path: &str) -> Option<&'static str> {
    let near = |known: &&str| {
        strsim::jaro_winkler(path, known) > 0.9 || strsim::damerau_levenshtein(path, known) <= 3
    };
    let paths = FIELDS.iter().map(|field| field.path).filter(near);
    paths.min_by_key(|known| strsim::damerau_levenshtein(path, known))
}

const fn number(min: f64, max: f64) -> Kind {
    Kind::Number {
        min,
        max,
        whole: false,
    }
}

const fn whole(min: f64, max: f64) -> Kind {
    Kind::Number {
        min,
        max,
        whole: true,
    }
}

const SHARE: Kind = number(0.0, 1.0);

macro_rules! fields {
    ($($name:ident $path:literal $unit:expr, $kind:expr, $absent:expr, $help:expr;)*) => {
        $(#[doc = concat!("`", $path, "`")] pub static $name: Field = Field {
            path: $path,
            unit: $unit,
            kind: $kind,
            absent: $absent,
            help: $help,
        };)*
        /// All fields, in the order of the example.
        pub static FIELDS: &[&Field] = &[$(&$name),*];
    };
}

use Absent::{As, Preset, Required, Unset, Value, Word};
use Unit::{Bytes, Count, Factor, Micros, Millis, PerSecond, Percent, Seconds, Share};

fields! {
    PEAK_RPS "workload.peak_rps" PerSecond("unwraps"), number(0.001, 1e8), Required,
        "Unwraps (each item of a batch) a second that all clients together ask for at the peak.";
    MEAN_RPS "workload.mean_rps" PerSecond("unwraps"), number(0.0, 1e8), As(&PEAK_RPS, "the peak, all the time"),
        "The same over a day.";
    WRAPS_RPS "workload.wraps_rps" PerSecond("wraps"), number(0.0, 1e7), Value(0.0, "none told"),
        "Wraps, data keys and rewraps a second at the peak: each asks the HSM.";
    GROWTH_PCT_YEAR "workload.growth_pct_year" Percent, number(-90.0, 1000.0), Value(0.0, "none told"),
        "Growth of the rates and of the number of keys in a year.";
    GROWTH_YEARS "workload.growth_years" Count("years"), number(0.0, 30.0), Value(1.0, "a year ahead, if there is growth"),
        "How far ahead to plan.";
    KEYS_TOTAL "workload.keys_total" Count("keys"), number(1.0, 1e10), Required,
        "Different wrapped data keys that are asked for again and again.";
    ZIPF_S "workload.zipf_s" Factor, number(0.0, 3.0), Value(0.9, "usual for accesses by people and devices; 0: all alike"),
        "Exponent of the keys' popularity: the key of rank i is asked for in proportion to i^-s.";
    TRACE "workload.trace" Factor, Kind::File, Unset("keys_total and zipf_s instead"),
        "A file with a line a request whose first word names the key: its popularity counts instead of zipf_s.";
    COLD_SHARE "workload.cold_share" Share, SHARE, Value(0.0, "none told"),
        "Share of the unwraps that are for keys nobody asked for lately (backups, scans), not counted in keys_total.";
    COLD_READS "workload.cold_reads" Count("reads"), whole(1.0, 16.0), Value(1.0, "read once"),
        "How often such a key is asked for, cold_gap_s apart, before it rests again.";
    COLD_GAP_S "workload.cold_gap_s" Seconds, number(0.0, 1e6), Value(2.0, "a retry or a second step soon after"),
        "Seconds between these.";
    CLIENTS "workload.clients" Count("connections"), whole(0.0, 1e7), Value(1000.0, "a guess"),
        "Connections open at the peak, all nodes together.";
    CONN_LIFETIME_S "workload.conn_lifetime_s" Seconds, number(0.05, 1e8), Value(3600.0, "a guess; 1 request a connection costs most"),
        "How long a connection lasts: each new one is a handshake.";
    RESUME_RATIO "workload.resume_ratio" Share, SHARE, Value(0.0, "no client resumes"),
        "Share of the handshakes that resume a session.";
    CERT "workload.cert" Factor, Kind::Choice(&["p256", "rsa2048", "rsa3072"]), Word("rsa2048", "kms cert's default"),
        "Keys of the server's and the clients' certificates.";
    STORM_DEVICES "workload.storm.devices" Count("devices"), whole(1.0, 1e9), Unset("no restore storm is planned for"),
        "Devices that come back together, each with keys nobody has cached: a restore, a restart of a site.";
    STORM_KEYS_PER_DEVICE "workload.storm.keys_per_device" Count("keys"), number(1.0, 1e6), Value(1.0, "one each"),
        "Keys that each of them asks for.";
    STORM_WINDOW_S "workload.storm.window_s" Seconds, number(1.0, 1e6), Value(600.0, "a guess"),
        "Within how long they come back, evenly.";
    STORM_READS_PER_KEY "workload.storm.reads_per_key" Count("reads"), number(1.0, 1000.0), Value(1.0, "read once"),
        "How often each of these keys is asked for in the storm.";
    STORM_GAP_S "workload.storm.gap_s" Seconds, number(0.0, 1e6), Value(2.0, "a second step soon after"),
        "Seconds between these.";

    P50_MS "slo.p50_ms" Millis, number(0.001, 60_000.0), Unset("not judged"),
        "Median answer time of all unwraps at the peak, at most.";
    P99_MS "slo.p99_ms" Millis, number(0.001, 60_000.0), Unset("not judged"),
        "99 % of all unwraps are answered in this time.";
    P999_MS "slo.p999_ms" Millis, number(0.001, 60_000.0), Unset("not judged"),
        "99.9 % of all unwraps are answered in this time.";
    MISS_P99_MS "slo.miss_p99_ms" Millis, number(0.001, 60_000.0), Unset("not judged"),
        "99 % of the unwraps that ask the HSM are answered in this time.";
    ERROR_PCT "slo.error_pct" Percent, number(0.0, 100.0), Value(0.1, "usual"),
        "Unwraps answered with an error, at most.";
    RESTART_WARM_S "slo.max_restart_warm_s" Seconds, number(0.1, 1e6), Unset("not judged"),
        "A node that restarts empty serves as usual after this time.";
    STORM_WAIT_S "slo.max_storm_wait_s" Seconds, number(0.001, 1e6), Value(1.0, "half of the default time-out"),
        "Longest wait in the restore storm.";

    TTL_S "policy.ttl_s" Seconds, whole(1.0, 86_400.0), Value(300.0, "kms.cache.ttl.s"),
        "How long an unwrapped key may be kept: how long a key disabled in the HSM may go on being served.";
    ENTRIES_MAX "policy.entries_max" Count("entries"), whole(1.0, 1e8), Unset("as many as are needed"),
        "Entries of one node's cache; not set: worked out.";
    MLOCK_MB "policy.mlock_mb" Count("MB"), number(1.0, 1e6), Unset("as much as is needed"),
        "Locked memory that one node may have.";
    SHARED_CACHE "policy.shared_cache" Factor, Kind::Flag, Word("false", "kms.cache.type = none"),
        "Whether the nodes share a second-level cache (kms.cache.type = distributed).";
    SHARED_FETCH_MS "policy.shared_fetch_ms" Millis, number(0.01, 1000.0), Value(0.25, "a round trip in the LAN and the shared cache's work"),
        "What a fetch from the shared cache takes.";
    SHARED_TTL_S "policy.shared_ttl_s" Seconds, number(10.0, 86_400.0), Value(600.0, "kms.cluster.ttl.s"),
        "How long the shared cache keeps a record.";
    BALANCE "policy.lb" Factor, Kind::Choice(&["hash", "random", "least-conn"]), Word("least-conn", "HAProxy's choice for long connections"),
        "How the load balancer picks a node: hash of the client's address (a key always meets the same node), or not.";
    NODES "policy.nodes" Count("nodes"), whole(1.0, 256.0), Unset("as few as will do"),
        "Nodes; not set: worked out.";
    NODES_LOST "policy.nodes_lost" Count("nodes"), whole(0.0, 255.0), Value(1.0, "one may fail or be in maintenance"),
        "Nodes that may be away at the peak with all objectives kept.";
    UTIL_MAX "policy.util_max" Share, number(0.05, 0.95), Value(0.6, "room for what no forecast has; queues grow fast above"),
        "How much of a limit (CPU, HSM, connections) may be used at the peak.";
    TIMEOUT_MS "policy.timeout_ms" Millis, whole(10.0, 600_000.0), Value(2000.0, "kms.hsm.timeout.ms"),
        "Deadline of one HSM operation, queueing included.";
    AUDIT "policy.audit" Factor, Kind::Flag, Word("true", "kms.audit.mode = strict"),
        "Whether an audit line is written for each operation.";

    PRESET "hsm.preset" Factor, Kind::Choice(super::preset::PRESET_NAMES), Unset("every number is written instead"),
        "Like one of the simulated HSMs (loadgen/README.md); single numbers below win.";
    MESSAGE_MS "hsm.message_ms" Millis, number(0.0, 60_000.0), Preset,
        "Median time of a message of one item, way there and back included, less item_ms.";
    SIGMA "hsm.sigma" Factor, number(0.0, 3.0), Preset,
        "Spread of it: ln(p99 / p50) / 2.326.";
    ITEM_MS "hsm.item_ms" Millis, number(0.0, 60_000.0), Preset,
        "More for each item.";
    ENGINES "hsm.engines" Count("messages"), whole(1.0, 100_000.0), Preset,
        "Messages that one HSM works on at the same time.";
    CEILING "hsm.ceiling_ops_s" PerSecond("operations"), number(0.1, 1e9), Preset,
        "Operations a second of one HSM; not set and no preset: no ceiling.";
    OVERLOAD "hsm.overload" Factor, Kind::Choice(&["queue", "reject"]), Preset,
        "What one does above its ceiling.";
    REJECT_SHARE "hsm.reject_share" Share, number(0.0, 0.5), Preset,
        "Share of messages that it refuses for no reason of ours.";
    TAIL_SHARE "hsm.tail_share" Share, number(0.0, 0.5), Preset,
        "Share of messages that take much longer (Pareto).";
    TAIL_MIN_MS "hsm.tail_min_ms" Millis, number(0.0, 60_000.0), Preset,
        "The least that these take.";
    TAIL_ALPHA "hsm.tail_alpha" Factor, number(1.05, 20.0), Preset,
        "Exponent of the tail; the smaller, the longer.";
    STALL_S "hsm.stall_s" Seconds, number(0.0, 3600.0), Preset,
        "How long it sometimes answers nothing, on average (failover, maintenance).";
    STALLS_PER_DAY "hsm.stalls_per_day" Count("stalls"), number(0.0, 86_400.0), Preset,
        "How often.";
    HSM_BATCH_MAX "hsm.batch_max" Count("items"), whole(1.0, 1024.0), Value(32.0, "kms.hsm.batch.max"),
        "Items of one message, at most.";
    HSM_CONNS_MAX "hsm.max_conns" Count("connections"), whole(1.0, 100_000.0), Unset("no limit told"),
        "Connections that one HSM takes, from all nodes together.";
    CONNECTIONS "hsm.connections" Count("connections"), whole(1.0, 256.0), Unset("as few as will do"),
        "Connections of one node to all HSMs together (kms.hsm.pool.size); not set: worked out.";
    HSMS "hsm.hsms" Count("HSMs"), whole(1.0, 64.0), Value(1.0, "one told"),
        "HSMs that share the load.";
    HSM_LOST "hsm.hsm_lost" Count("HSMs"), whole(0.0, 63.0), Value(0.0, "all are there"),
        "HSMs that may be away at the peak with all objectives kept.";

    CORES "machine.cores" Count("cores"), whole(1.0, 256.0), Value(4.0, "a usual virtual machine"),
        "Cores of one node.";
    CALIBRATION "machine.calibration" Factor, Kind::File, Unset("bench/README.md's machine is assumed"),
        "What kms-tune calibrate wrote: fields of machine and hsm, measured; those written here win.";
    HIT_US "machine.hit_us" Micros, number(0.1, 10_000.0), Value(6.2, "bench/README.md: 64 connections, audit on"),
        "CPU of an unwrap from the cache.";
    AUDIT_US "machine.audit_us" Micros, number(0.0, 1000.0), Value(1.1, "bench/README.md: 6.2 us with, 5.1 us without"),
        "Of these, for the line in the audit log: what policy.audit = false saves an unwrap.";
    MISS_US "machine.miss_us" Micros, number(0.1, 100_000.0), Value(20.0, "a guess on bench/README.md: a hit, two hops, a share of a message"),
        "CPU of an unwrap that asks the HSM, its share of the message's encoding included.";
    MESSAGE_US "machine.message_us" Micros, number(0.0, 100_000.0), Value(30.0, "a guess on bench/README.md: two system calls and a wake"),
        "CPU of a message to the HSM, however many items.";
    HIT_BASE_US "machine.hit_base_us" Micros, number(1.0, 1e6), Value(70.0, "bench/README.md: 65 us at one connection on loopback"),
        "Median answer time of a hit that waits for no other, the client's network included.";
    HIT_SIGMA "machine.hit_sigma" Factor, number(0.0, 3.0), Value(0.3, "bench/README.md: p99 126 us at p50 65 us"),
        "Spread of it: ln(p99 / p50) / 2.326.";
    MISS_OVERHEAD_US "machine.miss_overhead_us" Micros, number(0.0, 1e6), Value(150.0, "bench/README.md, P6: 1.24 ms at 1.06 ms of the HSM"),
        "What a miss takes besides waiting for the HSM and what a hit takes: median.";
    MISS_OVERHEAD_SIGMA "machine.miss_overhead_sigma" Factor, number(0.0, 3.0), Value(0.0, "the HSM's own spread is taken for the whole"),
        "Spread of hit_base_us + miss_overhead_us in a miss: ln(p99 / p50) / 2.326.";
    HANDSHAKE_US "machine.handshake_us" Micros, number(1.0, 1e6), Unset("by the kind of certificate: 217, 450 or 1100 us"),
        "CPU of a full mutual handshake.";
    RESUMED_US "machine.resumed_us" Micros, number(1.0, 1e6), Value(97.0, "measured on a 2-core machine with P-256"),
        "CPU of a resumed handshake.";
    USL_ALPHA "machine.usl_alpha" Factor, number(0.0, 1.0), Value(0.02, "a guess: little is shared between workers"),
        "Universal Scalability Law: what threads wait for each other.";
    USL_BETA "machine.usl_beta" Factor, number(0.0, 1.0), Value(0.0001, "a guess"),
        "Universal Scalability Law: what they cost each other.";
    BYTES_PER_KEY "machine.bytes_per_key" Bytes, number(32.0, 4096.0), Value(160.0, "bench/README.md, P8: 153 to 173"),
        "Resident memory of a cached key, the locked part included.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sound() {
        for (at, field) in FIELDS.iter().enumerate() {
            let path = field.path;
            assert!(
                !FIELDS[at + 1..].iter().any(|other| other.path == path),
                "{path} twice"
            );
            assert!(!field.help.is_empty() && field.path.contains('.'), "{path}");
            match (field.kind, field.absent) {
                (Kind::Number { min, max, .. }, Absent::Value(value, _)) => {
                    assert!((min..=max).contains(&value), "{path}");
                }
                (Kind::Choice(words), Absent::Word(word, _)) => {
                    assert!(words.contains(&word), "{path}");
                }
                (Kind::Flag, Absent::Word(word, _)) => {
                    assert!(matches!(word, "true" | "false"), "{path}");
                }
                (_, Absent::Value(..) | Absent::Word(..)) => {
                    panic!("{path}: default of another kind")
                }
                _ => {}
            }
        }
    }

    #[test]
    fn misspelt_paths_are_understood() {
        for (wrote, meant) in [
            ("workload.peak_rsp", Some("workload.peak_rps")),
            ("policy.ttl", Some("policy.ttl_s")),
            ("hsm.presets", Some("hsm.preset")),
            ("colour.red", None),
        ] {
            assert_eq!(suggest(wrote), meant, "{wrote}");
        }
    }
}
