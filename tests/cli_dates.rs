//! What the commands say of certificates that are over, soon over, or not valid yet: exit code 1, and a warning.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kms::cli::pki::{Authority, Leaf};

const DAY: Duration = Duration::from_hours(24);

/// Name, days from now to its beginning and its end, what is said.
const ROWS: &[(&str, i32, i32, &str)] = &[
    ("good", -1, 100, ""),
    ("soon", -1, 29, "expires in 28 days, on 2"),
    ("today", -1, 1, "expires in 0 days, on 2"),
    ("over", -9, -1, "HAS EXPIRED on 2"),
    ("early", 2, 100, "is valid from 2"),
];

/// Two seconds less than whole days, for the clock moves on.
fn at(days: i32) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let span = DAY * days.unsigned_abs();
    let then = if days < 0 {
        now.checked_sub(span)
    } else {
        now.checked_add(span)
    };
    then.unwrap().checked_sub(Duration::from_secs(2)).unwrap()
}

fn kms(folder: &Path, line: &str) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kms"));
    command.current_dir(folder).args(line.split(' '));
    let done = command
        .env("KMS_KEYSTORE_PASSWORD", "changeit")
        .output()
        .unwrap();
    let said = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
    (done.status.code().unwrap(), said)
}

#[test]
fn dates_are_judged_wherever_a_certificate_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("Test CA").unwrap();
    fs::write(folder.path().join("ca.crt"), authority.cert_pem()).unwrap();
    for (name, from, until, want) in ROWS {
        let leaf = Leaf {
            common_name: name,
            sans: &[],
            server: false,
            client: true,
            days: 1,
        };
        let issued = authority
            .issue_between(&leaf, at(*from), at(*until))
            .unwrap();
        fs::write(folder.path().join(format!("{name}.crt")), &issued.cert_pem).unwrap();
        fs::write(
            folder.path().join(format!("{name}.key")),
            issued.key_pem.expose(),
        )
        .unwrap();
        let store = format!("{name}.p12");
        assert_eq!(kms(folder.path(), &format!("keystore init {store}")).0, 0);
        let is_good = want.is_empty();
        let is_over = *until < 0;
        for (line, code) in [
            (
                format!("keystore import {store} --alias a --cert {name}.crt"),
                1,
            ),
            (
                format!("cert import {store} --alias b --key {name}.key --cert {name}.crt"),
                1,
            ),
            (
                format!("cert verify {name}.crt --key {name}.key --ca ca.crt"),
                if is_over { 2 } else { 1 },
            ),
        ] {
            let said = kms(folder.path(), &line);
            assert_eq!(said.0, if is_good { 0 } else { code }, "{line}: {}", said.1);
            assert!(said.1.contains(want), "{line}: {want} in {}", said.1);
        }
        let label = match *name {
            "good" => "99 days left",
            "soon" => "WARNING: 28 days left",
            "today" => "WARNING: 0 days left",
            "over" => "EXPIRED",
            _ => "WARNING: not valid yet",
        };
        for line in [
            format!("keystore list {store}"),
            format!("cert show {name}.crt"),
        ] {
            let said = kms(folder.path(), &line);
            assert_eq!(said.0, i32::from(!is_good), "{line}: {}", said.1);
            assert!(said.1.contains(label), "{line}: {label} in {}", said.1);
        }
    }
}
