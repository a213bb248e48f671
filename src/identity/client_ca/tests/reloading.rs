//! What a new snapshot makes of those that an old one let in.

use super::*;

/// What becomes of the holder of `leaf` when `old` gives way to `new`: its role, or the refusal of the next request.
fn after(old: &Snapshot, new: &Snapshot, leaf: &Der, remembered: bool) -> Result<String, Stranger> {
    let held = old.identify(leaf, &[], NOW).unwrap();
    if !remembered {
        let other = Arc::new(Pin {
            alias: String::new(),
            subject: String::new(),
            fingerprint: [0; 32],
            spki: Vec::new(),
            not_before_unix_s: 0,
            not_after_unix_s: 0,
            role: Arc::clone(&held.role),
            revoked: AtomicBool::new(false),
            issued: None,
        });
        for number in 0..5000_u32 {
            let shown = Shown::of(&number.to_be_bytes().to_vec().into(), &[]);
            old.client_cas.recent.insert(shown, &other);
        }
        assert!(old.client_cas.recent.get(Shown::of(leaf, &[])).is_none());
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

type Row<'a> = (
    &'a str,
    Vec<RoleSpec>,
    &'a [(&'a str, &'a Der)],
    Result<&'a str, Stranger>,
);

fn plain() -> RoleSpec {
    role("device", &["ca"], "device-*")
}

fn hold(ca: &Ca, leaf: &Der, rows: &[Row<'_>]) {
    for (name, roles, store, want) in rows {
        for remembered in [true, false] {
            let old = snapshot(&[plain()], &[("ca", &ca.der)]);
            let new = snapshot(roles, store);
            let got = after(&old, &new, leaf, remembered);
            let want = want.clone().map(str::to_owned);
            assert_eq!(got, want, "{name}, remembered {remembered}");
        }
    }
}

#[test]
fn another_ca_or_none_takes_it_away() {
    let (ca, other) = (Ca::root("Device CA"), Ca::root("Device CA"));
    let leaf = ca.leaf("device-1");
    let renewed = ca.again(|p| p.not_after = date_time_ymd(2041, 1, 1));
    let store = [("ca", &ca.der)];
    let revoked = || Err(Stranger::Revoked);
    let (none, moved) = (
        RoleSpec {
            ca: None,
            ..plain()
        },
        role("device", &["b"], "device-*"),
    );
    let pin = [("ca", &ca.der), ("pin-backend", &leaf)];
    let backend = role("backend", &["ca"], "b*");
    hold(
        &ca,
        &leaf,
        &[
            ("as it was", vec![plain()], &store, Ok("device")),
            ("no client CA", vec![none], &store, revoked()),
            (
                "another CA",
                vec![plain()],
                &[("ca", &other.der)],
                revoked(),
            ),
            (
                "its certificate renewed",
                vec![plain()],
                &[("ca", &renewed)],
                revoked(),
            ),
            ("renamed", vec![moved], &[("b", &ca.der)], Ok("device")),
            ("pinned", vec![plain(), backend], &pin, Ok("backend")),
        ],
    );
}

#[test]
fn names_and_lists_take_it_away() {
    let ca = Ca::root("Device CA");
    let (leaf, other) = (ca.leaf("device-1"), ca.leaf("device-2"));
    let store = [("ca", &ca.der)];
    let probe = role("probe", &["ca"], "device-*");
    let no_role = Stranger::NoRole("subject CN=device-1,O=Example, names none".into());
    let listed = |list: &Arc<RevocationList>| vec![listing(plain(), &[list])];
    let (of_it, of_other) = (listed(&ca.list(&[&leaf])), listed(&ca.list(&[&other])));
    // It brings no news, and new connections are refused.
    let stale = listed(&ca.list_between(&[], 2020, 2021));
    let narrow = vec![role("device", &["ca"], "device-2*")];
    hold(
        &ca,
        &leaf,
        &[
            ("narrowed", narrow, &store, Err(no_role)),
            ("another role", vec![probe], &store, Ok("probe")),
            ("revoked", of_it, &store, Err(Stranger::Revoked)),
            ("another revoked", of_other, &store, Ok("device")),
            ("a list out of date", stale, &store, Ok("device")),
        ],
    );
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
