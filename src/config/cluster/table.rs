//! The keys of `cluster.properties`.

use crate::config::table::Default::{Derived, None as Unset, Value};
use crate::config::table::{Book, Kind, keys, number};

/// `cluster.properties`.
pub static CLUSTER: Book = Book {
    keys: KEYS,
    has_roles: false,
    example: "conf/cluster.properties",
    environment: "KMS_CLUSTER_",
};

keys! {
    KEYS:
    NAME "kms.cluster.name", Kind::Text, Value("kms"),
        "Name of the cluster: letters, digits, - and _, at most 32. All its nodes have the same; clusters that share an engine have different ones.";
    NODE "kms.cluster.node", Kind::Text, Derived("the host's name"),
        "Name of this node, for people: letters, digits, -, _ and dots, at most 64.";
    MODE "kms.cluster.mode", Kind::Choice(&["standalone", "sentinel", "cluster"]), Value("standalone"),
        "How the engine's servers belong together: one server; a master that sentinels look after; a Redis Cluster.";
    ADDRESSES "kms.cluster.addresses", Kind::Places, Unset,
        "The server (port 6379), the sentinels (26379), or some servers of the cluster (6379). Required.";
    SENTINEL_MASTER "kms.cluster.sentinel.master", Kind::Text, Value("kms"),
        "What the sentinels call the master. Only with kms.cluster.mode = sentinel.";
    SENTINEL_USERNAME "kms.cluster.sentinel.username", Kind::Text, Unset,
        "User at the sentinels, if they ask for one.";
    SENTINEL_PASSWORD "kms.cluster.sentinel.password", Kind::Secret, Unset,
        "Its password.";
    USERNAME "kms.cluster.username", Kind::Text, Unset,
        "User at the engine; not set: a password alone is sent.";
    PASSWORD "kms.cluster.password", Kind::Secret, Unset,
        "Its password.";
    TLS "kms.cluster.tls", Kind::Choice(&["on", "off"]), Value("on"),
        "Whether the engine is spoken to over TLS. off only if all addresses are of this machine (127.0.0.1, ::1, localhost), or with kms.cluster.plaintext.allowed.";
    TLS_CA_FILE "kms.cluster.tls.ca.file", Kind::Path, Unset,
        "Authority or authorities that vouch for the engine's certificates, PEM. Required with TLS.";
    TLS_CERT_FILE "kms.cluster.tls.cert.file", Kind::Path, Unset,
        "This node's certificate for the engine with its chain, PEM; needed unless the engine asks for none (tls-auth-clients no).";
    TLS_KEY_FILE "kms.cluster.tls.key.file", Kind::Path, Unset,
        "Its private key, PEM, not encrypted, mode 0600.";
    TLS_SERVER_NAME "kms.cluster.tls.server.name", Kind::Host, Derived("the server's host"),
        "Name to expect in the engine's certificates, for servers that are known by their addresses.";
    PLAINTEXT_ALLOWED "kms.cluster.plaintext.allowed", Kind::Choice(&["no", "yes"]), Value("no"),
        "yes: no TLS to other machines either. Records are sealed all the same, but the password is not, and whoever is on the way can empty the cache.";
    BUDGET_MS "kms.cluster.budget.ms", number(1, 100, "ms"), Value("2"),
        "What asking the engine may add to an unwrap that this node has not cached, before the HSM is asked.";
    TTL_S "kms.cluster.ttl.s", number(10, 86_400, "s"), Value("600"),
        "How long the engine keeps a record, give or take a tenth. A key disabled in the HSM may be served this long and kms.cache.ttl.s more by whoever does not look it up.";
    KEY "kms.cluster.key", Kind::Text, Value("connected-kms-cache"),
        "Name of the HSM's key that wraps the cluster's sealing key, and nothing else; made if it is not there. It begins with connected-kms-cache: clients cannot use such keys.";
    KEY_LIFE_H "kms.cluster.key.life.h", number(1, 8_760, "h"), Value("24"),
        "How long one sealing key is used before the next takes over.";
    POLL_MS "kms.cluster.poll.ms", number(20, 1_000, "ms"), Value("100"),
        "How often a node looks whether some key was changed. Messages are quicker; this finds those that were lost.";
    ALONE_MAX_S "kms.cluster.alone.max.s", number(0, 86_400, "s"), Value("3600"),
        "How long a node that has lost the engine keeps serving what it has cached itself, while it asks the HSM every second whether its keys are as they were. 0: not at all.";
    HSM_INFLIGHT_MAX "kms.cluster.hsm.inflight.max", number(1, 65_536, "operations"),
        Derived("kms.hsm.pool.size times kms.hsm.batch.max"),
        "Operations of this node that are at the HSM at once: what the HSM can take, divided by the number of nodes, so that losing the shared cache does not flood it.";
}
