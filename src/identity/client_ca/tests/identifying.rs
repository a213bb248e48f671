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

/// `deviceCA` vouches for devices and back ends.
fn two_roles(ca: &Ca, more: &[(&str, &Der)]) -> Snapshot {
    let roles = [
        role("device", &["deviceCA"], "device-*"),
        role("backend", &["deviceCA"], "backend-*"),
    ];
    snapshot(&roles, &[&[("deviceCA", &ca.der)], more].concat())
}

#[test]
fn a_certificate_needs_a_client_ca_and_names_of_a_role() {
    let (ours, hsm, namesake) = (Ca::root("CA"), Ca::root("HSM CA"), Ca::root("CA"));
    let snapshot = two_roles(
        &ours,
        &[("hsmCA", &hsm.der), ("pin-device", &hsm.leaf("x"))],
    );
    let (device, backend) = (ours.leaf("device-1"), ours.leaf("backend-1"));
    let unnamed = ours.leaf("printer-1");
    let long = ours.leaf(&format!("device-{}", "x".repeat(5000)));
    let (other, hsms) = (namesake.leaf("device-1"), hsm.leaf("device-1"));
    let late = namesake.leaf_with("device-1", |p| p.not_after = date_time_ymd(2021, 1, 1));
    let own = namesake.again(|p| p.is_ca = IsCa::ExplicitNoCa);
    let own_ca = Ca::root("device-1").der;
    hold(
        &snapshot,
        &[
            ("right", &[&device], Ok("device")),
            ("right, another role", &[&backend], Ok("backend")),
            ("with the root", &[&device, &ours.der], Ok("device")),
            ("names of no role", &[&unnamed], Err("no role")),
            ("very long names", &[&long], Err("path")),
            ("of a namesake", &[&other, &namesake.der], Err("unknown")),
            ("of a namesake, expired", &[&late], Err("unknown")),
            ("the HSM's CA", &[&hsms, &hsm.der], Err("unknown")),
            ("self-signed", &[&own], Err("unknown")),
            ("self-signed CA", &[&own_ca], Err("unknown")),
            ("the CA itself", &[&ours.der], Err("purpose")),
        ],
    );
    assert!(ClientCas::default().is_empty() && !snapshot.client_cas.is_empty());
    let none = who(&Snapshot::default(), &[&device], NOW);
    assert_eq!(none, Err(Stranger::Unknown));
}

#[test]
fn dates_and_uses_are_asked() {
    let ours = Ca::root("CA");
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
    let servers = uses(vec![], vec![ExtendedKeyUsagePurpose::ServerAuth]);
    let unsigned = uses(vec![KeyUsagePurpose::KeyAgreement], vec![]);
    let ca_leaf = ours.leaf_with("device-1", |p| {
        p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    hold(
        &two_roles(&ours, &[]),
        &[
            ("expired", &[&year(2020, 2021)], Err("expired")),
            ("not yet valid", &[&year(2035, 2036)], Err("not yet valid")),
            ("for servers", &[&servers], Err("purpose")),
            ("for no signature", &[&unsigned], Err("purpose")),
            ("for anything", &[&uses(vec![], vec![])], Ok("device")),
            ("a CA as client", &[&ca_leaf], Err("purpose")),
        ],
    );
}

fn leaf(ca: &Ca) -> Der {
    ca.leaf("device-1")
}

#[test]
fn what_stands_between_must_be_sent() {
    let root = Ca::root_with("Root", |p| {
        p.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    });
    let issuing = root.below("Issuing", |p| {
        p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    });
    let second = root.below("Second", |_| ());
    let (deep, deepest) = (
        second.below("Deep", |_| ()),
        issuing.below("Deepest", |_| ()),
    );
    let (one, deep_one, deepest_one) = (leaf(&issuing), leaf(&deep), leaf(&deepest));
    let others: Vec<Der> = (0..4).map(|_| issuing.leaf("x")).collect();
    let mut many = vec![&one, &issuing.der];
    many.extend(&others);
    hold(
        &two_roles(&root, &[]),
        &[
            ("sent", &[&one, &issuing.der], Ok("device")),
            (
                "with the root",
                &[&one, &issuing.der, &root.der],
                Ok("device"),
            ),
            (
                "after another",
                &[&one, &second.der, &issuing.der],
                Ok("device"),
            ),
            ("not sent", &[&one], Err("unknown")),
            ("another sent", &[&one, &second.der], Err("unknown")),
            (
                "too deep for the root",
                &[&deep_one, &deep.der, &second.der],
                Err("path"),
            ),
            (
                "too deep for another",
                &[&deepest_one, &deepest.der, &issuing.der],
                Err("path"),
            ),
            ("too many", &many, Err("path")),
        ],
    );
}

#[test]
fn what_stands_between_is_asked() {
    use rcgen::GeneralSubtree::DnsName;
    let root = Ca::root("Root");
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
    let (inside, outside) = (named("a.example.com"), named("a.example.org"));
    hold(
        &two_roles(&root, &[("hsmCA", &hsms.der)]),
        &[
            ("expired", &[&leaf(&late), &late.der], Err("expired")),
            ("no CA", &[&leaf(&no_ca), &no_ca.der], Err("path")),
            (
                "may not issue",
                &[&leaf(&unsigned), &unsigned.der],
                Err("path"),
            ),
            (
                "for servers",
                &[&leaf(&servers), &servers.der],
                Err("purpose"),
            ),
            ("the HSM's CA", &[&leaf(&hsms), &hsms.der], Err("path")),
            ("a name of its own", &[&inside, &narrow.der], Ok("device")),
            ("a name of another", &[&outside, &narrow.der], Err("path")),
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
    let snapshot = two_roles(&ca, &[("pin-backend", &pinned)]);
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
