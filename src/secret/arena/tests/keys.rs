//! Keys, handles and buffers: kept whole, shared, wiped, refused when full.

use super::*;

fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| u8::try_from(at % 251 + 1).unwrap())
        .collect()
}

#[test]
fn every_length_comes_back_and_costs_its_class() {
    for arena in arenas() {
        for (len, class) in [
            (0, 32),
            (1, 32),
            (31, 32),
            (32, 32),
            (33, 64),
            (64, 64),
            (65, 128),
            (128, 128),
            (129, 256),
            (256, 256),
            (257, 512),
            (511, 512),
            (512, 512),
        ] {
            let key = arena.store(&pattern(len)).unwrap();
            assert!(key.expose(|bytes| bytes == pattern(len)), "{len} bytes");
            assert_eq!(
                (key.len(), key.is_empty(), key.is_cacheable()),
                (len, len == 0, true)
            );
            assert_eq!(arena.usage().key_bytes_used, class, "{len} bytes");
        }
        for len in [513, 4_096, 5_000] {
            let key = arena.store(&pattern(len)).unwrap();
            assert!(key.expose(|bytes| bytes == pattern(len)), "{len} bytes");
            assert_eq!((key.len(), key.is_cacheable()), (len, false));
            assert_eq!(
                (arena.usage().large_used, arena.usage().key_bytes_used),
                (1, 0)
            );
        }
        assert_eq!(
            arena.store(&pattern(5_001)).unwrap_err(),
            StoreError::TooLong
        );
        assert!(arena.is_blank());
    }
}

#[test]
fn without_large_regions_long_plaintexts_are_too_long() {
    let arena = Arena::reserve(&ArenaPlan {
        large_count: 0,
        ..plan(Mode::Mlock)
    })
    .unwrap();
    assert!(arena.store(&pattern(512)).is_ok());
    assert_eq!(arena.store(&pattern(513)).unwrap_err(), StoreError::TooLong);
}

#[test]
fn plaintexts_of_a_page_have_places_of_their_own_beside_the_large_regions() {
    for mode in MODES {
        let Some(arena) = try_arena(&roomy(mode)) else {
            continue;
        };
        let sizes = [513, 600, 4095, 4096];
        let store =
            |at: usize| arena.store(&[u8::try_from(at).unwrap_or(0); 4096][..sizes[at % 4]]);
        let held: Vec<SecretKey> = (0..64).map(|at| store(at).unwrap()).collect();
        let large = arena
            .store(&pattern(4097))
            .expect("the large regions are free");
        assert_eq!(
            (arena.usage().large_used, arena.usage().large_total),
            (65, 66)
        );
        let last = store(64).expect("a large region holds a small one too");
        assert_eq!(store(65).unwrap_err(), StoreError::Full);
        assert_eq!(arena.store(&pattern(5000)).unwrap_err(), StoreError::Full);
        drop(large);
        for (at, key) in held.iter().enumerate() {
            let want = u8::try_from(at).unwrap_or(0);
            assert!(key.len() == sizes[at % 4] && !key.is_cacheable(), "{at}");
            assert!(
                key.expose(|bytes| bytes.iter().all(|byte| *byte == want)),
                "{at}"
            );
        }
        drop((held, last));
        assert!(arena.is_blank() && arena.usage().large_used == 0);
        assert!(store(1).is_ok(), "what came back is used again");
    }
}

#[test]
fn the_last_drop_wipes_and_no_earlier_one() {
    for arena in arenas() {
        for len in [1, 32, 100, 512, 600] {
            let first = arena.store(&pattern(len)).unwrap();
            let place = first.place();
            let second = first.clone();
            let third = second.clone();
            for key in [first, third] {
                drop(key);
                assert_eq!(
                    arena.raw(place),
                    pattern(len),
                    "{len} bytes: the control finds it"
                );
                assert!(second.expose(|bytes| bytes == pattern(len)));
            }
            drop(second);
            assert_eq!(arena.raw(place), vec![0; len], "{len} bytes");
            assert_eq!(
                (arena.usage().key_bytes_used, arena.usage().large_used),
                (0, 0)
            );
        }
    }
}

#[test]
fn handles_hold_lend_share_and_redeem() {
    for arena in arenas() {
        for len in [0, 40, 700] {
            let handle = arena.store(&pattern(len)).unwrap().into_handle();
            assert_eq!((handle.len(), handle.is_empty()), (len, len == 0));
            assert!(arena.peek(&handle, |bytes| bytes == pattern(len)));
            let shared = arena.share(&handle);
            let redeemed = arena.redeem(handle);
            let place = redeemed.place();
            drop(redeemed);
            assert!(
                shared.expose(|bytes| bytes == pattern(len)),
                "the share keeps it"
            );
            drop(shared);
            assert_eq!(arena.raw(place), vec![0; len]);
        }
        assert!(arena.is_blank());
    }
}

