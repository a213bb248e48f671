//! Tables over whole files of `cluster.properties`.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::*;
use crate::config::{ConfigError, Loaded, parse, render_cluster_template};

const MAIN: &str = "kms.keystore.file=k.jks\nkms.keystore.password=pw\nkms.hsm.server.url=hsm\nkms.cache.type=distributed\n";
const BASE: &str = "kms.cluster.addresses=cache.example.com\nkms.cluster.tls.ca.file=ca.crt\n";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(text: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("cluster.properties", text);
        folder
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn load(&self, more: &str, environment: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
        let text = format!("{MAIN}kms.distributed.cache.config.file=cluster.properties\n{more}");
        let environment = environment
            .iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        parse(
            &self.0.path().join("kms.properties"),
            text.as_bytes(),
            environment,
        )
    }
}

fn cluster(text: &str) -> Cluster {
    let loaded = Folder::new(text)
        .load("", &[])
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    loaded.config.cache.cluster.unwrap()
}

#[test]
fn what_is_not_set_has_its_default() {
    let set = cluster(BASE);
    assert_eq!(
        (&*set.name, set.node, set.mode),
        ("kms", None, ClusterMode::Standalone)
    );
    assert_eq!(set.addresses[0].to_string(), "cache.example.com:6379");
    assert_eq!((set.budget_ms, set.ttl_s, set.poll_ms), (2, 600, 100));
    assert_eq!((set.alone_max_s, set.key_life_h), (3600, 24));
    assert_eq!(
        (&*set.key, set.hsm_inflight_max),
        ("connected-kms-cache", None)
    );
    let tls = set.tls.unwrap();
    assert!(tls.ca_file.ends_with("ca.crt") && tls.ca_file.is_absolute());
    assert!(tls.client.is_none() && tls.server_name.is_none());
}

#[test]
fn modes_have_their_ports_and_a_master() {
    for (mode, want_mode, port) in [
        ("standalone", ClusterMode::Standalone, 6379),
        ("CLUSTER", ClusterMode::Cluster, 6379),
        (
            "sentinel",
            ClusterMode::Sentinel {
                master: "kms".to_owned(),
            },
            26379,
        ),
    ] {
        let set = cluster(&format!("{BASE}kms.cluster.mode={mode}\n"));
        assert_eq!(
            (set.mode, set.addresses[0].port),
            (want_mode, port),
            "{mode}"
        );
    }
}

#[test]
fn secrets_come_from_files_and_the_environment() {
    let folder = Folder::new(&format!(
        "{BASE}kms.cluster.username=kms\nkms.cluster.password.file=pw\n"
    ));
    folder.write("pw", "from-file\n");
    let loaded = folder.load("", &[("KMS_CLUSTER_BUDGET_MS", "7")]).unwrap();
    let set = loaded.config.cache.cluster.as_ref().unwrap();
    assert_eq!(
        (set.login.password.expose(), set.budget_ms),
        ("from-file", 7)
    );
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let shown = |key: &str| {
        let found = loaded
            .config
            .effective()
            .iter()
            .find(|setting| setting.key == key);
        found
            .map(|setting| (setting.value.clone(), setting.origin.to_string()))
            .unwrap()
    };
    assert_eq!(shown("kms.cluster.password").0, "(set)");
    let own = (
        "7".to_owned(),
        "environment KMS_CLUSTER_BUDGET_MS".to_owned(),
    );
    assert_eq!(shown("kms.cluster.budget.ms"), own);
    assert!(
        shown("kms.cluster.addresses")
            .1
            .ends_with("cluster.properties:1")
    );
    let readable = Folder::new(&format!("{BASE}kms.cluster.password=here\n"));
    let path = readable.0.path().join("cluster.properties");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let warnings = readable.load("", &[]).unwrap().warnings;
    assert!(
        warnings[0]
            .to_string()
            .contains("holds a password and can be read by others")
    );
}

#[test]
fn without_a_shared_cache_the_file_is_not_looked_at() {
    let folder = Folder::new("nonsense = 1");
    let text = format!(
        "{}kms.distributed.cache.config.file=cluster.properties\n",
        MAIN.replace("distributed", "none")
    );
    let path = folder.0.path().join("kms.properties");
    let env = [(OsString::from("KMS_CLUSTER_NAME"), OsString::from("x"))];
    let loaded = parse(&path, text.as_bytes(), env).unwrap();
    assert!(loaded.config.cache.cluster.is_none() && loaded.warnings.is_empty());
}

const WRONG: &[(&str, &str)] = &[
    (
        "kms.cluster.adresses=a",
        "cluster.properties:3: unknown key kms.cluster.adresses; did you mean kms.cluster.addresses?",
    ),
    (
        "nothing.like.it=a",
        "the keys are listed in conf/cluster.properties",
    ),
    ("kms.cluster.budget.ms=0", "too small; expected 1 to 100 ms"),
    (
        "kms.cluster.mode=ring",
        "expected one of standalone, sentinel, cluster",
    ),
    (
        "kms.cluster.addresses=redis://a",
        "without a scheme; expected host[:port], several by comma",
    ),
    (
        "kms.cluster.name=a b",
        "expected letters, digits, - and _, at most 32",
    ),
    (
        "kms.cluster.node=a/b",
        "expected letters, digits, -, _ and dots",
    ),
    (
        "kms.cluster.key=orders",
        "it begins with connected-kms-cache",
    ),
    (
        "kms.cluster.sentinel.master=m",
        "kms.cluster.mode is standalone: set that to sentinel",
    ),
    (
        "kms.cluster.addresses=a,b",
        "names several servers and kms.cluster.mode is standalone",
    ),
    (
        "kms.cluster.username=kms",
        "kms.cluster.password is not set: kms.cluster.username is set",
    ),
    (
        "kms.cluster.tls.cert.file=c",
        "kms.cluster.tls.key.file is not set: certificate and private key belong together",
    ),
    (
        "kms.cluster.tls.key.file=k",
        "kms.cluster.tls.cert.file is not set",
    ),
    (
        "kms.cluster.tls=off",
        "cache.example.com:6379 may be another machine",
    ),
    (
        "kms.cluster.tls.ca.file=",
        "kms.cluster.tls.ca.file is not set: kms.cluster.tls is on",
    ),
];

