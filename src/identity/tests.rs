#![allow(clippy::unwrap_used)]
use super::*;

const NOW: i64 = 1_800_000_000;
const DAY: i64 = 86_400;

fn facts(alias: &str, der: &str) -> CertificateFacts {
    CertificateFacts {
        alias: alias.to_owned(),
        der: der.as_bytes().to_vec(),
        subject: format!("CN={alias}"),
        not_before_unix_s: NOW - DAY,
        not_after_unix_s: NOW + DAY,
        spki: vec![1],
    }
}

fn build(roles: &[RoleSpec], trusted: &[(&str, &str)]) -> Result<(Snapshot, Vec<String>), String> {
    let trusted = trusted.iter().map(|(alias, der)| facts(alias, der));
    let built = Snapshot::build(roles, trusted, &["KmipSigningCA".to_owned()], 7, NOW);
    let (snapshot, warnings) = built.map_err(|error| error.to_string())?;
    Ok((snapshot, warnings.iter().map(ToString::to_string).collect()))
}

fn spec(name: &str, alias_globs: &[&str]) -> RoleSpec {
    let alias_globs = alias_globs.iter().map(|&glob| glob.to_owned()).collect();
    let operations = Operations::all();
    RoleSpec {
        name: name.to_owned(),
        alias_globs,
        operations,
        key_globs: vec!["*".to_owned()],
        ca: None,
    }
}

#[test]
fn aliases_get_their_role_whatever_their_case() {
    let trusted = [
        ("cmxBackend", "b"),
        ("CMXDEVICE2", "d2"),
        ("cmxdevice", "d"),
        ("kmipSigningCA", "ca"),
    ];
    let (snapshot, warnings) = build(&RoleSpec::defaults(), &trusted).unwrap();
    assert_eq!(warnings, [""; 0]);
    assert_eq!((snapshot.pins.len(), snapshot.generation), (3, 7));
    for (der, alias, role) in [
        ("b", "cmxbackend", "backend"),
        ("d", "cmxdevice", "device"),
        ("d2", "cmxdevice2", "device"),
    ] {
        let pin = snapshot.identify(&der.as_bytes().into(), &[], NOW).unwrap();
        assert_eq!((pin.alias.as_str(), pin.role.name.as_str()), (alias, role));
    }
    assert_eq!(
        snapshot
            .identify(&(&b"ca"[..]).into(), &[], NOW)
            .unwrap_err(),
        Stranger::Unknown,
        "the HSM's authority"
    );
}

#[test]
fn the_hsm_authority_is_no_pin_even_if_a_role_names_it() {
    let (snapshot, warnings) = build(
        &[spec("any", &["*"])],
        &[("kmipsigningca", "ca"), ("c", "c")],
    )
    .unwrap();
    assert_eq!(warnings, [""; 0]);
    assert!(snapshot.pin(b"ca").is_none());
    assert!(snapshot.pin(b"c").is_some());
}

#[test]
fn doubtful_entries_are_warned_of() {
    let device = ("cmxDevice", "d");
    let backend = ("cmxBackend", "b");
    for (name, trusted, want) in [
        (
            "no role",
            vec![device, backend, ("partner", "p")],
            "trusted certificate `partner` (CN=partner) is named by no role",
        ),
        (
            "empty role",
            vec![device],
            "role `backend` has no certificate: no trusted entry of the keystore matches kms.role.backend.aliases = cmxBackend*",
        ),
        (
            "one certificate twice",
            vec![backend, ("cmxDevice9", "d"), device],
            "aliases `cmxdevice` and `cmxdevice9` hold the same certificate",
        ),
    ] {
        let (snapshot, warnings) = build(&RoleSpec::defaults(), &trusted).unwrap();
        assert_eq!(warnings.len(), 1, "{name}: {warnings:?}");
        assert!(warnings[0].starts_with(want), "{name}: {warnings:?}");
        assert!(snapshot.pin(b"p").is_none(), "{name}");
        assert_eq!(snapshot.pin(b"d").unwrap().alias, "cmxdevice", "{name}");
    }
}

