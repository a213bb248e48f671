//! Where values come from: file, environment, secret files, old names; and what they say of it.

use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn environment_wins_over_file() {
    let env = [
        ("KMS_HSM_SERVER_URL", "https://other:1"),
        ("KMS_CACHE_TTL_S", "9"),
        ("KMS_ROLE_DEVICE_KEYS", "a*"),
        ("PATH", "/bin"),
    ];
    let loaded = with_env(&format!("{BASE}kms.cache.ttl.s=8\n"), &env).unwrap();
    assert_eq!(loaded.config.hsm.endpoints[0].to_string(), "other:1");
    assert_eq!(loaded.config.cache.ttl_s, 9);
    assert_eq!(loaded.config.roles[1].keys, ["a*"]);
    assert_eq!(
        shown(&loaded.config, "kms.cache.ttl.s"),
        ("9".into(), "environment KMS_CACHE_TTL_S".into())
    );
    assert_eq!(
        shown(&loaded.config, "kms.hsm.timeout.ms"),
        ("2000".into(), "default".into())
    );
    assert_eq!(
        shown(&loaded.config, "kms.keystore.file").1,
        "/etc/kms/kms.properties:1"
    );
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);

    let error = with_env(BASE, &[("KMS_SERVER_PORT", "tcp://x")])
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("environment KMS_SERVER_PORT: kms.server.port"),
        "{error}"
    );
    let loaded = with_env(BASE, &[("KMS_SERVER_PROT", "1")]).unwrap();
    assert_eq!(
        loaded.warnings[0].to_string(),
        "environment KMS_SERVER_PROT is no setting and is ignored; did you mean KMS_SERVER_PORT?"
    );
}

#[test]
fn paths_start_at_the_files_folder() {
    let config = extended("kms.log.file=/var/log/kms/kms.log")
        .unwrap()
        .config;
    assert_eq!(config.keystore.file, Path::new("/etc/kms/k.jks"));
    assert_eq!(config.server.keystore.file, Path::new("/etc/kms/k.jks"));
    assert_eq!(config.server.keystore.password.expose(), "pw");
    assert_eq!(
        config.log.file.as_deref(),
        Some(Path::new("/var/log/kms/kms.log"))
    );
}

#[test]
fn old_names_are_read_with_a_warning() {
    let base = "kms.keystore.file=k\nkms.keystore.password=p\n";
    let loaded = with_env(
        &format!("{base}kmip.server.url=https://hsm\nkmip.server.port=7\n"),
        &[],
    )
    .unwrap();
    assert_eq!(loaded.config.hsm.endpoints[0].to_string(), "hsm:7");
    assert_eq!(loaded.warnings.len(), 2);
    assert!(
        loaded.warnings[0]
            .to_string()
            .contains("kmip.server.url is an old name; write kms.hsm.server.url")
    );
    for (order, lines) in [
        ("old last", "kms.hsm.server.url=a\nkmip.server.url=b\n"),
        ("old first", "kmip.server.url=b\nkms.hsm.server.url=a\n"),
    ] {
        let error = with_env(&format!("{base}{lines}"), &[])
            .map(|_| ())
            .expect_err(order)
            .to_string();
        assert!(
            error.contains("its old name kmip.server.url have different values"),
            "{order}: {error}"
        );
    }
    assert!(
        with_env(
            &format!("{base}kms.hsm.server.url=a\nkmip.server.url=a\n"),
            &[]
        )
        .is_ok(),
        "the same value twice"
    );
}

#[test]
fn the_later_of_two_lines_counts() {
    let loaded = extended("kms.cache.ttl.s=1\nkms.cache.ttl.s=2").unwrap();
    assert_eq!(loaded.config.cache.ttl_s, 2);
    assert!(loaded.warnings[0].to_string().ends_with("properties:5: kms.cache.ttl.s is set a second time; this line counts, line 4 does not: remove one"));
}