#[test]
#[should_panic(expected = "another arena")]
fn a_handle_of_another_arena_is_not_followed() {
    let mine = Arena::reserve(&plan(Mode::Mlock)).unwrap();
    let other = Arena::reserve(&plan(Mode::Mlock)).unwrap();
    mine.peek(&other.store(b"key").unwrap().into_handle(), <[u8]>::len);
}

#[test]
fn full_is_said_and_recovered_from() {
    for arena in arenas() {
        for (len, count) in [(32, 512), (64, 256), (512, 32), (600, 2)] {
            let held: Vec<SecretKey> = (0..count)
                .map(|_| arena.store(&pattern(len)).unwrap())
                .collect();
            assert_eq!(
                arena.store(&pattern(len)).unwrap_err(),
                StoreError::Full,
                "{len} bytes"
            );
            drop(held);
            assert!(arena.store(&pattern(len)).is_ok(), "{len} bytes");
        }
        assert!(arena.is_blank());
    }
}

#[test]
fn a_page_goes_to_another_class_once_it_is_empty() {
    let arena = Arena::reserve(&plan(Mode::Mlock)).unwrap();
    let mut small: Vec<SecretKey> = (0..512)
        .map(|_| arena.store(&pattern(32)).unwrap())
        .collect();
    assert_eq!(arena.usage().key_bytes_lent, arena.usage().key_bytes_total);
    assert_eq!(arena.store(&pattern(512)).unwrap_err(), StoreError::Full);
    // The first 128 stored share the first page; all but one of them do not free it.
    let last = small.remove(0);
    drop(small.drain(..127));
    assert_eq!(arena.store(&pattern(512)).unwrap_err(), StoreError::Full);
    drop(last);
    assert!(arena.store(&pattern(512)).is_ok());
}

#[test]
fn buffers_are_zero_exact_and_given_back() {
    for arena in arenas() {
        for len in [0, 1, 63, 64, 65, 8_192] {
            let mut buffer = arena.buffer(len).unwrap();
            assert_eq!(buffer.len(), len);
            assert!(buffer.iter().all(|byte| *byte == 0), "{len} bytes");
            assert_eq!(arena.usage().buffer_bytes_used, len.next_multiple_of(64));
            buffer.fill(0xee);
            assert_eq!(arena.is_blank(), len == 0, "the control finds it");
            drop(buffer);
            assert!(arena.is_blank(), "{len} bytes");
        }
        let all: Vec<LockedBuf> = (0..8).map(|_| arena.buffer(1_000).unwrap()).collect();
        assert!(arena.buffer(1).is_none());
        assert!(arena.buffer(usize::MAX).is_none());
        drop(all);
        assert!(arena.buffer(8_192).is_some());
    }
}

#[test]
fn nothing_prints_a_key() {
    let arena = Arena::reserve(&plan(Mode::Mlock)).unwrap();
    let key = arena.store(b"hunter2").unwrap();
    assert_eq!(format!("{key:?}"), "SecretKey(..)");
    assert_eq!(format!("{:?}", arena.buffer(7)), "Some(LockedBuf(7 bytes))");
    let handle = key.into_handle();
    assert_eq!(format!("{handle:?}"), "KeyHandle(..)");
    drop(arena.redeem(handle));
}

#[test]
fn threads_never_see_each_others_bytes() {
    for arena in arenas() {
        let shared = arena.store(&[0xcc; 48]).unwrap();
        std::thread::scope(|scope| {
            for thread in 1..=4_u8 {
                let shared = &shared;
                scope.spawn(move || {
                    for round in 0..2_000_usize {
                        let len = [16, 48, 500, 600][(round + usize::from(thread)) % 4];
                        let Ok(key) = arena.store(&vec![thread; len]) else {
                            continue;
                        };
                        let copies = [key.clone(), shared.clone(), key];
                        let mine = |key: &SecretKey| {
                            key.expose(|bytes| bytes.iter().all(|byte| *byte == thread))
                        };
                        assert!(
                            mine(&copies[0]) && mine(&copies[2]),
                            "thread {thread} round {round}"
                        );
                        assert!(copies[1].expose(|bytes| bytes == [0xcc; 48]));
                        if let Some(mut buffer) = arena.buffer(len) {
                            assert!(
                                buffer.iter().all(|byte| *byte == 0),
                                "thread {thread} round {round}"
                            );
                            buffer.fill(thread);
                        }
                    }
                });
            }
        });
        drop(shared);
        assert!(arena.is_blank());
        let Usage {
            key_bytes_used,
            key_bytes_lent,
            large_used,
            buffer_bytes_used,
            ..
        } = arena.usage();
        assert_eq!(
            (
                key_bytes_used,
                key_bytes_lent,
                large_used,
                buffer_bytes_used
            ),
            (0, 0, 0, 0)
        );
    }
}