#[test]
fn aliases_in_full_that_are_not_there_are_warned_of() {
    for (name, globs, want) in [
        ("all there", &["cmxDevice", "CMXdevice2"][..], &[][..]),
        (
            "one is not",
            &["cmxDevice", "cmxDevcie2"],
            &[
                "role `device` names the alias `cmxDevcie2`, and no trusted entry of the keystore has it: \
               import that certificate, or correct kms.role.device.aliases",
            ],
        ),
        (
            "a glob may wait for its first",
            &["cmxDevice*", "laptop*"],
            &[],
        ),
    ] {
        let trusted = [("cmxDevice", "d"), ("cmxdevice2", "d2")];
        let (_, warnings) = build(&[spec("device", globs)], &trusted).unwrap();
        let named: Vec<_> = warnings
            .iter()
            .filter(|text| text.starts_with("role"))
            .collect();
        assert_eq!(named, want.iter().collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn contradictions_are_errors() {
    let overlap = [spec("some", &["cmx*"]), spec("others", &["x", "CMXdev*"])];
    let apart = RoleSpec::defaults().to_vec();
    for (name, roles, trusted, want) in [
        (
            "alias of two roles",
            overlap.to_vec(),
            vec![("cmxDevice", "d")],
            "alias `cmxdevice` is named by two roles, `some` and `others`: narrow kms.role.some.aliases or kms.role.others.aliases",
        ),
        (
            "certificate of two roles",
            apart.clone(),
            vec![("cmxDevice", "x"), ("cmxBackend", "x")],
            "aliases `cmxbackend` (role `backend`) and `cmxdevice` (role `device`) hold the same certificate",
        ),
        (
            "authority as client",
            apart,
            vec![("cmxDevice", "ca"), ("kmipSigningCA", "ca")],
            "alias `cmxdevice` holds the same certificate as `kmipsigningca`, which kms.hsm.ca.alias names",
        ),
    ] {
        let text = build(&roles, &trusted).unwrap_err();
        assert!(text.starts_with(want), "{name}: {text}");
    }
}

#[test]
fn dates_are_judged_at_load_and_at_the_handshake() {
    for (name, not_before, not_after, standing, warning) in [
        ("in its days", NOW - 1, NOW + 1, Ok(()), None),
        ("first and last second", NOW, NOW, Ok(()), None),
        (
            "expired",
            NOW - DAY,
            NOW - 1,
            Err(Stranger::Expired),
            Some("`cmxdevice` expired on Jan 15 07:59:59 2027"),
        ),
        (
            "not yet valid",
            NOW + 1,
            NOW + DAY,
            Err(Stranger::NotYetValid),
            Some("is valid only from Jan 15 08:00:01 2027"),
        ),
        (
            "before all time",
            i64::MIN,
            i64::MIN,
            Err(Stranger::Expired),
            Some("expired on second -92"),
        ),
    ] {
        let mut certificate = facts("cmxDevice", "d");
        (certificate.not_before_unix_s, certificate.not_after_unix_s) = (not_before, not_after);
        let (snapshot, warnings) =
            Snapshot::build(&[spec("device", &["cmx*"])], [certificate], &[], 0, NOW).unwrap();
        assert_eq!(
            snapshot.identify(&(&b"d"[..]).into(), &[], NOW).map(|_| ()),
            standing,
            "{name}"
        );
        let texts: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts.len(),
            usize::from(warning.is_some()),
            "{name}: {texts:?}"
        );
        assert!(
            texts.iter().all(|text| text.contains(warning.unwrap())),
            "{name}: {texts:?}"
        );
    }
}

#[test]
fn a_reload_revokes_what_it_dropped_and_renews_the_rest() {
    let old_roles = [spec("wide", &["cmx*"])];
    let mut new_roles = [spec("narrow", &["cmx*"])];
    new_roles[0].operations = "read".parse().unwrap();
    let (old, _) = build(
        &old_roles,
        &[("cmxDevice", "kept"), ("cmxDevice2", "dropped")],
    )
    .unwrap();
    let held =
        ["kept", "dropped"].map(|der| old.identify(&der.as_bytes().into(), &[], NOW).unwrap());
    let (new, _) = build(&new_roles, &[("cmxDevice", "kept")]).unwrap();

    assert_eq!(Snapshot::revoke_missing(&old, &new), 1);
    assert_eq!(held[0].standing(NOW), Ok(()));
    assert_eq!(held[1].standing(NOW), Err(Stranger::Revoked));
    assert_eq!(
        old.identify(&(&b"dropped"[..]).into(), &[], NOW)
            .unwrap_err(),
        Stranger::Revoked
    );
    assert_eq!(
        new.identify(&(&b"dropped"[..]).into(), &[], NOW)
            .unwrap_err(),
        Stranger::Unknown
    );
    let renewed = new.renew(&held[0], NOW).unwrap();
    assert!(
        !renewed.role.allows(Operation::Decrypt, "k"),
        "the new role counts"
    );
    assert_eq!(new.renew(&held[1], NOW).unwrap_err(), Stranger::Revoked);
}

#[test]
fn roles_allow_their_operations_on_their_keys_only() {
    let [device, backend] = RoleSpec::defaults();
    let (snapshot, _) = build(
        &[device, backend],
        &[("cmxDevice", "d"), ("cmxBackend", "b")],
    )
    .unwrap();
    for operation in Operation::ALL {
        use Operation::{Datakey, Decrypt, Encrypt, Read};
        let want = matches!(operation, Encrypt | Decrypt | Datakey | Read);
        assert_eq!(
            snapshot.pin(b"d").unwrap().role.allows(operation, "any"),
            want,
            "device, {operation}"
        );
        assert!(
            snapshot.pin(b"b").unwrap().role.allows(operation, "any"),
            "backend, {operation}"
        );
    }
    let keys = vec!["eu-*".to_owned(), "demo".to_owned()];
    let role = Role {
        name: "r".to_owned(),
        operations: "decrypt".parse().unwrap(),
        keys,
    };
    for (operation, key, want) in [
        (Operation::Decrypt, "demo", true),
        (Operation::Decrypt, "eu-1", true),
        (Operation::Decrypt, "us-1", false),
        (Operation::Decrypt, "Demo", false),
        (Operation::Decrypt, "demo2", false),
        (Operation::Encrypt, "demo", false),
    ] {
        assert_eq!(role.allows(operation, key), want, "{operation} on {key}");
    }
}

#[test]
fn fingerprints_read_as_openssl_prints_them() {
    assert!(fingerprint_text(&fingerprint(b"abc")).starts_with("BA:78:16:BF:8F:01:CF:EA:41:41"));
}
