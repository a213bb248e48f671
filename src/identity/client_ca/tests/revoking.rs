//! Lists of revoked certificates: what they take away, and when one that should be there is not.

use super::*;

const IN_2031: i64 = 1_925_000_000;

#[test]
fn a_revoked_certificate_is_refused() {
    let ca = Ca::root("Device CA");
    let (good, bad) = (ca.leaf("device-1"), ca.leaf("device-2"));
    let role = listing(role("device", &["ca"], "*"), &[&ca.list(&[&bad])]);
    let snapshot = snapshot(&[role], &[("ca", &ca.der)]);
    for (name, leaf, now, want) in [
        ("not on it", &good, NOW, let_in("ca", "device")),
        ("on it", &bad, NOW, Err(Stranger::Revoked)),
        (
            "the list is out of date",
            &good,
            IN_2031,
            Err(Stranger::StaleList),
        ),
        ("and back in time", &good, NOW, let_in("ca", "device")),
    ] {
        assert_eq!(who(&snapshot, &[leaf], now), want, "{name}");
    }
}

#[test]
fn every_ca_on_the_way_needs_a_list() {
    let root = Ca::root("Root");
    let (issuing, namesake) = (root.below("Issuing", |_| ()), Ca::root("Issuing"));
    let (good, bad) = (issuing.leaf("device-1"), issuing.leaf("device-2"));
    let direct = root.leaf("device-3");
    let (of_root, of_issuing) = (root.list(&[]), issuing.list(&[&bad]));
    for (name, lists, leaf, want) in [
        (
            "none of the issuing one",
            vec![&of_root],
            &good,
            Err(Stranger::NoList),
        ),
        (
            "none needed",
            vec![&of_root],
            &direct,
            let_in("ca", "device"),
        ),
        (
            "both",
            vec![&of_root, &of_issuing],
            &good,
            let_in("ca", "device"),
        ),
        (
            "both, revoked",
            vec![&of_root, &of_issuing],
            &bad,
            Err(Stranger::Revoked),
        ),
        (
            "not signed by it",
            vec![&of_root, &namesake.list(&[])],
            &good,
            Err(Stranger::NoList),
        ),
        (
            "the issuing one revoked",
            vec![&root.list(&[&issuing.der]), &of_issuing],
            &good,
            Err(Stranger::Revoked),
        ),
        (
            "its list out of date",
            vec![&of_root, &issuing.list_between(&[], 2020, 2021)],
            &good,
            Err(Stranger::StaleList),
        ),
    ] {
        let role = listing(role("device", &["ca"], "*"), &lists);
        let snapshot = snapshot(&[role], &[("ca", &root.der)]);
        assert_eq!(who(&snapshot, &[leaf, &issuing.der], NOW), want, "{name}");
    }
}

#[test]
fn a_list_counts_in_all_roles_of_its_ca() {
    let ca = Ca::root("Device CA");
    let bad = ca.leaf("backend-1");
    let roles = [
        listing(role("device", &["ca"], "device-*"), &[&ca.list(&[&bad])]),
        role("backend", &["again"], "backend-*"),
    ];
    let snapshot = snapshot(&roles, &[("ca", &ca.der), ("again", &ca.der)]);
    assert_eq!(who(&snapshot, &[&bad], NOW), Err(Stranger::Revoked));
    assert_eq!(
        who(&snapshot, &[&ca.leaf("backend-2")], NOW),
        let_in("ca", "backend")
    );
}

#[test]
fn a_list_counts_for_its_key_on_any_way() {
    let root = Ca::root("Root");
    let issuing = root.below("Issuing", |_| ());
    let renewed = root.again(|p| p.not_after = date_time_ymd(2041, 1, 1));
    let (good, bad) = (issuing.leaf("backend-1"), issuing.leaf("backend-2"));
    let (direct, bad_direct) = (root.leaf("backend-3"), root.leaf("backend-4"));
    let stale = issuing.list_between(&[], 2020, 2021);
    for (name, list, of, other, chain, want) in [
        (
            "below",
            issuing.list(&[&bad]),
            &issuing,
            &root.der,
            [&good, &issuing.der],
            let_in("any", "backend"),
        ),
        (
            "revoked below",
            issuing.list(&[&bad]),
            &issuing,
            &root.der,
            [&bad, &issuing.der],
            Err(Stranger::Revoked),
        ),
        (
            "out of date below",
            stale,
            &issuing,
            &root.der,
            [&good, &issuing.der],
            Err(Stranger::StaleList),
        ),
        (
            "renewed",
            root.list(&[&bad_direct]),
            &root,
            &renewed,
            [&direct, &root.der],
            let_in("any", "backend"),
        ),
        (
            "revoked, renewed",
            root.list(&[&bad_direct]),
            &root,
            &renewed,
            [&bad_direct, &root.der],
            Err(Stranger::Revoked),
        ),
    ] {
        // The role that takes it names a CA without a list.
        let roles = [
            listing(role("device", &["listed"], "device-*"), &[&list]),
            role("backend", &["any"], "backend-*"),
        ];
        let snapshot = snapshot(&roles, &[("listed", &of.der), ("any", other)]);
        assert_eq!(who(&snapshot, &chain, NOW), want, "{name}");
    }
}

