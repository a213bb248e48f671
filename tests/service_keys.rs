//! What the engine knows of keys as time passes: refreshed, changed, gone. Time is an argument here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod service_support;

use std::sync::Arc;
use std::time::Duration;

use kms::hsm::{HsmError, KeyState};
use kms::keys::METADATA_TTL;
use service_support::desk::Desk;
use service_support::fake_hsm::record;

/// Answers are kept as of the real time, which is a little later than a test's.
const REFRESH_DUE: Duration = METADATA_TTL.saturating_add(Duration::from_mins(1));

#[test]
fn a_record_is_refreshed_behind_warm_unwraps() {
    let mut desk = Desk::new();
    assert_eq!(desk.unwrap(b"x"), (200, 1));
    assert_eq!(desk.unwrap(b"x"), (200, 0), "warm");
    desk.now += REFRESH_DUE;
    assert_eq!(desk.unwrap(b"x"), (200, 0), "warm while it is refreshed");
    assert_eq!(desk.hsm.count("find"), 2, "refreshed");
}

#[test]
fn what_a_refresh_shows_decides_over_what_is_cached() {
    let changed = |state| {
        let mut changed = (*record("k", "object-1")).clone();
        changed.versions[0].state = state;
        changed
    };
    let mut raised = (*record("k", "object-1")).clone();
    raised.min_decryption_version = 2;
    let same = || (*record("k", "object-1")).clone();
    let other = (*record("k", "object-2")).clone();
    let deactivated = changed(KeyState::Deactivated);
    let destroyed = changed(KeyState::Destroyed);
    for (name, next, purged, want) in [
        ("the same", same(), 0, (200, 0)),
        ("another object", other, 1, (200, 1)),
        ("deactivated", deactivated, 1, (200, 0)),
        ("destroyed", destroyed, 1, (400, 0)),
        ("minimum raised", raised, 1, (400, 0)),
    ] {
        let mut desk = Desk::new();
        assert_eq!(desk.unwrap(b"x"), (200, 1), "{name}");
        desk.hsm.set_key(Arc::new(next));
        assert_eq!(desk.unwrap(b"x"), (200, 0), "{name}: not looked at yet");
        desk.now += REFRESH_DUE;
        // This sets the refresh off, and the fake answers at once: what changed is purged by then.
        assert_eq!(desk.unwrap(b"x"), (200, purged), "{name}: purged");
        assert_eq!(desk.unwrap(b"y").0, want.0, "{name}: a cold one");
        assert_eq!(desk.unwrap(b"x"), want, "{name}");
    }
}

#[test]
fn a_key_that_is_gone_is_gone_and_an_outage_is_not() {
    let mut desk = Desk::new();
    assert_eq!(desk.unwrap(b"x"), (200, 1));
    desk.hsm.fail(Some(HsmError::Unavailable("down".into())));
    desk.now += REFRESH_DUE;
    desk.unwrap(b"x");
    assert_eq!(desk.unwrap(b"x"), (200, 0), "warm through an outage");
    assert_eq!(desk.unwrap(b"cold").0, 503);
    desk.hsm.fail(None);
    desk.hsm.remove_key("k");
    desk.now += REFRESH_DUE;
    desk.unwrap(b"x");
    assert_eq!(desk.unwrap(b"x"), (400, 0), "gone");
}

#[test]
fn a_refusal_is_remembered_for_five_seconds() {
    let mut desk = Desk::new();
    assert_eq!(desk.unwrap(b"warm").0, 200);
    desk.hsm.fail(Some(HsmError::AuthenticationFailed));
    assert_eq!(desk.unwrap(b"x"), (400, 1));
    desk.hsm.fail(None);
    assert_eq!(desk.unwrap(b"x"), (400, 0), "remembered");
    desk.now += Duration::from_secs(6);
    assert_eq!(desk.unwrap(b"x"), (200, 1), "asked again");
}
