//! Threads, queues and locked memory, worked out from the configuration and the number of cores.
//!
//! Pure. Each number comes with its rule, for `kms check`. Must never be true: a size that grows after start.

use serde::Serialize;

use super::model::{Config, Protocol};
use crate::limits::{BATCH_ITEMS_MAX, CACHED_PLAINTEXT_BYTES_MAX};
use crate::secret::ArenaPlan;

const KIB: usize = 1024;
const PAGE_BYTES: usize = 4 * KIB;
/// Locked bytes planned for one cached key: a 256-bit DEK. Where DEKs are longer,
/// fewer fit and the oldest make room (`hsm::store`).
const ENTRY_BYTES: usize = 32;
/// Locked bytes planned for one result that is not yet delivered.
const IN_FLIGHT_BYTES: usize = 64;
/// Size classes of the arena.
const CLASSES: usize = 5;
/// Input buffer of a worker or handshake thread.
pub const INPUT_BYTES: usize = 64 * KIB;
/// Output scratch of a worker.
pub const OUTPUT_BYTES: usize = 256 * KIB;
/// One of the two buffers of an HSM connection.
pub const HSM_BUFFER_BYTES: usize = 128 * KIB;
/// Buffers and keys of the shared cache.
pub const SHARED_CACHE_BYTES: usize = 48 * KIB;
/// Large regions together take no more than this, save that there are at least two.
const LARGE_TOTAL_BYTES_MAX: usize = 64 * KIB * KIB;

/// Requests and items that may wait for the HSM at once; more are answered 503.
pub const WAITERS_MAX: usize = 16 * KIB;

/// One derived number and where it comes from.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Rule {
    /// What it sizes.
    pub name: &'static str,
    /// The number.
    pub value: usize,
    /// How it was found.
    pub rule: String,
}

/// Everything that is sized at start.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    /// Worker threads.
    pub worker_threads: usize,
    /// Handshake threads.
    pub handshake_threads: usize,
    /// Connections to the HSM; 0 with EMBEDDED.
    pub pool_size: usize,
    /// Items of one message to it.
    pub batch_max: usize,
    /// Jobs that may wait for the back end.
    pub queue_max: usize,
    /// Distinct fetches at once.
    pub flights_max: usize,
    /// Jobs that may wait for one client.
    pub client_inflight_max: usize,
    /// Connections of one address.
    pub address_connections_max: usize,
    /// Locked memory.
    pub arena: ArenaPlan,
    /// The numbers above with their rules.
    pub rules: Vec<Rule>,
}

impl Plan {
    /// Bytes of locked memory in all, guard pages not counted.
    pub fn locked_bytes(&self) -> usize {
        self.arena.locked_bytes()
    }
}

/// Plans for a machine of `cores` cores.
pub fn plan(config: &Config, cores: usize) -> Plan {
    let mut rules = Vec::new();
    let mut note = |name, value, rule: String| {
        rules.push(Rule { name, value, rule });
        value
    };
    let (value, rule) = choose(
        config.sizes.threads,
        "kms.threads",
        cores.clamp(1, 256),
        "one for each core",
    );
    let workers = note("worker threads", value, rule);
    let derived = (workers / 2).clamp(1, 64);
    let (value, rule) = choose(
        config.sizes.handshake_threads,
        "kms.handshake.threads",
        derived,
        "one for each two worker threads",
    );
    let handshakes = note("handshake threads", value, rule);
    let (value, rule) = match config.hsm.protocol {
        Protocol::Embedded => (0, "none with EMBEDDED".to_owned()),
        Protocol::Kmip1 | Protocol::Vault => {
            let derived = (workers * 2).clamp(4, 32);
            choose(
                config.hsm.pool_size,
                "kms.hsm.pool.size",
                derived,
                "2 for each worker thread, at least 4, at most 32",
            )
        }
    };
    let (pool, batch, pool_rule) = at_once(config, value, rule);
    let pool = note("HSM connections", pool, pool_rule);
    let derived = (pool * batch * 16).clamp(1024, 65_536);
    let rule = "16 full messages for each connection, at least 1024, at most 65536";
    let (value, rule) = choose(config.hsm.queue_max, "kms.hsm.queue.max", derived, rule);
    let queue = note("jobs waiting", value, rule);
    let flights_max = in_flight(config, [pool, batch, queue], &mut note);
    let [client_inflight_max, address_connections_max] = of_one_client(config, queue, &mut note);
    let arena = arena(config, [workers, handshakes, pool, queue], &mut note);
    Plan {
        worker_threads: workers,
        handshake_threads: handshakes,
        pool_size: pool,
        batch_max: batch,
        queue_max: queue,
        flights_max,
        client_inflight_max,
        address_connections_max,
        arena,
        rules,
    }
}

/// What is set for `key`, or `derived` by `rule`; and which of them it is.
fn choose(set: Option<usize>, key: &str, derived: usize, rule: &str) -> (usize, String) {
    match set {
        Some(value) => (value, format!("{key} is set")),
        None => (derived, rule.to_owned()),
    }
}

