//! Which keys are learnt for checks, and what an outcome under one tells.

use super::*;

#[test]
fn a_key_is_learnt_from_what_succeeds_and_one_that_wraps_is_kept() {
    let keys = Arc::new(HealthKey::default());
    let known = || {
        let mut all = keys.all();
        all.next()
            .map(|known| (known.object.0.to_string(), known.wraps))
    };
    let watch = |queued: Queued, is_ok| {
        let mut jobs = [queued];
        keys.watch(&mut jobs);
        let [queued] = jobs;
        end(queued, is_ok);
    };
    watch(unwrap("a"), false);
    assert_eq!(known(), None, "it failed");
    watch(unwrap("a"), true);
    assert_eq!(known(), Some(("a".into(), false)));
    watch(unwrap("b"), true);
    assert_eq!(known(), Some(("a".into(), false)), "no better");
    watch(wrap("c"), true);
    assert_eq!(known(), Some(("c".into(), true)));
    watch(wrap("d"), true);
    assert_eq!(known(), Some(("c".into(), true)), "kept");
    keys.forget(&keys.all().next().unwrap());
    assert_eq!(known(), Some(("d".into(), true)), "the spare one");
    watch(wrap("c"), true);
    keys.doubt();
    watch(unwrap("e"), true);
    assert_eq!(known(), Some(("d".into(), true)), "no better");
    watch(wrap("e"), true);
    assert_eq!(known(), Some(("e".into(), true)), "not in doubt");
    assert_eq!(keys.all().count(), 1, "those in doubt are gone");
}

#[test]
fn a_key_that_does_not_wrap_is_not_tried_again_for_unwrapping() {
    let keys = Arc::new(HealthKey::default());
    let learn = |queued: Queued| {
        let mut jobs = [queued];
        keys.watch(&mut jobs);
        let [queued] = jobs;
        end(queued, true);
        keys.all().next().map(|known| known.wraps)
    };
    assert_eq!(learn(unwrap("a")), Some(false));
    keys.forget(&keys.all().next().unwrap());
    assert_eq!(learn(unwrap("a")), None);
    assert_eq!(learn(wrap("a")), Some(true), "it does after all");
}

#[test]
fn an_outcome_tells_of_the_server_or_of_the_key() {
    let refused = || {
        Err(HsmError::Refused {
            reason: 1,
            text: "no".into(),
        })
    };
    for (name, outcome, wraps, want) in [
        ("works", Ok(()), true, "well"),
        ("at its limit", Err(HsmError::Busy), true, "well"),
        (
            "no memory of ours",
            Err(HsmError::NoLockedMemory),
            true,
            "well",
        ),
        ("key gone", Err(HsmError::ObjectNotFound), true, "key"),
        (
            "key gone at a Vault",
            Err(HsmError::Declined("x".into())),
            true,
            "key",
        ),
        ("key not for wrapping", refused(), false, "key"),
        ("refuses the key or all", refused(), true, "refused"),
        ("lies", Err(HsmError::Protocol("x")), true, "refuses"),
        (
            "spoils",
            Err(HsmError::AuthenticationFailed),
            true,
            "refuses",
        ),
        ("hangs", Err(HsmError::TimedOut), true, "broken"),
        (
            "gone",
            Err(HsmError::Unavailable("x".into())),
            true,
            "broken",
        ),
    ] {
        let got = match judge(outcome, wraps) {
            Tried::Unfit => "key",
            Tried::Refused(_) => "refused",
            Tried::Answered(Ok(())) => "well",
            Tried::Answered(Err(Ailment::Refuses(_))) => "refuses",
            Tried::Answered(Err(Ailment::Broken(_))) => "broken",
        };
        assert_eq!(got, want, "{name}");
    }
}
