//! The cache as time passes, with the HSM and without: fetched anew in use, served stale, never after a
//! purge. All in simulated time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod service_support;

use std::sync::Arc;
use std::time::Duration;

use kms::api::Command;
use kms::hsm::{Hsm, HsmError, KeyState};
use kms::net::time::Hand;
use kms::wire::transit::Verb;
use service_support::desk::{Asking, Desk, Said, body};
use service_support::fake_hsm::{decrypt_body, record};

const TTL_S: u32 = 300;
const STALE_S: u32 = 600;
const S: fn(u64) -> Duration = Duration::from_secs;

/// Asks for a cached `x` once a second until the hit has it fetched anew; returns when that was.
fn until_refresh(desk: &mut Desk, hand: &Hand) -> u64 {
    for second in 1..=u64::from(TTL_S) {
        desk.pass(hand, S(1));
        match desk.unwrap(b"x") {
            (200, 0) => {}
            (200, 1) => return second,
            other => panic!("after {second} s: {other:?}"),
        }
    }
    panic!("never");
}

fn down() -> HsmError {
    HsmError::Unavailable("down".into())
}

/// The items that an answer says are stale, once in the header and once by its warning.
fn stale_items(said: &Said) -> Option<&str> {
    let header = said
        .head
        .lines()
        .find_map(|line| line.strip_prefix("X-KMS-Stale: "));
    let warned = said
        .body
        .contains("served from the cache after its time to live");
    assert_eq!(header.is_some(), warned, "{said:?}");
    header
}

#[test]
fn an_entry_in_use_is_fetched_anew_and_lives_on() {
    let (mut desk, hand) = Desk::simulated(TTL_S, 0);
    assert_eq!(desk.unwrap(b"x"), (200, 1));
    for round in 0..5 {
        let after = until_refresh(&mut desk, &hand);
        assert!((240..=270).contains(&after), "{round}: {after} s");
        assert_eq!(desk.unwrap(b"x"), (200, 0), "{round}: new");
    }
    assert_eq!(desk.metrics.refreshes.get(), 5);
    let misses = desk.metrics.sum(|worker| &worker.misses);
    assert_eq!(misses, 1, "no client waited but the first");
}

#[test]
fn a_miss_joins_the_refresh_that_waits() {
    let (mut desk, hand) = Desk::simulated(TTL_S, 0);
    assert_eq!(desk.unwrap(b"x").0, 200);
    desk.hsm.hold();
    until_refresh(&mut desk, &hand);
    assert_eq!(desk.unwrap(b"x"), (200, 0), "one of them");
    desk.pass(&hand, S(60));
    let text = decrypt_body(b"x");
    let command = Command::Decrypt {
        key: "k",
        body: body(Verb::Decrypt, &text),
    };
    let (mut asking, asked) = (Asking::new(1), desk.hsm.count("decrypt"));
    assert_eq!(desk.run(&mut asking, &command), None);
    assert_eq!(desk.hsm.count("decrypt"), asked, "joined");
    desk.hsm.fail(Some(HsmError::GaveWay));
    // Lookups of the key are held too.
    desk.hsm.release(desk.hsm.health().queued);
    desk.hsm.fail(None);
    assert_eq!(desk.resume(&mut asking, &command), None, "asks itself");
    desk.hsm.release_last();
    assert_eq!(desk.resume(&mut asking, &command).unwrap().status, 200);
    assert_eq!(desk.metrics.refreshes_given_up.get(), 1);
}

#[test]
fn a_refresh_that_fails_lets_the_entry_expire_and_one_refused_drops_it() {
    let not_active = HsmError::NotActive {
        state: KeyState::Destroyed,
    };
    for (name, error, next) in [
        ("down", down(), (200, 0)),
        ("full", HsmError::GaveWay, (200, 0)),
        ("refused for another reason", HsmError::Busy, (200, 0)),
        ("authentication", HsmError::AuthenticationFailed, (400, 0)),
        ("key gone", HsmError::ObjectNotFound, (400, 1)),
        ("key not active", not_active, (400, 1)),
    ] {
        let (mut desk, hand) = Desk::simulated(TTL_S, STALE_S);
        assert_eq!(desk.unwrap(b"x"), (200, 1), "{name}");
        desk.hsm.fail(Some(error));
        until_refresh(&mut desk, &hand);
        assert_eq!(desk.unwrap(b"x"), next, "{name}");
    }
}

#[test]
fn a_purge_during_a_refresh_wins() {
    let (mut desk, hand) = Desk::simulated(TTL_S, STALE_S);
    assert_eq!(desk.unwrap(b"x"), (200, 1));
    desk.hsm.hold();
    until_refresh(&mut desk, &hand);
    desk.engine.cache().purge_all();
    desk.hsm.release_all();
    assert_eq!(
        desk.unwrap(b"x"),
        (200, 1),
        "what was asked before it is not kept"
    );
}

/// After the entry's life, with `trouble` at hand: the status, and whether the answer was stale.
fn expired(name: &str, stale_s: u32, after: Duration, trouble: impl Fn(&Desk), status: u16) {
    let (mut desk, hand) = Desk::simulated(TTL_S, stale_s);
    assert_eq!(desk.unwrap(b"x"), (200, 1), "{name}");
    desk.pass(&hand, after);
    trouble(&desk);
    if after < S(300) {
        // The key is looked up again behind this one; then the HSM goes and the entry's life ends.
        desk.unwrap(b"x");
        desk.pass(&hand, S(301));
        desk.hsm.fail(Some(down()));
    }
    let said = desk.decrypt(&decrypt_body(b"x"));
    assert_eq!(said.status, status, "{name}: {said:?}");
    assert_eq!(stale_items(&said), (status == 200).then_some("1"), "{name}");
    let counted = desk.metrics.sum(|worker| &worker.stale);
    assert_eq!(counted, u64::from(status == 200), "{name}");
}

