//! Rates, counts and tables by the clock of the test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod scan;

use super::*;

fn config() -> QuotaConfig {
    QuotaConfig {
        inflight: 4,
        rate: 0,
        connections: 2,
        cache_entries_max: 1000,
        cache_ttl: Duration::from_mins(5),
    }
}

fn address(n: u32) -> Address {
    Address::of((std::net::Ipv4Addr::from_bits(n), 1).into())
}

fn client(config: &QuotaConfig, start: Instant) -> Arc<Client> {
    Quota::new(config, start).client(&[1; 32], address(1), start)
}

#[test]
fn a_rate_lets_a_second_through_at_once_and_then_its_pace() {
    let start = Instant::now();
    let client = client(
        &QuotaConfig {
            rate: 10,
            ..config()
        },
        start,
    );
    for (name, at_ms, items, want) in [
        ("a whole second's worth", 0, 10, Ok(())),
        ("one more", 0, 1, Err(1)),
        ("too early", 99, 1, Err(1)),
        ("a tenth later", 100, 1, Ok(())),
        ("many, too early", 100, 10, Err(1)),
        ("a batch of thirty, on credit", 1_100, 30, Ok(())),
        ("which is to be paid", 1_100, 1, Err(3)),
        ("nothing costs nothing", 1_100, 0, Ok(())),
        ("still", 3_100, 1, Err(1)),
        ("and now", 3_200, 1, Ok(())),
        ("rest gathers no more than a second", 99_000, 10, Ok(())),
        ("no more", 99_000, 1, Err(1)),
    ] {
        let spent = client.spend(items, start + Duration::from_millis(at_ms));
        let want = want.map_err(|retry_after_s| Over::Rate {
            limit: 10,
            retry_after_s,
        });
        assert_eq!(spent, want, "{name}");
    }
}

#[test]
fn a_rate_set_later_holds_at_once() {
    let start = Instant::now();
    let quota = Quota::new(&config(), start);
    let client = quota.client(&[1; 32], address(1), start);
    assert_eq!(client.spend(1_000_000, start), Ok(()), "no rate");
    quota.limits().rate.store(1, Ordering::Relaxed);
    assert_eq!(client.spend(1, start), Ok(()));
    assert!(client.spend(1, start).is_err());
}

#[test]
fn items_in_flight_are_counted_until_their_request_ends() {
    let client = client(&config(), Instant::now());
    let over = Err(Over::Inflight { limit: 4 });
    let (mut one, mut other) = (Held::default(), Held::default());
    assert_eq!(client.hold(&mut one, 1), Ok(()), "the key");
    assert_eq!(client.hold(&mut one, 3), Ok(()), "and then its items");
    assert_eq!(client.hold(&mut one, 3), Ok(()), "counted already");
    assert_eq!(client.hold(&mut other, 2), over);
    assert_eq!(client.hold(&mut other, 1), Ok(()));
    assert_eq!(client.waiting(), 4);
    drop(other);
    assert_eq!(
        client.hold(&mut one, 9),
        Ok(()),
        "alone, a large one passes"
    );
    assert_eq!(client.hold(&mut Held::default(), 1), over);
    drop(one);
    assert_eq!(client.waiting(), 0);
}

#[test]
fn connections_are_counted_by_address_until_they_end() {
    let quota = Quota::new(&config(), Instant::now());
    let held = [
        quota.enter(address(1)).unwrap(),
        quota.enter(address(1)).unwrap(),
    ];
    assert_eq!(quota.enter(address(1)).unwrap_err(), 2);
    assert!(quota.enter(address(2)).is_ok(), "another's");
    drop(held);
    assert!(quota.enter(address(1)).is_ok());
    assert_eq!(
        quota.connections_of(address(1)),
        0,
        "nothing is left behind"
    );
}

#[test]
fn clients_are_told_apart_kept_while_it_matters_and_bounded() {
    let start = Instant::now();
    let config = QuotaConfig {
        rate: 1,
        ..config()
    };
    let quota = Quota::with_room_for(3, &config, start);
    let tag =
        |fingerprint: u8, at: u32, now| quota.client(&[fingerprint; 32], address(at), now).tag();
    let first = tag(1, 1, start);
    assert_ne!(first, 0, "the server's own");
    assert_ne!(tag(1, 2, start), first, "another address");
    let held = quota.client(&[2; 32], address(1), start);
    assert_ne!(held.tag(), first, "another certificate");
    assert_eq!(tag(1, 1, start), first, "again");
    // Full: one for all others with a certificate.
    let rest = tag(1, 8, start);
    assert_eq!(tag(1, 9, start), rest);
    assert_ne!(tag(2, 9, start), rest);
    assert_eq!(tag(1, 1, start), first, "who is known stays known");
    // What was spent is not forgotten by going away.
    let spender = quota.client(&[1; 32], address(1), start);
    assert_eq!(spender.spend(5, start), Ok(()));
    drop(spender);
    let soon = start + Duration::from_secs(3);
    assert_eq!(tag(1, 1, soon), first, "it is in debt");
    let later = soon + Duration::from_secs(9);
    assert_ne!(tag(1, 3, later), rest, "the idle ones made room");
    assert_ne!(tag(1, 1, later), first);
    assert_eq!(tag(2, 1, later), held.tag(), "a connection holds it");
    assert_eq!(quota.clients(), 2, "who was idle is forgotten");
}
