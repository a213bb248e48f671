//! A Vault that goes and comes back under load: nothing wrong is answered, warm keys are served throughout.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod vault_support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use vault_support::service_support::Running;
use vault_support::service_support::transit::ciphertext_of;
use vault_support::{Bao, house, is_ready, ready, wait_health};

/// Wrapped at OpenBao itself: request, and the plaintext that its answer must have.
fn wrapped(bao: &Bao, number: usize) -> (String, String) {
    let mut text = vec![0; 12];
    let bytes = format!("{number:08}x");
    kms::wire::base64::encode(bytes.as_bytes(), &mut text).unwrap();
    let plaintext = String::from_utf8(text).unwrap();
    let said = bao.root(
        "POST",
        "transit/encrypt/k",
        &format!(r#"{{"plaintext":"{plaintext}"}}"#),
    );
    let request = format!(r#"{{"ciphertext":"{}"}}"#, ciphertext_of(&said));
    (request, format!("\"plaintext\":\"{plaintext}\""))
}

#[derive(Default)]
struct Tally {
    warm: AtomicUsize,
    cold: AtomicUsize,
    refused: AtomicUsize,
    over: AtomicBool,
    /// How often the Vault has gone: each time there are other cold keys.
    round: AtomicUsize,
}

/// Requests and what their answers must have.
type Keys = Vec<(String, String)>;

const ROUNDS: usize = 3;

/// Asks for warm and cold keys in turn until it is over.
fn load(running: &Running, warm: &Keys, cold: &[Keys; ROUNDS], tally: &Tally) {
    let mut client = running.device();
    let mut at = 0;
    while !tally.over.load(Ordering::Relaxed) {
        at += 1;
        let (body, plaintext) = &warm[at % warm.len()];
        let answer = client.post("/v1/transit/decrypt/k", body);
        assert_eq!(answer.status, 200, "a warm key: {}", answer.body);
        assert!(
            answer.body.contains(plaintext),
            "a wrong plaintext: {}",
            answer.body
        );
        tally.warm.fetch_add(1, Ordering::Relaxed);
        let cold = &cold[tally.round.load(Ordering::Relaxed)];
        let (body, plaintext) = &cold[at % cold.len()];
        let answer = client.post("/v1/transit/decrypt/k", body);
        match answer.status {
            200 => {
                assert!(
                    answer.body.contains(plaintext),
                    "a wrong plaintext: {}",
                    answer.body
                );
                tally.cold.fetch_add(1, Ordering::Relaxed);
            }
            503 | 504 => {
                assert!(answer.header("Retry-After").is_some(), "{}", answer.body);
                assert!(!answer.body.contains("plaintext"), "{}", answer.body);
                tally.refused.fetch_add(1, Ordering::Relaxed);
            }
            status => panic!("{status} {}", answer.body),
        }
    }
}

/// Runs `disturb` under load; then keys that were never asked for are served within a second or so.
fn under_load(bao: &mut Bao, running: &Running, disturb: impl Fn(&mut Bao, &Tally)) {
    let keys = |from: usize, bao: &Bao| -> Keys {
        (from..from + 40)
            .map(|number| wrapped(bao, number))
            .collect()
    };
    let (warm, never) = (keys(0, bao), keys(100, bao));
    let cold = [200, 300, 400].map(|from| keys(from, bao));
    let mut client = running.device();
    for (body, _) in &warm {
        assert_eq!(client.post("/v1/transit/decrypt/k", body).status, 200);
    }
    let tally = Tally::default();
    std::thread::scope(|scope| {
        let threads = [(); 2].map(|()| scope.spawn(|| load(running, &warm, &cold, &tally)));
        disturb(bao, &tally);
        let back = Instant::now();
        wait_health(running, "back", is_ready);
        for (body, plaintext) in &never {
            let answer = client.post("/v1/transit/decrypt/k", body);
            assert_eq!(answer.status, 200, "after the return: {}", answer.body);
            assert!(answer.body.contains(plaintext));
        }
        assert!(
            back.elapsed() < Duration::from_secs(5),
            "{:?}",
            back.elapsed()
        );
        tally.over.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().unwrap();
        }
    });
    let [cold, refused] = [&tally.cold, &tally.refused].map(|count| count.load(Ordering::Relaxed));
    assert!(
        cold > 0 && refused > 0,
        "{cold} cold keys served, {refused} refused"
    );
}

/// Waits until the load has been served so much more from memory.
fn while_served(tally: &Tally, more: usize) {
    let served = tally.warm.load(Ordering::Relaxed);
    vault_support::wait("warm keys are served", || {
        (tally.warm.load(Ordering::Relaxed) > served + more).then_some(())
    });
}

/// The Vault has gone: cold keys are refused, and warm ones served.
fn gone(tally: &Tally) {
    tally.round.fetch_add(1, Ordering::Relaxed);
    let refused = tally.refused.load(Ordering::Relaxed);
    vault_support::wait("cold keys are refused", || {
        (tally.refused.load(Ordering::Relaxed) > refused + 5).then_some(())
    });
    while_served(tally, 4);
}

const SHORT: &str = "kms.hsm.timeout.ms=500\nkms.cache.ttl.s=600";

#[test]
fn a_seal_and_an_unseal_under_load() {
    let house = house();
    let mut bao = Bao::start(&house);
    bao.root("POST", "transit/keys/k", "");
    let running = ready(&bao, house, SHORT);
    under_load(&mut bao, &running, |bao, tally| {
        for _ in 0..2 {
            while_served(tally, 20);
            bao.seal();
            gone(tally);
            bao.unseal();
        }
    });
    running.stop();
}

#[test]
fn a_kill_and_a_restart_under_load() {
    let house = house();
    let mut bao = Bao::persistent(&house);
    bao.root("POST", "transit/keys/k", "");
    let running = ready(&bao, house, SHORT);
    under_load(&mut bao, &running, |bao, tally| {
        while_served(tally, 20);
        bao.kill();
        gone(tally);
        bao.restart();
    });
    running.stop();
}
