//! Who is let in by which certificate, and as what.

use super::*;

/// Only the kind of refusal, for texts are told elsewhere.
fn kind(stranger: &Stranger) -> &'static str {
    match stranger {
        Stranger::Unknown => "unknown",
        Stranger::Expired => "expired",
        Stranger::NotYetValid => "not yet valid",
        Stranger::Revoked => "revoked",
        Stranger::Purpose => "purpose",
        Stranger::Path(_) => "path",
        Stranger::StaleList => "stale list",
        Stranger::NoList => "no list",
        Stranger::NoRole(_) => "no role",
        Stranger::TwoRoles(_) => "two roles",
    }
}

fn hold(snapshot: &Snapshot, rows: &[(&str, &[&Der], Result<&str, &str>)]) {
    for (name, chain, want) in rows {
        let got = who(snapshot, chain, NOW);
        let got = got.as_ref().map(|(_, role)| role.as_str()).map_err(kind);
        assert_eq!(got, *want, "{name}");
        // And once more, which may come from memory.
        let again = who(snapshot, chain, NOW);
        let again = again.as_ref().map(|(_, role)| role.as_str()).map_err(kind);
        assert_eq!(again, *want, "{name}, again");
    }
}

#[test]
fn a_certificate_needs_a_client_ca_and_names_of_a_role() {
    let (ours, hsm) = (Ca::root("Device CA"), Ca::root("HSM CA"));
    let namesake = Ca::root("Device CA");
    let by_hsm = ours.below("HSM CA below", |_| ());
    let snapshot = snapshot(
        &[
            role("device", &["deviceCA"], "device-*"),
            role("backend", &["deviceCA"], "backend-*"),
        ],
        &[
            ("deviceCA", &ours.der),
            ("hsmCA", &by_hsm.der),
            ("pin-device", &hsm.leaf("x")),
        ],
    );
    let year = |from, until| {
        ours.leaf_with("device-1", |p| {
            (p.not_before, p.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
        })
    };
    let uses = |usages: Vec<_>, extended: Vec<_>| {
        ours.leaf_with("device-1", |p| {
            (p.key_usages, p.extended_key_usages) = (usages, extended);
        })
    };
    let stranger_late = namesake.leaf_with("device-1", |p| p.not_after = date_time_ymd(2021, 1, 1));
    let ca_leaf = ours.leaf_with("device-1", |p| {
        p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let long = ours.leaf(&format!("device-{}", "x".repeat(5000)));
    hold(
        &snapshot,
        &[
            ("right", &[&ours.leaf("device-1")], Ok("device")),
            (
                "right, another role",
                &[&ours.leaf("backend-1")],
                Ok("backend"),
            ),
            (
                "with the root behind it",
                &[&ours.leaf("device-1"), &ours.der],
                Ok("device"),
            ),
            (
                "names of no role",
                &[&ours.leaf("printer-1")],
                Err("no role"),
            ),
            (
                "another CA of that name",
                &[&namesake.leaf("device-1"), &namesake.der],
                Err("unknown"),
            ),
            ("another CA, expired", &[&stranger_late], Err("unknown")),
            (
                "the HSM's CA",
                &[&hsm.leaf("device-1"), &hsm.der],
                Err("unknown"),
            ),
            (
                "self-signed",
                &[&namesake.again(|p| p.is_ca = IsCa::ExplicitNoCa)],
                Err("unknown"),
            ),
            ("the CA itself", &[&ours.der], Err("purpose")),
            ("expired", &[&year(2020, 2021)], Err("expired")),
            ("not yet valid", &[&year(2035, 2036)], Err("not yet valid")),
            (
                "for servers",
                &[&uses(vec![], vec![ExtendedKeyUsagePurpose::ServerAuth])],
                Err("purpose"),
            ),
            (
                "for no signature",
                &[&uses(vec![KeyUsagePurpose::KeyAgreement], vec![])],
                Err("purpose"),
            ),
            ("for anything", &[&uses(vec![], vec![])], Ok("device")),
            ("a CA as client", &[&ca_leaf], Err("purpose")),
            ("very long names", &[&long], Err("path")),
        ],
    );
    assert!(ClientCas::default().is_empty() && !snapshot.client_cas.is_empty());
    let none = Snapshot::default();
    assert_eq!(
        who(&none, &[&ours.leaf("device-1")], NOW),
        Err(Stranger::Unknown)
    );
}

#[test]
fn the_way_to_the_ca_is_asked() {
    use rcgen::GeneralSubtree::DnsName;
    let root = Ca::root_with("Root", |p| {
        p.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    });
    let issuing = root.below("Issuing", |p| {
        p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    });
    let second = root.below("Second", |_| ());
    let deep = second.below("Deep", |_| ());
    let below_issuing = issuing.below("Too deep", |_| ());
    let late = root.below("Late", |p| p.not_after = date_time_ymd(2021, 1, 1));
    let no_ca = root.below("No CA", |p| p.is_ca = IsCa::ExplicitNoCa);
    let unsigned = root.below("No certSign", |p| {
        p.key_usages = vec![KeyUsagePurpose::CrlSign];
    });
    let servers = root.below("Servers", |p| {
        p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let hsms = root.below("HSM CA", |_| ());
    let narrow = root.below("Narrow", |p| {
        p.name_constraints = Some(rcgen::NameConstraints {
            permitted_subtrees: vec![DnsName("example.com".to_owned())],
            excluded_subtrees: vec![],
        });
    });
    let named = |host: &str| {
        let host = rcgen::SanType::DnsName(host.try_into().unwrap());
        narrow.leaf_with("device-1", |p| p.subject_alt_names = vec![host])
    };
    let snapshot = snapshot(
        &[role("device", &["rootCA"], "device-*")],
        &[("rootCA", &root.der), ("hsmCA", &hsms.der)],
    );
    let leaf = |ca: &Ca| ca.leaf("device-1");
    let many: Vec<Der> = (0..4).map(|_| issuing.leaf("x")).collect();
    let first = leaf(&issuing);
    let mut too_many = vec![&first, &issuing.der];
    too_many.extend(&many);
    hold(
        &snapshot,
        &[
            ("sent", &[&leaf(&issuing), &issuing.der], Ok("device")),
            (
                "sent with the root",
                &[&leaf(&issuing), &issuing.der, &root.der],
                Ok("device"),
            ),
            (
                "sent after another",
                &[&leaf(&issuing), &second.der, &issuing.der],
                Ok("device"),
            ),
            ("not sent", &[&leaf(&issuing)], Err("unknown")),
            (
                "another sent",
                &[&leaf(&issuing), &second.der],
                Err("unknown"),
            ),
            (
                "deeper than the root allows",
                &[&leaf(&deep), &deep.der, &second.der],
                Err("path"),
            ),
            (
                "deeper than another allows",
                &[&leaf(&below_issuing), &below_issuing.der, &issuing.der],
                Err("path"),
            ),
            ("expired", &[&leaf(&late), &late.der], Err("expired")),
            ("no CA", &[&leaf(&no_ca), &no_ca.der], Err("path")),
            (
                "may not issue",
                &[&leaf(&unsigned), &unsigned.der],
                Err("path"),
            ),
            (
                "issues for servers",
                &[&leaf(&servers), &servers.der],
                Err("purpose"),
            ),
            ("the HSM's CA", &[&leaf(&hsms), &hsms.der], Err("path")),
            (
                "a name it may issue",
                &[&named("a.example.com"), &narrow.der],
                Ok("device"),
            ),
            (
                "a name it may not",
                &[&named("a.example.org"), &narrow.der],
                Err("path"),
            ),
            ("too many", &too_many, Err("path")),
        ],
    );
}

#[test]
fn a_ca_that_is_replaced_stands_beside_its_successor() {
    let old = Ca::root_with("Device CA", |p| p.not_after = date_time_ymd(2021, 1, 1));
    let renewed = old.again(|p| p.not_after = date_time_ymd(2040, 1, 1));
    let next = Ca::root("Device CA");
    let leaf = old.leaf("device-1");
    let both = [("old", &old.der), ("new", &renewed)];
    for (name, aliases, want) in [
        ("the old one alone", &["old"][..], Err(Stranger::Expired)),
        ("the new one alone", &["new"], let_in("new", "device")),
        ("both", &["old", "new"], let_in("new", "device")),
    ] {
        let snapshot = snapshot(&[role("device", aliases, "*")], &both);
        assert_eq!(who(&snapshot, &[&leaf], NOW), want, "{name}");
    }
    let snapshot = snapshot(
        &[role("device", &["new", "next"], "*")],
        &[("new", &renewed), ("next", &next.der)],
    );
    assert_eq!(who(&snapshot, &[&leaf], NOW), let_in("new", "device"));
    assert_eq!(
        who(&snapshot, &[&next.leaf("d")], NOW),
        let_in("next", "device")
    );
}

#[test]
fn a_certificate_has_one_role() {
    let (one, other) = (Ca::root("One"), Ca::root("Other"));
    let store = [("one", &one.der), ("other", &other.der)];
    let roles = [
        role("device", &["one"], "device-*"),
        role("probe", &["one"], "*-probe"),
        role("backend", &["other"], "*"),
    ];
    let snapshot = snapshot(&roles, &store);
    let both = who(&snapshot, &[&one.leaf("device-probe")], NOW).unwrap_err();
    assert_eq!(
        both,
        Stranger::TwoRoles("'device' and 'probe' both take CN=device-probe,O=Example".into())
    );
    assert_eq!(
        who(&snapshot, &[&one.leaf("a-probe")], NOW),
        let_in("one", "probe")
    );
    assert_eq!(
        who(&snapshot, &[&other.leaf("device-1")], NOW),
        let_in("other", "backend")
    );
    let text = who(&snapshot, &[&one.leaf("x")], NOW)
        .unwrap_err()
        .to_string();
    assert_eq!(
        text,
        "no role takes its names: subject CN=x,O=Example, names none"
    );
}

#[test]
fn a_pin_counts_before_its_ca() {
    let ca = Ca::root("Device CA");
    let (pinned, issued) = (ca.leaf("device-1"), ca.leaf("device-2"));
    let snapshot = snapshot(
        &[
            role("device", &["deviceCA"], "device-*"),
            role("backend", &["deviceCA"], "backend-*"),
        ],
        &[("deviceCA", &ca.der), ("pin-backend", &pinned)],
    );
    assert_eq!(
        who(&snapshot, &[&pinned], NOW),
        let_in("pin-backend", "backend")
    );
    assert_eq!(
        who(&snapshot, &[&issued], NOW),
        let_in("deviceca", "device")
    );
    let pin = snapshot.identify(&issued, &[], NOW).unwrap();
    assert_eq!(pin.subject, "CN=device-2,O=Example");
    assert_eq!(pin.fingerprint, fingerprint(&issued));
    assert!(pin.issued.is_some());
}

#[test]
fn what_is_remembered_ends_with_its_dates() {
    let ca = Ca::root_with("Device CA", |p| p.not_after = date_time_ymd(2028, 1, 1));
    let leaf = ca.leaf_with("device-1", |p| p.not_before = date_time_ymd(2026, 1, 1));
    let snapshot = snapshot(&[role("device", &["ca"], "*")], &[("ca", &ca.der)]);
    let first = snapshot.identify(&leaf, &[], NOW).unwrap();
    let again = snapshot.identify(&leaf, &[], NOW + DAY).unwrap();
    assert!(Arc::ptr_eq(&first, &again), "asked once");
    assert_eq!(first.not_before_unix_s, 1_767_225_600, "the certificate's");
    assert_eq!(first.not_after_unix_s, 1_830_297_600, "the CA's");
    assert_eq!(
        who(&snapshot, &[&leaf], 1_830_297_601),
        Err(Stranger::Expired)
    );
    assert_eq!(
        who(&snapshot, &[&leaf], 1_767_225_599),
        Err(Stranger::NotYetValid)
    );
}