/// Connections and items of a message, within what a node of a cluster may have at the HSM at once. All of it
/// bounded by what the pool does anyway, so that clients keep their turns.
fn at_once(config: &Config, pool: usize, rule: String) -> (usize, usize, String) {
    let batch = config.hsm.batch_max;
    let cluster = config.cache.cluster.as_ref();
    let Some(most) = cluster.and_then(|cluster| cluster.hsm_inflight_max) else {
        return (pool, batch, rule);
    };
    let most = (most / config.hsm.pipeline_max).max(1);
    if pool == 0 || pool * batch <= most {
        return (pool, batch, rule);
    }
    let fewer = pool.min(most);
    let rule = if fewer < pool {
        "kms.cluster.hsm.inflight.max".to_owned()
    } else {
        rule
    };
    (fewer, (most / fewer).max(1), rule)
}

/// What may be on its way to the HSM besides the jobs waiting.
fn in_flight(
    config: &Config,
    [pool, batch, queue]: [usize; 3],
    note: &mut impl FnMut(&'static str, usize, String) -> usize,
) -> usize {
    note(
        "items of one HSM message",
        batch,
        if batch == config.hsm.batch_max {
            "kms.hsm.batch.max; fewer to a server that was found to take fewer".to_owned()
        } else {
            "kms.cluster.hsm.inflight.max, divided by the connections".to_owned()
        },
    );
    let rule = match config.hsm.pipeline_max {
        1 => "kms.hsm.kmip.pipeline.max; 1: each waits for the answer to the last",
        _ => {
            "kms.hsm.kmip.pipeline.max; only while more waits than one message for each connection"
        }
    };
    let pipeline = config.hsm.pipeline_max;
    note(
        "HSM messages under way on a connection",
        pipeline,
        rule.to_owned(),
    );
    note(
        "refreshes waiting",
        pool * batch,
        "one message for each HSM connection; none is sent while clients' jobs wait".to_owned(),
    );
    note(
        "requests waiting for the HSM",
        WAITERS_MAX,
        "fixed; a batch counts each item".to_owned(),
    );
    note(
        "fetches in flight",
        queue * 2,
        "twice the jobs waiting: those that wait and those at the HSM".to_owned(),
    )
}

fn of_one_client(
    config: &Config,
    queue: usize,
    note: &mut impl FnMut(&'static str, usize, String) -> usize,
) -> [usize; 2] {
    let (inflight, inflight_rule) = choose(
        config.limits.inflight,
        "kms.limit.inflight",
        (queue / 2).max(1),
        "half of the jobs waiting",
    );
    let (connections, connections_rule) = choose(
        config.limits.connections,
        "kms.limit.connections",
        (config.sizes.connections_max / 2).max(1),
        "half of kms.connections.max",
    );
    [
        note("jobs waiting of one client", inflight, inflight_rule),
        note("connections of one address", connections, connections_rule),
    ]
}

fn arena(
    config: &Config,
    [workers, handshakes, pool, queue]: [usize; 4],
    note: &mut impl FnMut(&'static str, usize, String) -> usize,
) -> ArenaPlan {
    let entries = config.cache.entries_max;
    let keys = entries * ENTRY_BYTES + queue * IN_FLIGHT_BYTES + CLASSES * PAGE_BYTES;
    let keys = note(
        "locked bytes for keys",
        keys.next_multiple_of(PAGE_BYTES),
        format!(
            "{entries} entries of {ENTRY_BYTES} bytes (a 256-bit key; longer ones leave room for fewer), {queue} in flight of {IN_FLIGHT_BYTES}, a page for each of {CLASSES} sizes"
        ),
    );
    let body = config.sizes.request_body_bytes_max;
    let large = (body / 4 * 3)
        .max(CACHED_PLAINTEXT_BYTES_MAX)
        .next_multiple_of(PAGE_BYTES);
    let large = note(
        "bytes of a large plaintext",
        large,
        "what base64 in kms.request.body.max can hold".to_owned(),
    );
    let count = (workers * 2)
        .max(4)
        .min(LARGE_TOTAL_BYTES_MAX / large)
        .max(2);
    let count = note(
        "large plaintexts at once",
        count,
        "2 for each worker, at least 4; together at most 64 MiB".to_owned(),
    );
    // The thread that renews a Vault's token has a connection of its own.
    let others = usize::from(config.hsm.protocol == Protocol::Vault);
    let shared = config
        .cache
        .cluster
        .as_ref()
        .map_or(0, |_| SHARED_CACHE_BYTES);
    let buffers = workers * (INPUT_BYTES + OUTPUT_BYTES)
        + handshakes * INPUT_BYTES
        + (pool + others) * 2 * HSM_BUFFER_BYTES
        + shared;
    let buffers = note(
        "locked bytes for buffers",
        buffers,
        "64 KiB in and 256 KiB out for each worker, 64 KiB for each handshake thread, twice 128 KiB for each HSM connection, 48 KiB for the shared cache".to_owned(),
    );
    let arena = ArenaPlan {
        key_bytes: keys,
        large_count: count,
        large_bytes: large,
        buffer_bytes: buffers,
        mode: None,
    };
    note(
        "plaintexts of 513 to 4096 bytes at once",
        arena.medium_count() + count,
        "64 places of a page, then the large ones; the large ones alone where they are small"
            .to_owned(),
    );
    arena
}

const _: () = assert!(
    BATCH_ITEMS_MAX <= 1024,
    "one whole request must fit the smallest derived queue"
);
