//! What a new snapshot makes of those that an old one let in.

use super::*;

/// What becomes of the holder of `leaf` when `old` gives way to `new`: its role, or the refusal of the next request.
fn after(old: &Snapshot, new: &Snapshot, leaf: &Der, remembered: bool) -> Result<String, Stranger> {
    let held = old.identify(leaf, &[], NOW).unwrap();
    if !remembered {
        for number in 0..5000_u32 {
            let mut print = [0xff; 32];
            print[..4].copy_from_slice(&number.to_be_bytes());
            let pin = Pin {
                alias: String::new(),
                subject: String::new(),
                fingerprint: print,
                spki: Vec::new(),
                not_before_unix_s: 0,
                not_after_unix_s: 0,
                role: Arc::clone(&held.role),
                revoked: AtomicBool::new(false),
                issued: None,
            };
            old.client_cas.recent.insert(&Arc::new(pin));
        }
        assert!(old.client_cas.recent.get(&held.fingerprint).is_none());
    }
    Snapshot::revoke_missing(old, new);
    let renewed = new.renew(&held, NOW).map(|pin| pin.role.name.clone());
    if remembered {
        let standing = held.standing(NOW);
        assert_eq!(
            standing.is_err(),
            renewed.is_err(),
            "marked before it is published"
        );
    }
    renewed
}

#[test]
fn who_may_no_longer_is_found_out_without_another_handshake() {
    let (ca, hsm) = (Ca::root("Device CA"), Ca::root("HSM CA"));
    let leaf = ca.leaf("device-1");
    let renewed_ca = ca.again(|p| p.not_after = date_time_ymd(2041, 1, 1));
    let plain = || role("device", &["ca"], "device-*");
    let mut narrow = plain();
    narrow.ca.as_mut().unwrap().subjects = vec![subject(&[("CN", "device-2*")])];
    let stale = listing(plain(), &[&ca.list_between(&[], 2020, 2021)]);
    let store = [("ca", &ca.der)];
    for (name, roles, store, want) in [
        ("as it was", vec![plain()], &store[..], Ok("device")),
        (
            "no client CA",
            vec![RoleSpec {
                ca: None,
                ..plain()
            }],
            &store,
            Err(Stranger::Revoked),
        ),
        (
            "another CA",
            vec![plain()],
            &[("ca", &hsm.der)],
            Err(Stranger::Revoked),
        ),
        (
            "the CA's certificate renewed",
            vec![plain()],
            &[("ca", &renewed_ca)],
            Err(Stranger::Revoked),
        ),
        (
            "renamed in the keystore",
            vec![role("device", &["b"], "device-*")],
            &[("b", &ca.der)],
            Ok("device"),
        ),
        (
            "narrowed",
            vec![narrow],
            &store,
            Err(Stranger::NoRole(
                "subject CN=device-1,O=Example, names none".into(),
            )),
        ),
        (
            "another role",
            vec![role("probe", &["ca"], "device-*")],
            &store,
            Ok("probe"),
        ),
        (
            "revoked",
            vec![listing(plain(), &[&ca.list(&[&leaf])])],
            &store,
            Err(Stranger::Revoked),
        ),
        (
            "another revoked",
            vec![listing(plain(), &[&ca.list(&[&ca.leaf("x")])])],
            &store,
            Ok("device"),
        ),
        (
            "a list out of date: no news of it",
            vec![stale],
            &store,
            Ok("device"),
        ),
        (
            "pinned",
            vec![plain(), role("backend", &["ca"], "b*")],
            &[("ca", &ca.der), ("pin-backend", &leaf)],
            Ok("backend"),
        ),
    ] {
        for remembered in [true, false] {
            let old = snapshot(&[plain()], &[("ca", &ca.der)]);
            let new = snapshot(&roles, store);
            let got = after(&old, &new, &leaf, remembered);
            let want = want.clone().map(str::to_owned);
            assert_eq!(got, want, "{name}, remembered {remembered}");
        }
    }
}

#[test]
fn a_pin_that_was_removed_is_cut_though_its_ca_vouches_for_it() {
    let ca = Ca::root("Device CA");
    let leaf = ca.leaf("device-1");
    let roles = [role("device", &["ca"], "*")];
    let old = snapshot(&roles, &[("ca", &ca.der), ("pin-device", &leaf)]);
    let new = snapshot(&roles, &[("ca", &ca.der)]);
    assert_eq!(after(&old, &new, &leaf, true), Err(Stranger::Revoked));
    assert_eq!(
        who(&new, &[&leaf], NOW),
        let_in("ca", "device"),
        "and may come back"
    );
}

#[test]
fn a_ca_on_the_way_is_asked_for_too() {
    let root = Ca::root("Root");
    let issuing = root.below("Issuing", |_| ());
    let leaf = issuing.leaf("device-1");
    let plain = || role("device", &["ca"], "device-*");
    let lists = |of_root: &[&Der], of_issuing: &[&Der]| {
        listing(plain(), &[&root.list(of_root), &issuing.list(of_issuing)])
    };
    let with_hsm = [("ca", &root.der), ("hsmCA", &issuing.der)];
    for (name, role, store, want) in [
        ("none revoked", lists(&[], &[]), &with_hsm[..1], Ok(())),
        (
            "it is revoked",
            lists(&[], &[&leaf]),
            &with_hsm[..1],
            Err(Stranger::Revoked),
        ),
        (
            "the CA is",
            lists(&[&issuing.der], &[]),
            &with_hsm[..1],
            Err(Stranger::Revoked),
        ),
        (
            "the CA is the HSM's",
            plain(),
            &with_hsm,
            Err(Stranger::Revoked),
        ),
    ] {
        let old = snapshot(&[plain()], &[("ca", &root.der)]);
        let above = [issuing.der.clone()];
        let held = old.identify(&leaf, &above, NOW).unwrap();
        let new = snapshot(&[role], store);
        Snapshot::revoke_missing(&old, &new);
        assert_eq!(new.renew(&held, NOW).map(|_| ()), want, "{name}");
        assert_eq!(held.standing(NOW).is_err(), want.is_err(), "{name}");
    }
}
