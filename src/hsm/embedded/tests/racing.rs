//! Many threads that change, look up and use the same keys at once.

use std::collections::{BTreeSet, HashMap};

use super::*;

const THREADS: u64 = 8;
const TURNS: u64 = 60;
const NAMES: [&str; 3] = ["a", "b", "c"];

/// What one thread saw.
#[derive(Default)]
struct Seen {
    records: Vec<Arc<KeyRecord>>,
    rotated: Vec<Arc<KeyRecord>>,
    deletes: usize,
}

/// One thread's life: each turn one request, chosen by a fixed sequence.
fn race(hsm: &Embedded, thread: u64) -> Seen {
    let mut seen = Seen::default();
    let mut state = thread + 1;
    for _ in 0..TURNS {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let name = NAMES[(state >> 33) as usize % NAMES.len()];
        match (state >> 40) % 12 {
            0..3 => seen.records.push(create(hsm, name)),
            3..6 => seen.rotated.extend(rotate(hsm, name)),
            6 => seen
                .records
                .extend(configure(hsm, name, DELETABLE).unwrap()),
            7 => {
                let change = KeyChange {
                    min_decryption_version: Some(2),
                    ..KeyChange::default()
                };
                match configure(hsm, name, change) {
                    Ok(record) => seen.records.extend(record),
                    Err(error) => assert!(matches!(error, HsmError::Rejected(_)), "{error:?}"),
                }
            }
            8 => match delete(hsm, name) {
                Ok(()) => seen.deletes += 1,
                Err(HsmError::ObjectNotFound | HsmError::Rejected(_)) => {}
                Err(error) => panic!("{error:?}"),
            },
            9 => {
                let names = list(hsm);
                assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "{names:?}");
            }
            _ => seen.records.extend(find(hsm, name).inspect(|record| {
                round_trip(hsm, record);
            })),
        }
    }
    seen
}

/// The key works, unless another thread has deleted it meanwhile.
fn round_trip(hsm: &Embedded, record: &KeyRecord) {
    let object = last(record);
    let request = Request::Encrypt {
        object: object.clone(),
        plaintext: SecretBytes::from_slice(b"x"),
        associated_data: Vec::new(),
    };
    match ask(hsm, request) {
        Ok(Answer::Sealed(sealed)) => match decrypt(hsm, &object, &sealed, b"") {
            Ok(plaintext) => assert_eq!(plaintext, b"x"),
            Err(error) => assert_eq!(error, HsmError::ObjectNotFound),
        },
        other => assert!(matches!(other, Err(HsmError::ObjectNotFound)), "{other:?}"),
    }
}

/// Nothing torn: versions without a gap, and settings that may stand together.
fn check(record: &KeyRecord) {
    let numbers = record.versions.iter().map(|version| version.number);
    assert!(numbers.eq(1..=record.latest()), "{record:?}");
    assert!(
        (1..=record.latest()).contains(&record.min_decryption_version),
        "{record:?}"
    );
}

#[test]
fn eight_threads_on_three_keys_leave_what_they_were_told() {
    let (_folder, file) = place();
    let hsm = open(&file).unwrap();
    let start = Barrier::new(usize::try_from(THREADS).unwrap());
    let all: Vec<Seen> = std::thread::scope(|scope| {
        let racer = |thread| {
            let (hsm, start) = (&hsm, &start);
            scope.spawn(move || {
                start.wait();
                race(hsm, thread)
            })
        };
        let racers: Vec<_> = (0..THREADS).map(racer).collect();
        let ended = racers.into_iter().map(|racer| racer.join().unwrap());
        ended.collect()
    });
    let names = list(&hsm);
    let left: Vec<_> = names.iter().map(|name| find(&hsm, name).unwrap()).collect();
    let rotated = || all.iter().flat_map(|seen| &seen.rotated);
    let seen = || all.iter().flat_map(|seen| &seen.records).chain(rotated());

    let mut places = HashMap::new();
    for record in seen().chain(&left) {
        check(record);
        for version in &record.versions {
            let place = (record.name.clone(), version.number);
            let known = places.entry(&version.object).or_insert(place.clone());
            assert_eq!(*known, place, "an object of two versions");
        }
    }
    let first = |record: &KeyRecord| record.versions[0].object.0.clone();
    let born: BTreeSet<_> = seen().map(|record| first(record)).collect();
    let deletes: usize = all.iter().map(|seen| seen.deletes).sum();
    assert!(deletes > 0 && rotated().count() > 0, "the race was one");
    assert_eq!(
        born.len(),
        deletes + left.len(),
        "each key ends once or is there"
    );
    let added: BTreeSet<_> = rotated().map(|record| last(record).0).collect();
    assert_eq!(
        added.len(),
        rotated().count(),
        "two rotations shared a version"
    );
    for record in &left {
        let rotations = rotated().filter(|rotated| first(rotated) == first(record));
        assert_eq!(record.versions.len(), 1 + rotations.count(), "{record:?}");
    }
    drop(hsm);
    let hsm = open(&file).unwrap();
    assert_eq!(list(&hsm), names);
    for record in left {
        assert_eq!(find(&hsm, &record.name), Some(Arc::clone(&record)));
        round_trip(&hsm, &record);
    }
}