#[test]
fn secrets_come_from_private_files() {
    let folder = tempfile::tempdir().unwrap();
    let (secret, file) = (
        folder.path().join("pw"),
        folder.path().join("kms.properties"),
    );
    std::fs::write(&secret, "s3cret \n").unwrap();
    std::fs::write(
        &file,
        "kms.keystore.file=k\nkms.keystore.password.file=pw\nkms.hsm.server.url=h\n",
    )
    .unwrap();
    for (mode, accepted) in [
        (0o600, true),
        (0o400, true),
        (0o640, false),
        (0o604, false),
        (0o644, false),
    ] {
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(mode)).unwrap();
        match load(&file, []) {
            Ok(loaded) => {
                assert!(accepted, "{mode:o}");
                assert_eq!(loaded.config.keystore.password.expose(), "s3cret ");
                assert!(
                    shown(&loaded.config, "kms.keystore.password")
                        .1
                        .starts_with("secret file ")
                );
                assert!(matches!(
                    loaded.warnings.as_slice(),
                    [Warning::SecretEndsInSpace { .. }]
                ));
            }
            Err(error) => {
                assert!(!accepted, "{mode:o}");
                assert!(error.to_string().contains("chmod 600"), "{error}");
                assert_eq!(error.problems.len(), 1, "{error}");
            }
        }
    }
    std::fs::remove_file(&secret).unwrap();
    assert!(
        load(&file, [])
            .unwrap_err()
            .to_string()
            .contains("pw: cannot be read")
    );
}

#[test]
fn a_readable_password_is_a_warning_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kms.properties");
    std::fs::write(&file, BASE.replace("=pw", "=Xy7zzyPlanted")).unwrap();
    for (mode, warned) in [(0o600, 0), (0o640, 1), (0o604, 1)] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let loaded = load(&file, []).unwrap();
        assert_eq!(loaded.warnings.len(), warned, "{mode:o}");
        let json = serde_json::to_string(loaded.config.effective()).unwrap();
        assert!(!format!("{loaded:?}{json}").contains("Planted"), "{mode:o}");
        assert_eq!(loaded.config.keystore.password.expose(), "Xy7zzyPlanted");
    }
    let missing = load(&folder.path().join("none"), [])
        .unwrap_err()
        .to_string();
    assert!(missing.contains("cannot be read"), "{missing}");
}

#[test]
fn a_secret_is_set_in_one_way() {
    let error = extended("kms.keystore.password.file=pw")
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("kms.keystore.password and kms.keystore.password.file are both set"),
        "{error}"
    );
}

#[test]
fn passwords_may_be_utf8_latin1_or_escaped() {
    for (name, bytes) in [
        ("UTF-8", "p\u{e4}ss".as_bytes()),
        ("Latin-1", b"p\xe4ss"),
        ("escaped", b"p\\u00e4ss"),
    ] {
        let text = [
            b"kms.keystore.file=k\nkms.hsm.server.url=h\nkms.keystore.password=",
            bytes,
        ]
        .concat();
        let loaded = parse(Path::new(FILE), &text, []).unwrap();
        assert_eq!(
            loaded.config.keystore.password.expose(),
            "p\u{e4}ss",
            "{name}"
        );
    }
}

#[test]
fn embedded_needs_its_file_and_passphrase() {
    let base = "kms.keystore.file=k\nkms.keystore.password=p\nkms.hsm.protocol=EMBEDDED\n";
    let error = with_env(base, &[]).unwrap_err();
    assert_eq!(error.problems.len(), 2, "{error}");
    let loaded = with_env(
        &format!(
            "{base}kms.hsm.embedded.file=m\nkms.hsm.embedded.passphrase=x\nkms.hsm.batch.max=3\n"
        ),
        &[],
    )
    .unwrap();
    assert_eq!(
        loaded.config.hsm.embedded.unwrap().file,
        Path::new("/etc/kms/m")
    );
    assert!(
        loaded.warnings[0]
            .to_string()
            .contains("kms.hsm.batch.max is ignored with kms.hsm.protocol = EMBEDDED")
    );
}
