//! The HSM's certificate, its authority and ours are replaced while a node serves under load: no request fails, and
//! what was replaced is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod sim_support;

#[path = "hsm_rotation/face.rs"]
mod face;
#[path = "hsm_rotation/place.rs"]
mod place;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kms_loadgen::transit::Transit;
use kms_loadgen::{Driver, Outcome, Plan, Until};

use place::{Place, Ways};

const PATIENCE: Duration = Duration::from_secs(30);
/// Connections of the load.
const CLIENTS: usize = 8;

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Unwraps that all ask the HSM, until `over`.
fn load(place: &Place, over: &AtomicBool, asked: &AtomicU64) -> Outcome {
    let target = place.target(&place.device);
    let transit = Transit {
        target: &target,
        key: "demo",
        token: None,
    };
    let exchanges = transit.unwraps(1, 200).unwrap();
    let mut driver = Driver::connect(&target, CLIENTS).unwrap();
    let mut order = (0..exchanges.len()).cycle().take_while(|_| {
        asked.fetch_add(1, Ordering::Relaxed);
        !over.load(Ordering::Relaxed)
    });
    let plan = Plan {
        depth: 1,
        until: Until::Requests(u64::MAX),
    };
    driver.run(&exchanges, &mut order, plan).unwrap()
}

/// Runs `play` under load; whatever it does, every answer must be right and every connection last.
fn under_load(place: &Place, play: impl FnOnce(&dyn Fn(&str))) {
    let (over, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    let gets_on = |what: &str| {
        let from = asked.load(Ordering::Relaxed);
        until(what, || asked.load(Ordering::Relaxed) > from + 200);
    };
    std::thread::scope(|scope| {
        let running = scope.spawn(|| load(place, &over, &asked));
        gets_on("the load begins");
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play(&gets_on)));
        over.store(true, Ordering::Relaxed);
        let outcome = running.join().unwrap();
        if let Err(why) = played {
            std::panic::resume_unwind(why);
        }
        assert!(outcome.is_clean(), "{:?}", outcome.figures());
        assert_eq!(outcome.reconnects, 0);
        assert!(outcome.right > 300, "{}", outcome.right);
    });
}

#[test]
fn our_certificate_is_replaced_and_the_old_one_is_refused() {
    let place = Place::start();
    under_load(&place, |gets_on| {
        // As the guide has it: the HSM knows both for a while.
        place.face.accept(&[&place.first, &place.second]);
        let second = Ways {
            client: 1,
            ..Ways::default()
        };
        place.reload_whole(&second, &[&place.clients[1]]);
        gets_on("with the new certificate");
        place.face.accept(&[&place.second]);
        assert!(place.is_let_in(&place.clients[1]), "the new one");
        assert!(
            !place.is_let_in(&place.clients[0]),
            "the old one is refused"
        );
        // And once more, now that the old way is closed.
        let third = Ways {
            client: 2,
            ..Ways::default()
        };
        place.reload_whole(&third, &[&place.clients[2]]);
        gets_on("with the third");
    });
    place.stop();
}

#[test]
fn a_certificate_that_the_hsm_refuses_costs_nobody_the_old_one() {
    let place = Place::start();
    under_load(&place, |gets_on| {
        let failed = || place.hsm_metrics(|hsm| hsm.connect_failed.get());
        let (before, stands) = (failed(), place.connections());
        place.reload(&Ways {
            client: 1,
            ..Ways::default()
        });
        until("each connection has tried", || failed() >= before + stands);
        gets_on("with the old connections");
        assert_eq!(place.connections(), stands);
        // Once the HSM knows it, a reload is not waited out.
        place.face.accept(&[&place.first, &place.second]);
        let from = Instant::now();
        let third = Ways {
            client: 2,
            ..Ways::default()
        };
        place.reload_whole(&third, &[&place.clients[1], &place.clients[2]]);
        assert!(from.elapsed() < Duration::from_secs(9), "at once");
    });
    place.stop();
}

#[test]
fn the_hsms_authority_is_replaced_and_the_old_one_is_not_believed() {
    let place = Place::start();
    under_load(&place, |gets_on| {
        let ours = [&place.clients[0]];
        let both = Ways {
            authorities: "kmipSigningCA, kmipSigningCA2",
            ..Ways::default()
        };
        place.reload_whole(&both, &ours);
        place.face.show(&place.hsms[1]);
        gets_on("with the old connections");
        let new = Ways {
            authorities: "kmipSigningCA2",
            ..Ways::default()
        };
        place.reload_whole(&new, &ours);
        gets_on("with the new authority alone");
        // An HSM with the old certificate is none of ours any more: the connections that stand go on.
        let refused = || place.hsm_metrics(|hsm| hsm.connect_failed.get());
        let before = refused();
        place.face.show(&place.hsms[0]);
        place.reload(&Ways {
            authorities: "kmipSigningCA2",
            client: 3,
            ..Ways::default()
        });
        until("it was not believed", || refused() > before);
        gets_on("with the old connections again");
        assert!(
            place
                .trouble()
                .contains("no authority of kms.hsm.ca.alias vouches"),
            "{}",
            place.trouble()
        );
    });
    place.stop();
}

#[test]
fn the_hsms_fingerprint_is_replaced() {
    let place = Place::start();
    let print = |at: usize| Some(place.fingerprint(at));
    under_load(&place, |gets_on| {
        for (shown, pinned) in [(0, 0), (1, 1), (2, 2)] {
            place.face.show(&place.hsms[shown]);
            let pin = Ways {
                fingerprint: print(pinned),
                ..Ways::default()
            };
            place.reload_whole(&pin, &[&place.clients[0]]);
            gets_on("with the pinned certificate");
        }
        // The HSM's certificate is renewed and nobody has told: what stands goes on, what is new is refused.
        let failed = || place.hsm_metrics(|hsm| hsm.connect_failed.get());
        let before = failed();
        place.reload(&Ways {
            fingerprint: print(0),
            ..Ways::default()
        });
        until("it is refused", || failed() > before);
        gets_on("with the old connections");
        assert!(
            place.trouble().contains("kms.hsm.fingerprint is"),
            "{}",
            place.trouble()
        );
    });
    place.stop();
}

#[test]
fn hsms_are_added_and_left() {
    let place = Place::start();
    under_load(&place, |gets_on| {
        for (what, sims, want) in [
            ("both", &[0, 1][..], [2, 2]),
            ("the second alone", &[1], [0, 4]),
            ("the first again", &[0], [4, 0]),
        ] {
            place.reload(&Ways {
                sims,
                ..Ways::default()
            });
            until(what, || [0, 1].map(|at| place.connections_at(at)) == want);
            gets_on(what);
        }
    });
    place.stop();
}

#[test]
fn another_name_is_expected_of_the_hsm() {
    let place = Place::start();
    under_load(&place, |gets_on| {
        place.face.show(&place.other_name);
        let named = Ways {
            name: Some("hsm.example"),
            ..Ways::default()
        };
        place.reload_whole(&named, &[&place.clients[0]]);
        gets_on("with the other name");
        let failed = || place.hsm_metrics(|hsm| hsm.connect_failed.get());
        let before = failed();
        place.reload(&Ways::default());
        until("the usual name is not there", || failed() > before);
        gets_on("with the old connections");
        assert!(
            place.trouble().contains("kms.hsm.server.name"),
            "{}",
            place.trouble()
        );
    });
    place.stop();
}
