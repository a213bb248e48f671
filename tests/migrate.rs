//! `kms migrate` over installations like the guide's: what it writes is checked, served, and used by clients; what is
//! wrong is told, and the old installation is never changed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::pedantic,
    missing_docs
)]

mod support;

#[path = "migrate/bad.rs"]
mod bad;
#[path = "migrate/good.rs"]
mod good;
#[path = "migrate/place.rs"]
mod place;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use place::{Place, STORE_PASSWORD};

#[test]
fn files_are_for_the_service_alone_and_never_replaced_unasked() {
    let place = Place::new();
    place.guide();
    let (code, text) = place.migrate(&[]);
    assert_eq!(code, 0, "{text}");
    assert!(!text.contains(STORE_PASSWORD), "a password is told: {text}");
    let mode = |name: &str| {
        let meta = fs::metadata(place.to().join(name)).unwrap();
        meta.permissions().mode() & 0o777
    };
    for (name, want) in [
        (".", 0o750),
        ("kms.properties", 0o640),
        ("keystore.password", 0o600),
        ("kmsKeystore.jks", 0o600),
    ] {
        assert_eq!(mode(name), want, "{name}: {:o}", mode(name));
    }
    fs::write(place.to().join("kms.properties"), "mine").unwrap();
    for more in [&[][..], &["--dry-run"]] {
        let (code, text) = place.migrate(more);
        assert!(code == 2 && text.contains("--replace"), "{text}");
    }
    let read = |name: &str| fs::read(place.to().join(name)).unwrap();
    assert_eq!(read("kms.properties"), b"mine");
    let (code, text) = place.migrate(&["--replace"]);
    assert!(code == 0 && text.contains("kms.properties.old"), "{text}");
    assert_eq!(read("kms.properties.old"), b"mine");
    for inside in [place.conf().join("new"), place.tomcat()] {
        let (code, text) = place.migrate_to(inside.to_str().unwrap(), &[]);
        assert!(
            code == 2 && text.contains("choose another folder"),
            "{text}"
        );
    }
}
