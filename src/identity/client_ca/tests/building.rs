//! What may be a client CA.

use super::*;

type Row<'a> = (&'a str, Vec<(&'a str, &'a Der)>, &'a str);

/// A role whose client CA is `deviceCA` cannot be built of these.
fn refused(rows: &[Row<'_>]) {
    for (name, store, want) in rows {
        let built = build(&[role("device", &["DeviceCA"], "*")], store);
        let text = built.map(|_| ()).unwrap_err().to_string();
        assert!(text.contains(want), "{name}: {text}");
    }
}

#[test]
fn the_hsms_ca_is_no_client_ca() {
    let hsm = Ca::root("HSM CA");
    let renewed = hsm.again(|p| p.not_after = date_time_ymd(2041, 1, 1));
    let (alias, own) = ("deviceCA", ("hsmCA", &hsm.der));
    let want = "kms.role.device.ca.alias: `deviceca` is, or has the key of, `hsmca`, which kms.hsm.ca.alias names";
    refused(&[
        ("under another alias", vec![own, (alias, &hsm.der)], want),
        ("renewed", vec![own, (alias, &renewed)], want),
    ]);
    let built = build(&[role("device", &["HSMca"], "*")], &[own]);
    let text = built.map(|_| ()).unwrap_err().to_string();
    assert!(
        text.contains("`hsmca` is, or has the key of, `hsmca`"),
        "{text}"
    );
}

#[test]
fn what_cannot_be_a_client_ca_is_refused() {
    let ca = Ca::root("Device CA");
    let plain = ca.leaf("device-1");
    let unable = Ca::root_with("x", |p| p.key_usages = vec![KeyUsagePurpose::CrlSign]);
    let servers = Ca::root_with("x", |p| {
        p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let v1 = CertificateDer::from(include_bytes!("../../../../tests/data/tls/v1.crt.der").to_vec());
    let alias = "deviceCA";
    let pin_too = vec![(alias, &ca.der), ("pin-device", &ca.der)];
    refused(&[
        (
            "not there",
            vec![],
            "the keystore has no trusted certificate `deviceca`",
        ),
        (
            "no CA",
            vec![(alias, &plain)],
            "`deviceca` is no CA's certificate",
        ),
        (
            "no certSign",
            vec![(alias, &unable.der)],
            "without keyCertSign",
        ),
        (
            "for servers",
            vec![(alias, &servers.der)],
            "without clientAuth",
        ),
        (
            "version 1",
            vec![(alias, &v1)],
            "no certificate of X.509 version 3",
        ),
        (
            "a pin too",
            pin_too,
            "alias `pin-device` holds the same certificate as `deviceca`",
        ),
    ]);
}

#[test]
fn a_client_ca_is_no_client_even_if_a_role_names_its_alias() {
    let ca = Ca::root("Device CA");
    let mut device = role("device", &["cmxDeviceCA"], "device-*");
    device.alias_globs = vec!["cmxDevice*".to_owned()];
    let pinned = ca.leaf("x");
    let store = [("cmxDeviceCA", &ca.der), ("cmxDevice", &pinned)];
    let (snapshot, warnings) = build(&[device], &store).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert!(snapshot.pin(&ca.der).is_none() && snapshot.pin(&pinned).is_some());
}

#[test]
fn a_role_with_a_client_ca_is_not_empty() {
    let ca = Ca::root_with("Device CA", |p| p.not_after = date_time_ymd(2021, 1, 1));
    let future = Ca::root_with("Future CA", |p| p.not_before = date_time_ymd(2039, 1, 1));
    let roles = [role("device", &["ca", "future"], "*")];
    let store = [
        ("ca", &ca.der),
        ("future", &future.der),
        ("other", &ca.leaf("x")),
    ];
    let (_, warnings) = build(&roles, &store).unwrap();
    let texts: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 3, "{texts:?}");
    for (text, want) in texts.iter().zip([
        "client CA `ca` expired on Jan  1 00:00:00 2021",
        "client CA `future` is valid only from Jan  1 00:00:00 2039",
        "trusted certificate `other` (CN=x,O=Example) is named by no role",
    ]) {
        assert!(text.starts_with(want), "{texts:?}");
    }
}