#[test]
fn an_expired_entry_serves_only_while_the_hsm_is_out_of_reach() {
    for (name, stale_s, after_s, error, status) in [
        ("down", STALE_S, 301, down(), 200),
        ("no answer", STALE_S, 301, HsmError::TimedOut, 200),
        ("long after", STALE_S, 860, down(), 200),
        ("too long after", STALE_S, 901, down(), 503),
        ("off", 0, 301, down(), 503),
        ("busy", STALE_S, 301, HsmError::Busy, 503),
        ("full", STALE_S, 301, HsmError::Overloaded, 503),
    ] {
        let trouble = |desk: &Desk| desk.hsm.fail(Some(error.clone()));
        expired(name, stale_s, S(after_s), trouble, status);
    }
    let known = |desk: &Desk| desk.hsm.set_down(true);
    expired("known to be down", STALE_S, S(301), known, 200);
}

#[test]
fn nothing_is_stale_after_a_purge_or_a_withdrawal() {
    let purge = |desk: &Desk| {
        desk.engine.cache().purge_all();
        desk.hsm.fail(Some(down()));
    };
    expired("purged", STALE_S, S(301), purge, 503);
    for (name, state, min, status) in [
        ("deactivated", KeyState::Deactivated, 1, 503),
        ("destroyed", KeyState::Destroyed, 1, 400),
        ("below the minimum", KeyState::Active, 2, 400),
    ] {
        let withdraw = |desk: &Desk| {
            let mut changed = (*record("k", "object-1")).clone();
            changed.versions[0].state = state;
            changed.min_decryption_version = min;
            desk.hsm.set_key(Arc::new(changed));
        };
        expired(name, STALE_S, S(40), withdraw, status);
    }
}

#[test]
fn the_hsms_return_ends_it_and_a_batch_says_how_many() {
    let (mut desk, hand) = Desk::simulated(TTL_S, STALE_S);
    assert_eq!(desk.unwrap(b"x").0, 200);
    assert_eq!(desk.unwrap(b"y").0, 200);
    desk.pass(&hand, S(301));
    desk.hsm.fail(Some(down()));
    let items = [b"x", b"y", b"z"].map(|text| decrypt_body(text));
    let batch = format!("{{\"batch_input\":[{}]}}", items.join(","));
    let said = desk.decrypt(&batch);
    assert_eq!(
        (said.status, stale_items(&said)),
        (503, Some("2")),
        "{said:?}"
    );
    desk.hsm.fail(None);
    let said = desk.decrypt(&batch);
    assert_eq!((said.status, stale_items(&said)), (200, None), "{said:?}");
    assert_eq!(desk.unwrap(b"x"), (200, 0), "and kept");
}

#[test]
fn the_budget_tells_what_the_cache_would_serve() {
    let (mut desk, hand) = Desk::simulated(TTL_S, 0);
    desk.engine.note_budget(desk.now);
    assert_eq!(desk.unwrap(b"x"), (200, 1));
    for _ in 0..3 {
        assert_eq!(desk.unwrap(b"x"), (200, 0));
    }
    let budget = desk.engine.outage_budget(desk.now);
    assert_eq!(
        (budget.operations, budget.served_percent.to_bits()),
        (4, 75_f64.to_bits())
    );
    let end_s = budget.ends_after_s;
    assert!((250..=300).contains(&end_s), "{budget:?}");
    desk.hsm.set_down(true);
    desk.engine.note_budget(desk.now);
    desk.pass(&hand, S(100));
    let later = desk.engine.outage_budget(desk.now);
    assert_eq!(
        (later.ends_after_s, later.down_for_s),
        (end_s - 100, Some(100))
    );
    assert_eq!(desk.unwrap(b"x"), (200, 0), "as it said");
    desk.pass(&hand, S(end_s - 101));
    assert_eq!(desk.unwrap(b"x").0, 200, "until the last second");
}

#[test]
fn a_batch_from_the_cache_counts_and_renews_each_item_once() {
    let (mut desk, hand) = Desk::simulated(TTL_S, 0);
    let batch = |names: &[&[u8]]| {
        let items: Vec<_> = names.iter().map(|name| decrypt_body(name)).collect();
        format!("{{\"batch_input\":[{}]}}", items.join(","))
    };
    for name in [b"x", b"y"] {
        assert_eq!(desk.unwrap(name), (200, 1));
    }
    let hits = |desk: &Desk| {
        let by_life = |part: usize| desk.metrics.sum(move |worker| &worker.hits_by_life[part]);
        let all = desk.metrics.sum(|worker| &worker.hits);
        let parts = (0..kms::metrics::LIFE_PARTS).map(by_life).sum::<u64>();
        (all, parts)
    };
    assert_eq!(desk.decrypt(&batch(&[b"x", b"y"])).status, 200);
    assert_eq!(hits(&desk), (2, 2), "both there");
    assert_eq!(desk.decrypt(&batch(&[b"x", b"z"])).status, 200);
    assert_eq!(hits(&desk), (3, 3), "one there, one not");
    for _ in 0..i64::from(TTL_S) {
        desk.pass(&hand, S(1));
        assert_eq!(desk.decrypt(&batch(&[b"x", b"y"])).status, 200);
        if desk.metrics.refreshes.get() == 2 {
            return;
        }
    }
    panic!("never renewed");
}