#[test]
fn the_newest_list_of_a_ca_counts() {
    let ca = Ca::root("Device CA");
    let bad = ca.leaf("device-1");
    let (old, new) = (
        ca.list_between(&[], 2024, 2040),
        ca.list_between(&[&bad], 2026, 2040),
    );
    for (name, first, second) in [("old first", &old, &new), ("new first", &new, &old)] {
        let roles = [
            listing(role("device", &["ca"], "device-*"), &[first]),
            listing(role("backend", &["ca"], "backend-*"), &[second]),
        ];
        let snapshot = snapshot(&roles, &[("ca", &ca.der)]);
        assert_eq!(
            who(&snapshot, &[&bad], NOW),
            Err(Stranger::Revoked),
            "{name}"
        );
    }
    // A CA that got a new key has a list by each.
    let next = Ca::root("Device CA");
    let role = listing(
        role("device", &["old", "new"], "*"),
        &[&ca.list(&[&bad]), &next.list(&[])],
    );
    let snapshot = snapshot(&[role], &[("old", &ca.der), ("new", &next.der)]);
    assert_eq!(who(&snapshot, &[&bad], NOW), Err(Stranger::Revoked));
    assert_eq!(
        who(&snapshot, &[&ca.leaf("d")], NOW),
        let_in("old", "device")
    );
    assert_eq!(
        who(&snapshot, &[&next.leaf("d")], NOW),
        let_in("new", "device")
    );
}

#[test]
fn lists_are_judged_when_they_are_loaded() {
    let (ca, namesake, other) = (
        Ca::root("Device CA"),
        Ca::root("Device CA"),
        Ca::root("Other"),
    );
    let unable = Ca::root_with("Unable", |p| {
        p.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    });
    let able = Ca::of(
        ca_params("Unable", |_| ()),
        KeyPair::try_from(unable.issuer.key().serialize_der()).unwrap(),
        unable.der.clone(),
    );
    for (name, der, lists, want) in [
        (
            "another key",
            &ca.der,
            vec![namesake.list(&[])],
            "`CN=Device CA,O=Example` was not signed by the key of the client CA",
        ),
        (
            "another CA's",
            &ca.der,
            vec![other.list(&[])],
            "kms.role.device.ca.crl.file holds no list of client CA `ca` (CN=Device CA,O=Example)",
        ),
        ("none", &ca.der, vec![], "holds no list of client CA `ca`"),
        (
            "a CA that may not",
            &able.der,
            vec![able.list(&[])],
            "may not sign lists (key usage without cRLSign)",
        ),
    ] {
        let lists: Vec<_> = lists.iter().collect();
        let error = build(
            &[listing(role("device", &["ca"], "*"), &lists)],
            &[("ca", der)],
        );
        let text = error.map(|_| ()).unwrap_err().to_string();
        assert!(text.contains(want), "{name}: {text}");
    }
}

#[test]
fn doubtful_lists_are_warned_of() {
    let (ca, other) = (Ca::root("Device CA"), Ca::root("Other"));
    let pinned = ca.leaf("device-1");
    let lists = [&ca.list_between(&[&pinned], 2020, 2021), &other.list(&[])];
    let role = listing(role("device", &["ca"], "*"), &lists);
    let store = [("ca", &ca.der), ("pin-device", &pinned)];
    let (snapshot, warnings) = build(&[role], &store).unwrap();
    let texts: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    for want in [
        "the list of revoked certificates of client CA `ca` was due to be replaced on Jan  1 00:00:00 2021",
        "the list of revoked certificates of `CN=Other,O=Example` is of no client CA",
        "client certificate `pin-device` was revoked by client CA `ca`, but is accepted",
    ] {
        assert!(
            texts.iter().any(|text| text.contains(want)),
            "{want}: {texts:?}"
        );
    }
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert_eq!(
        who(&snapshot, &[&pinned], NOW),
        let_in("pin-device", "device")
    );
}
