//! `kms check` as operators run it: the host, the certificates, and a data key's way with an embedded back end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod service_support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use service_support::{House, file};

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
        .arg(&properties)
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
fn that_nothing_would_be_logged_is_noted() {
    let house = House::build();
    let missing = file(&house, "missing/audit.log").display().to_string();
    let there = file(&house, "audit.log").display().to_string();
    // Where nobody names a file the usual folder counts, which may be there.
    let usual = !Path::new("/var/log/kms").is_dir();
    for (name, settings, want) in [
        (
            "off",
            "kms.audit.mode = off\n".to_owned(),
            "kms.audit.mode = off",
        ),
        ("named", format!("kms.audit.file = {there}\n"), ""),
        (
            "named, in no folder",
            format!("kms.audit.file = {missing}\n"),
            "",
        ),
        (
            "the usual",
            String::new(),
            if usual { "LogsDirectory=" } else { "" },
        ),
    ] {
        let (_, said) = check(&house, "", &settings);
        let report: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"));
        let notes = report["notes"].to_string();
        let is_told = notes.contains("audit log");
        assert_eq!(is_told, !want.is_empty(), "{name}: {notes}");
        assert!(notes.contains(want), "{name}: {notes}");
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
