//! Client CAs of roles: how they are set, and what two roles may not both have.

use super::*;

const DEVICE: &str = "kms.role.device.ca.alias=deviceCA,DeviceCA2\nkms.role.device.ca.subjects=CN=device-*,O=Example; CN=probe\n\
    kms.role.device.ca.san=DNS:*.devices.example.com\nkms.role.device.ca.crl.file=device.crl\n";

#[test]
fn a_role_may_have_a_client_ca_beside_its_aliases() {
    let config = extended(DEVICE).unwrap().config;
    let device = &config.roles[1];
    assert_eq!(device.aliases, ["cmxdevice*"]);
    let ca = device.ca.as_ref().unwrap();
    assert_eq!(ca.aliases, ["deviceca", "deviceca2"]);
    assert_eq!(ca.subjects.len(), 2);
    assert_eq!(ca.sans, [SanGlob::Dns("*.devices.example.com".to_owned())]);
    assert_eq!(
        ca.crl_file.as_deref(),
        Some(Path::new("/etc/kms/device.crl"))
    );
    assert!(!ca.takes_all() && config.roles[0].ca.is_none());
    let written = shown(&config, "kms.role.device.ca.crl.file");
    assert_eq!(written, ("device.crl".to_owned(), format!("{FILE}:7")));
    assert_eq!(shown(&config, "kms.role.backend.ca.alias").0, "(not set)");
}

#[test]
fn a_role_with_a_client_ca_needs_no_aliases() {
    let lines =
        "kms.role.fleet.ca.alias=f\nkms.role.fleet.ca.subjects=*\nkms.role.fleet.operations=read";
    let config = extended(lines).unwrap().config;
    let fleet = &config.roles[2];
    assert!(fleet.aliases.is_empty() && fleet.ca.as_ref().unwrap().takes_all());
    let off = extended("kms.role.device.ca.alias=\nkms.role.device.ca.subjects=")
        .unwrap()
        .config;
    assert!(off.roles[1].ca.is_none(), "an empty value is no value");
}

#[test]
fn the_environment_knows_keys_of_several_parts() {
    let env = [
        ("KMS_ROLE_DEVICE_CA_ALIAS", "d"),
        ("KMS_ROLE_DEVICE_CA_SUBJECTS", "*"),
        ("KMS_ROLE_DEVICE_CA_CRL_FILE", "x.crl"),
        ("KMS_ROLE_EU_WEST_CA_ALIAS", "e"),
        ("KMS_ROLE_EU_WEST_CA_SAN", "*"),
    ];
    let loaded = with_env(&format!("{BASE}kms.role.eu-west.operations=read\n"), &env).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let roles = loaded.config.roles;
    let ca = |index: usize| roles[index].ca.clone().unwrap();
    assert_eq!(ca(1).aliases, ["d"]);
    assert_eq!(ca(1).crl_file.as_deref(), Some(Path::new("/etc/kms/x.crl")));
    assert_eq!(
        (roles[2].name.as_str(), ca(2).aliases),
        ("eu-west", vec!["e".to_owned()])
    );
}

#[test]
fn two_roles_may_share_a_ca_but_no_certificates() {
    for (name, device, backend, is_conflict) in [
        (
            "apart",
            "subjects=CN=device-*",
            "subjects=CN=backend-*",
            false,
        ),
        ("apart by names", "san=DNS:d*", "san=DNS:b*", false),
        ("may overlap", "subjects=CN=d*", "subjects=O=Example", false),
        ("one takes all", "subjects=CN=device-*", "subjects=*", true),
        ("one takes all names", "san=*", "san=DNS:b*", true),
        (
            "the same subjects",
            "subjects=CN=a;CN=b",
            "subjects=CN=b",
            true,
        ),
        ("the same names", "san=DNS:a,DNS:b", "san=DNS:b", true),
        (
            "the same subjects, other names",
            "subjects=CN=a\nkms.role.device.ca.san=DNS:a",
            "subjects=CN=a\nkms.role.backend.ca.san=DNS:b",
            false,
        ),
        (
            "a subject here, a name there",
            "subjects=CN=a",
            "san=DNS:a",
            false,
        ),
    ] {
        let lines = format!(
            "kms.role.device.ca.alias=x,y\nkms.role.device.ca.{device}\nkms.role.backend.ca.alias=y,z\nkms.role.backend.ca.{backend}"
        );
        let loaded = extended(&lines);
        assert_eq!(loaded.is_err(), is_conflict, "{name}");
        if let Err(error) = loaded {
            let text = error.to_string();
            assert!(
                text.contains("a certificate has one role"),
                "{name}: {text}"
            );
        }
        let other_ca = lines.replace("=y,z", "=z");
        assert!(extended(&other_ca).is_ok(), "{name}, each its own CA");
    }
}

#[test]
fn client_cas_are_bounded() {
    let many = |count: usize| {
        let names: Vec<String> = (0..count).map(|number| format!("ca{number}")).collect();
        format!(
            "kms.role.device.ca.alias={}\nkms.role.device.ca.subjects=*",
            names.join(",")
        )
    };
    assert!(extended(&many(32)).is_ok());
    let error = extended(&many(33)).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("33 client CAs"), "{error}");
}

#[test]
fn what_does_not_go_together_is_named() {
    for (lines, want) in [
        (
            "kms.role.device.ca.subject=x",
            "did you mean kms.role.device.ca.subjects?",
        ),
        (
            "kms.role.device.ca.crlfile=x",
            "did you mean kms.role.device.ca.crl.file?",
        ),
        (
            "kms.role.device.ca.alias=deviceCA",
            "kms.role.device.ca.subjects is not set: say which certificates of deviceca",
        ),
        (
            "kms.role.device.ca.san=DNS:*",
            "kms.role.device.ca.alias is not set: kms.role.device.ca.san is set, and goes with",
        ),
        (
            "kms.role.device.ca.crl.file=x",
            "kms.role.device.ca.alias is not set: kms.role.device.ca.crl.file is set",
        ),
        (
            "kms.role.device.ca.alias=d\nkms.role.device.ca.subjects=device-*",
            "no TYPE=GLOB, such as CN=device-*",
        ),
        (
            "kms.role.device.ca.alias=d\nkms.role.device.ca.san=device-*",
            "does not say which kind of name; write DNS:",
        ),
        (
            "kms.role.device.ca.alias=KmipSigningCa\nkms.role.device.ca.subjects=*",
            "kms.role.device.ca.alias names kmipsigningca, and so does kms.hsm.ca.alias",
        ),
        (
            "kms.hsm.ca.alias=a,B\nkms.role.fleet.ca.alias=x,b\nkms.role.fleet.ca.subjects=*\nkms.role.fleet.operations=all",
            "kms.role.fleet.ca.alias names b, and so does kms.hsm.ca.alias",
        ),
    ] {
        let error = extended(lines).map(|_| ()).expect_err(lines).to_string();
        assert!(error.contains(want), "{lines}: {error}");
    }
}
