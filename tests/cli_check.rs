//! `kms check` as operators run it: the host, the certificates, and a data key's way with an embedded back end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod service_support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use service_support::{House, file};

/// `more` with "open": a keystore that all may read; "few": few files may be open; "beside": asked from the folder of
/// the configuration.
fn check(house: &House, more: &str, settings: &str) -> (i32, String) {
    let properties = file(house, "kms.properties");
    fs::write(&properties, house.properties(settings)).unwrap();
    for name in ["kms.properties", "store.p12"] {
        let private = fs::Permissions::from_mode(0o600);
        fs::set_permissions(file(house, name), private).unwrap();
    }
    if more.contains("open") {
        let open = fs::Permissions::from_mode(0o644);
        fs::set_permissions(file(house, "store.p12"), open).unwrap();
    }
    let line = format!(
        "ulimit -n {}; exec \"$@\"",
        if more.contains("few") { 70 } else { 1000 }
    );
    let output = Command::new("bash")
        .args([
            "-c",
            &line,
            "check",
            env!("CARGO_BIN_EXE_kms"),
            "check",
            "--json",
            "--config",
        ])
        .arg(if more.contains("beside") {
            Path::new("kms.properties")
        } else {
            &properties
        })
        .current_dir(house.dir.path())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(text).unwrap(),
    )
}

#[test]
fn the_host_and_the_certificates_are_judged() {
    let house = House::build();
    for (name, more, want) in [
        ("certificates that end soon", "", ", on 20"),
        ("a keystore for everybody", "open", "chmod 600"),
        ("few files", "few", "RLIMIT_NOFILE allows 70"),
    ] {
        let (code, said) = check(&house, more, "");
        let report: Value =
            serde_json::from_str(&said).unwrap_or_else(|_| panic!("{name}: {said}"));
        assert_eq!(code, 1, "{name}: {said}");
        let warnings = report["warnings"].to_string();
        assert!(warnings.contains(want), "{name}: {warnings}");
        assert_eq!(
            warnings.contains("chmod 600"),
            more.contains("open"),
            "{name}"
        );
        assert_eq!(
            report["certificates"].as_array().unwrap().len(),
            3,
            "{name}"
        );
        assert!(report["host"].to_string().contains("swap: "), "{name}");
        assert!(
            report["errors"].as_array().unwrap().is_empty(),
            "{name}: {said}"
        );
    }
}

#[test]
fn what_would_not_be_logged_is_told() {
    let house = House::build();
    let missing = file(&house, "missing/audit.log").display().to_string();
    let there = file(&house, "audit.log").display().to_string();
    // Whether the usual folder is there depends on the machine.
    let is_usual = Path::new("/var/log/kms").is_dir();
    let usual = if is_usual { "" } else { "LogsDirectory=" };
    for (name, settings, (note, error), code) in [
        (
            "off",
            "kms.audit.mode = off\n".to_owned(),
            ("kms.audit.mode = off", ""),
            0,
        ),
        ("named", format!("kms.audit.file = {there}\n"), ("", ""), 0),
        (
            "named, beside",
            "kms.audit.file = audit.log\n".to_owned(),
            ("", ""),
            0,
        ),
        (
            "in no folder",
            format!("kms.audit.file = {missing}\n"),
            ("", "missing/audit.log (kms.audit.file)"),
            2,
        ),
        (
            "its key in no folder",
            format!("kms.audit.file = {there}\nkms.audit.key.file = {missing}\n"),
            ("", "missing/audit.log (kms.audit.key.file)"),
            2,
        ),
        ("the usual", String::new(), (usual, ""), 0),
    ] {
        let (is, said) = check(&house, name, &settings);
        let report: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"));
        for (kind, want) in [("notes", note), ("errors", error)] {
            let told = report[kind].to_string();
            let is_told = told.contains("audit log") || told.contains("kms.audit");
            assert_eq!(is_told, !want.is_empty(), "{name}: {kind} {told}");
            assert!(told.contains(want), "{name}: {kind} {told}");
        }
        assert!(is == code || (code == 0 && is == 1), "{name}: {is}");
    }
}

#[test]
fn a_log_level_that_hides_the_anchors_is_warned_of() {
    let house = House::build();
    let file = format!("kms.audit.file = {}\n", file(&house, "audit.log").display());
    for (level, audit, want) in [
        ("info", file.as_str(), false),
        ("debug", &file, false),
        ("warn", &file, true),
        ("error", &file, true),
        ("error", "kms.audit.mode = off\n", false),
    ] {
        let settings = format!("{audit}kms.log.level = {level}\n");
        let (_, said) = check(&house, "", &settings);
        let report: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"));
        let warnings = report["warnings"].to_string();
        let is_told = warnings.contains(&format!("kms.log.level = {level} hides"));
        assert_eq!(is_told, want, "{settings}: {warnings}");
    }
}
