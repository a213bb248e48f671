//! docs/metrics.md names every family that is told, with its type, labels and closed values, and no other; its alerts too.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use kms::identity::Expiry;

use crate::service_support::scrape::get;
use crate::service_support::{Running, unhurried};

/// Type and names of labels by family.
type Families = BTreeMap<String, (String, BTreeSet<String>)>;

fn labels_of(sample: &str) -> BTreeSet<String> {
    let inside = sample
        .split_once('{')
        .map_or("", |(_, rest)| rest.split('}').next().unwrap());
    let name = |label: &str| label.split('=').next().unwrap().to_owned();
    let all = inside.split(',').filter(|label| !label.is_empty());
    all.map(name).filter(|name| name != "le").collect()
}

fn families(text: &str) -> Families {
    let mut families = Families::new();
    let mut family = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            name.clone_into(&mut family);
            families.insert(family.clone(), (kind.to_owned(), BTreeSet::new()));
        } else if !line.starts_with('#') {
            let (_, labels) = families.get_mut(&family).unwrap();
            labels.extend(labels_of(line));
        }
    }
    families
}

/// The rows of its tables.
fn documented(text: &str) -> Families {
    let cells = |line: &str| -> Vec<String> {
        let cells = line.split('|').map(|cell| cell.trim().replace('`', ""));
        cells.collect()
    };
    let rows = text
        .lines()
        .filter(|line| line.starts_with("| `kms_") || line.starts_with("| `process_"));
    let family = |line: &str| {
        let cells = cells(line);
        let labels = cells[3].split(',').map(|label| label.trim().to_owned());
        let labels = labels.filter(|label| !label.is_empty()).collect();
        (cells[1].clone(), (cells[2].clone(), labels))
    };
    rows.map(family).collect()
}

/// Values of labels that the program decides, by family.
fn values(text: &str) -> BTreeSet<(&str, &str)> {
    let mut values = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, labels)) = line.split_once('{') else {
            continue;
        };
        for label in [
            "about", "class", "how", "kind", "order", "outcome", "reason", "served", "source",
            "state", "what",
        ] {
            let mut parts = labels.split([',', '}']);
            let value = parts.find_map(|part| part.strip_prefix(&format!("{label}=\"")));
            values.extend(value.map(|value| (name, value.trim_end_matches('"'))));
        }
    }
    values
}

/// The settings of a node that shares a cache. Nobody needs to be at the engine's address for its families to be told.
fn sharing(folder: &Path) -> String {
    let file = folder.join("cluster.properties");
    std::fs::write(
        &file,
        "kms.cluster.addresses=127.0.0.1:1\nkms.cluster.tls=off\n",
    )
    .unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let file = file.display();
    let fingerprint = "ab".repeat(32);
    let hsm =
        "kms.hsm.protocol=KMIP1\nkms.hsm.server.url=127.0.0.1:1\nkms.keystore.alias=kmsServer";
    format!(
        "kms.cache.type=distributed\nkms.distributed.cache.config.file={file}\n{hsm}\n\
        kms.hsm.fingerprint={fingerprint}"
    )
}

#[test]
fn the_document_tells_of_every_family_and_of_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::fake(&sharing(folder.path()), unhurried());
    running.hsm().tell_all();
    let certificates = &running.node.shared().certificates;
    let list = Expiry {
        usage: "client-crl",
        ..Expiry::of_certificate("ca", "client-ca", 1)
    };
    certificates.rcu(|all| {
        let all = all.iter().cloned();
        Arc::new(all.chain([list.clone()]).collect::<Vec<_>>())
    });
    let metrics = get(&running, "/metrics");
    let told = families(&metrics);
    let text = include_str!("../../docs/metrics.md");
    let documented = documented(text);
    for (name, family) in &told {
        assert_eq!(
            documented.get(name),
            Some(family),
            "{name} is not documented so"
        );
    }
    for name in documented.keys() {
        assert!(
            told.contains_key(name),
            "{name} is documented and not there"
        );
    }
    for (name, value) in values(&metrics) {
        let family = name.trim_end_matches("_bucket").trim_end_matches("_count");
        let start = format!("| `{}` |", family.trim_end_matches("_sum"));
        let row = text.lines().find(|line| line.starts_with(&start));
        let is_told = row.is_some_and(|row| row.contains(&format!("`{value}`")));
        assert!(is_told, "{name}: {value}");
    }
    // Alerts that name what is not there never ring.
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let (_, alerts) = text.split_once("```yaml").unwrap();
    let mut names = BTreeSet::new();
    for expr in alerts.lines().filter(|line| line.contains("expr:")) {
        let words = expr.split(|c| !is_name(c));
        names.extend(words.filter(|word| word.starts_with("kms_")));
    }
    assert!(names.len() > 8, "{names:?}");
    for name in names {
        let family = name.trim_end_matches("_bucket");
        assert!(told.contains_key(family), "an alert on {name}");
    }
    running.stop();
}