#[test]
fn what_is_wrong_is_named_with_its_remedy() {
    for (lines, want) in WRONG {
        let base: String = BASE
            .lines()
            .filter(|line| {
                line.split('=').next() != lines.split('=').next() || lines.contains("adresses")
            })
            .fold(String::new(), |all, line| all + line + "\n");
        let text = format!("{base}{lines}\n");
        let error = Folder::new(&text)
            .load("", &[])
            .map(|_| ())
            .unwrap_err()
            .to_string();
        assert!(error.contains(want), "{lines:?}: {error}");
    }
    let error = Folder::new("")
        .load("", &[])
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("kms.cluster.addresses is not set"),
        "{error}"
    );
    let embedded =
        "kms.hsm.protocol=EMBEDDED\nkms.hsm.embedded.file=f\nkms.hsm.embedded.passphrase=p\n";
    let error = Folder::new(BASE)
        .load(embedded, &[])
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(error.contains("so there is nothing to share"), "{error}");
}

#[test]
fn plaintext_stays_on_this_machine_unless_asked_for() {
    for (name, addresses, more, good) in [
        ("this machine", "127.0.0.1:1", "", true),
        ("its name", "localhost:1", "", true),
        ("IPv6", "[::1]:1", "", true),
        ("another", "10.0.0.1:1", "", false),
        (
            "one of two",
            "127.0.0.1:1,10.0.0.1:1",
            "kms.cluster.mode=cluster",
            false,
        ),
        (
            "asked for",
            "10.0.0.1:1",
            "kms.cluster.plaintext.allowed=yes",
            true,
        ),
    ] {
        let text = format!("kms.cluster.addresses={addresses}\nkms.cluster.tls=off\n{more}\n");
        assert_eq!(Folder::new(&text).load("", &[]).is_ok(), good, "{name}");
    }
}

#[test]
fn the_originals_file_is_recognised() {
    for (name, file, text) in [
        ("by its name", "jgroups.xml", "anything"),
        (
            "by its content",
            "cluster.properties",
            "\u{feff}<?xml version='1.0'?>\n<config xmlns='urn:org:jgroups'/>",
        ),
        ("without a prolog", "cluster.properties", "\n  <config/>"),
    ] {
        let folder = Folder::new("");
        folder.write(file, text);
        let named = format!("{MAIN}kms.distributed.cache.config.file={file}\n");
        let path = folder.0.path().join("kms.properties");
        let error = parse(&path, named.as_bytes(), [])
            .map(|_| ())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("JGroups") && error.contains("kms migrate"),
            "{name}: {error}"
        );
    }
}

#[test]
fn the_example_file_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/cluster.properties");
    if std::env::var_os("WRITE_CONF").is_some() {
        std::fs::write(&path, render_cluster_template()).unwrap();
    }
    let on_disk = std::fs::read_to_string(&path).unwrap();
    assert!(
        on_disk == render_cluster_template(),
        "conf/cluster.properties differs from the key table; write it anew: WRITE_CONF=1 cargo test --lib config::cluster"
    );
    let settings: String = on_disk
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|line| line.starts_with("kms.") && !line.starts_with("kms.cluster.sentinel"))
        .fold(String::new(), |all, line| all + line + "\n");
    assert_eq!(settings.lines().count(), table::KEYS.len() - 3);
    // Uncommented as it stands, it means what the defaults mean.
    cluster(
        &format!("{settings}{BASE}")
            .replace("kms.cluster.addresses =\n", "")
            .replace("kms.cluster.tls.ca.file =\n", ""),
    );
}

#[test]
fn what_a_node_may_have_at_the_hsm_is_bounded_by_connections_and_items() {
    for (set, pool, batch, want) in [
        (None, 4, 32, [4, 32]),
        (Some(1000), 4, 32, [4, 32]),
        (Some(64), 4, 32, [4, 16]),
        (Some(3), 4, 32, [3, 1]),
        (Some(1), 4, 32, [1, 1]),
    ] {
        let most = set.map_or(String::new(), |most| {
            format!("kms.cluster.hsm.inflight.max={most}\n")
        });
        let folder = Folder::new(&format!("{BASE}{most}"));
        let more = format!("kms.hsm.pool.size={pool}\nkms.hsm.batch.max={batch}\n");
        let config = folder.load(&more, &[]).unwrap().config;
        let plan = crate::config::plan::plan(&config, 2);
        assert_eq!([plan.pool_size, plan.batch_max], want, "{set:?}");
        if set.is_none() {
            let mut alone = config;
            alone.cache.cluster = None;
            let without = crate::config::plan::plan(&alone, 2).locked_bytes();
            assert!(
                plan.locked_bytes() > without,
                "no room for the shared cache"
            );
        }
    }
}
