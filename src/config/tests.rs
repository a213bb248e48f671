//! Tables over whole files: what is accepted, what is refused and in which words.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client_cas;
mod sources;
mod values;
mod vault;

use std::ffi::OsString;
use std::path::Path;

use super::*;

const BASE: &str = "kms.keystore.file=k.jks\nkms.keystore.password=pw\nkms.hsm.server.url=hsm\n";
const FILE: &str = "/etc/kms/kms.properties";

fn with_env(text: &str, environment: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    let environment = environment
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    parse(Path::new(FILE), text.as_bytes(), environment)
}

/// The minimal file and these lines.
fn extended(lines: &str) -> Result<Loaded, ConfigError> {
    with_env(&format!("{BASE}{lines}\n"), &[])
}

fn shown(config: &Config, key: &str) -> (String, String) {
    let setting = config
        .effective()
        .iter()
        .find(|setting| setting.key == key)
        .expect("a known key");
    (setting.value.clone(), setting.origin.to_string())
}

#[test]
fn the_guides_example_is_accepted_unedited() {
    let text = include_str!("../../tests/data/guide-kms.properties");
    let loaded = with_env(text, &[]).unwrap();
    assert_eq!(
        loaded.config.hsm.endpoints,
        [Endpoint {
            host: "kmshsm.mycorp.com".into(),
            port: 5696
        }]
    );
    assert_eq!(loaded.config.client_alias, "kmsclient");
    assert!(
        loaded
            .warnings
            .iter()
            .all(|warning| matches!(warning, Warning::Ignored { .. }))
    );
    assert_eq!(loaded.warnings.len(), 6, "one for each Vault key");

    let loaded = with_env(&text.replace("=kmip1", "=VAULT"), &[]).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let vault = loaded.config.hsm.vault.expect("a Vault");
    assert_eq!(vault.namespace.as_deref(), Some("engineering"));
    assert_eq!((vault.renew_before_s, &*vault.mount), (35, "transit"));
    let VaultAuth::Azure(azure) = vault.auth else {
        panic!("{:?}", vault.auth)
    };
    assert_eq!(azure.role, "KMS_ADMIN");
    assert_eq!(azure.path, "/v1/auth/azure/login");
    assert_eq!(azure.resource, "https://management.azure.com");
    assert_eq!(azure.metadata.to_string(), "169.254.169.254:80");
}

#[test]
fn the_table_is_sound() {
    let mut names: Vec<_> = table::KEYS.iter().map(|key| key.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), table::KEYS.len(), "two keys of one name");
    for key in table::KEYS.iter().copied().chain(&table::ROLE_KEYS) {
        assert!(!key.help.is_empty(), "{}", key.name);
        if let table::Default::Value(text) = key.default {
            assert!(
                value::check(key.kind, text, Path::new("")).is_ok(),
                "{}: default {text:?}",
                key.name
            );
        }
    }
}

#[test]
fn the_example_file_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/kms.properties");
    if std::env::var_os("WRITE_CONF").is_some() {
        std::fs::write(&path, render_template()).unwrap();
    }
    let on_disk = std::fs::read_to_string(&path).unwrap();
    assert!(
        on_disk == render_template(),
        "conf/kms.properties differs from the key table; write it anew: WRITE_CONF=1 cargo test --lib config::tests::the_example_file_is_the_table"
    );
    let settings: String = on_disk
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|line| line.starts_with("kms."))
        .fold(String::new(), |all, line| {
            all + &line
                .replace("NAME", "device")
                .replace(".aliases =", ".aliases = x")
                .replace(".operations =", ".operations = all")
                + "\n"
        });
    assert_eq!(
        settings.lines().count(),
        table::KEYS.len() + table::ROLE_KEYS.len()
    );
    // Uncommented as it stands, it means what the defaults mean.
    extended(&settings).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn every_problem_is_reported_at_once_with_its_line() {
    let text = "kms.keystore.file = k.jks\nkms.hsm.batch.max = 0\nkms.hsm.sever.url = x\n\nkms.log.level = loud\n";
    let error = with_env(text, &[]).unwrap_err().to_string();
    let want = "/etc/kms/kms.properties: 5 problems in the configuration
  /etc/kms/kms.properties:2: kms.hsm.batch.max = \"0\": too small; expected 1 to 1024 operations
  /etc/kms/kms.properties:3: unknown key kms.hsm.sever.url; did you mean kms.hsm.server.url?
  /etc/kms/kms.properties:5: kms.log.level = \"loud\": not one of the choices; expected one of error, warn, info, debug, trace
  kms.keystore.password is not set: set it, or name a file that holds it with kms.keystore.password.file
  kms.hsm.server.url is not set: kms.hsm.protocol is kmip1, so name the HSM, such as https://kmshsm.example.com";
    assert_eq!(error, want);
}

#[test]
fn a_demo_fits_the_usual_locked_memory_limit() {
    let text = "kms.keystore.file=k\nkms.keystore.password=p\nkms.hsm.protocol=embedded\nkms.hsm.embedded.file=e\nkms.hsm.embedded.passphrase=p\nkms.cache.entries.max=10000\nkms.request.body.max=64k\nkms.threads=2\n";
    let config = with_env(text, &[]).unwrap().config;
    for cores in [1, 2, 64] {
        let locked = plan::plan(&config, cores).locked_bytes();
        assert!(locked < 6 << 20, "{cores} cores: {locked}");
    }
}

#[test]
fn a_client_may_have_half_unless_set() {
    for (lines, want) in [
        ("", (1024, 10_000)),
        ("kms.hsm.queue.max=1\nkms.connections.max=1", (1, 1)),
        (
            "kms.limit.inflight=7\nkms.limit.connections=9\nkms.limit.rate=3",
            (7, 9),
        ),
    ] {
        let config = extended(lines).unwrap().config;
        let plan = plan::plan(&config, 1);
        let found = (plan.client_inflight_max, plan.address_connections_max);
        assert_eq!(found, want, "{lines:?}");
        assert_eq!(config.limits.rate, if want.0 == 7 { 3 } else { 0 });
    }
}

#[test]
fn sizes_follow_cores_unless_set() {
    for (lines, cores, want) in [
        ("", 1, (1, 1, 4, 2048)),
        ("", 8, (8, 4, 16, 8192)),
        ("", 0, (1, 1, 4, 2048)),
        ("kms.threads=4", 64, (4, 2, 8, 4096)),
        (
            "kms.hsm.pool.size=1\nkms.hsm.batch.max=1",
            2,
            (2, 1, 1, 1024),
        ),
        (
            "kms.hsm.queue.max=7\nkms.handshake.threads=3",
            2,
            (2, 3, 4, 7),
        ),
    ] {
        let plan = plan::plan(&extended(lines).unwrap().config, cores);
        assert_eq!(
            (
                plan.worker_threads,
                plan.handshake_threads,
                plan.pool_size,
                plan.queue_max
            ),
            want,
            "{lines:?} {cores}"
        );
    }
}
