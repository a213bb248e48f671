//! What changes, what is dropped for it, and who may say so.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::hsm::{KeyKind, ObjectId};

const LOOKUP_AT_ONCE: fn(Instant) -> Source = |asked| Source::Lookup { asked };

fn version(number: u32, object: &str) -> KeyVersion {
    KeyVersion {
        number,
        object: ObjectId(object.into()),
        created_unix_s: 0,
        state: KeyState::Active,
    }
}

/// The versions 1, 2 and so on, held by these objects.
fn record(name: &str, objects: &[&str]) -> KeyRecord {
    KeyRecord {
        name: name.into(),
        versions: (1..)
            .zip(objects)
            .map(|(number, object)| version(number, object))
            .collect(),
        min_decryption_version: 1,
        min_encryption_version: 0,
        deletion_allowed: false,
        kind: KeyKind::default(),
    }
}

fn learn(directory: &Directory, record: KeyRecord, now: Instant) -> Learnt {
    directory.learn(Arc::new(record), LOOKUP_AT_ONCE(now), now)
}

fn purge(families: &[u32]) -> Learnt {
    Learnt::Changed {
        purge: families.iter().copied().map(Family).collect(),
    }
}

#[test]
fn exactly_the_versions_that_changed_are_named() {
    let now = Instant::now();
    let first = || record("k", &["a", "b", "c"]);
    let with = |change: fn(&mut KeyRecord)| {
        let mut record = first();
        change(&mut record);
        record
    };
    for (name, second, want) in [
        ("the same", first(), Learnt::Same),
        ("another name", record("l", &["a"]), Learnt::New),
        ("rotated", record("k", &["a", "b", "c", "d"]), purge(&[])),
        ("recreated", record("k", &["x"]), purge(&[0, 1, 2])),
        (
            "one is another object",
            record("k", &["a", "x", "c"]),
            purge(&[1]),
        ),
        (
            "one vanished",
            with(|record| drop(record.versions.remove(0))),
            purge(&[0]),
        ),
        (
            "destroyed",
            with(|record| record.versions[1].state = KeyState::Destroyed),
            purge(&[1]),
        ),
        (
            "deactivated",
            with(|record| record.versions[2].state = KeyState::Deactivated),
            purge(&[2]),
        ),
        (
            "minimum",
            with(|record| record.min_decryption_version = 3),
            purge(&[0, 1]),
        ),
        (
            "wrapping minimum",
            with(|record| record.min_encryption_version = 2),
            purge(&[]),
        ),
        (
            "deletion",
            with(|record| record.deletion_allowed = true),
            purge(&[]),
        ),
    ] {
        let directory = Directory::new(now);
        assert_eq!(learn(&directory, first(), now), Learnt::New, "{name}");
        assert_eq!(learn(&directory, second, now), want, "{name}");
    }
}

#[test]
fn a_version_keeps_its_family_while_it_is_the_same_object() {
    let now = Instant::now();
    let directory = Directory::new(now);
    let family = |number| {
        directory
            .lookup("k", now)
            .unwrap()
            .0
            .version(number)
            .map(|found| found.1)
    };
    learn(&directory, record("k", &["a", "b"]), now);
    assert_eq!(
        (family(1), family(2), family(3)),
        (Some(Family(0)), Some(Family(1)), None)
    );
    learn(&directory, record("k", &["a", "x", "c"]), now);
    assert_eq!(
        (family(1), family(2), family(3)),
        (Some(Family(0)), Some(Family(2)), Some(Family(3)))
    );
    // A minimum that came and went drops its versions once.
    let mut raised = record("k", &["a", "x", "c"]);
    raised.min_decryption_version = 2;
    assert_eq!(learn(&directory, raised.clone(), now), purge(&[0]));
    assert_eq!(learn(&directory, raised, now), Learnt::Same);
    assert_eq!(
        learn(&directory, record("k", &["a", "x", "c"]), now),
        purge(&[])
    );
    assert_eq!(family(1), Some(Family(0)));
}

#[test]
fn one_caller_refreshes_and_all_are_served_meanwhile() {
    let start = Instant::now();
    let directory = Directory::new(start);
    learn(&directory, record("k", &["1"]), start);
    for (after, want) in [
        (Duration::ZERO, false),
        (
            METADATA_TTL.checked_sub(Duration::from_millis(1)).unwrap(),
            false,
        ),
        (METADATA_TTL, true),
        (METADATA_TTL, false),
        (METADATA_TTL + REFRESH_RETRY, true),
    ] {
        let (_, refresh) = directory.lookup("k", start + after).unwrap();
        assert_eq!(refresh, want, "after {after:?}");
    }
    directory.learn(
        Arc::new(record("k", &["1"])),
        Source::Change,
        start + METADATA_TTL,
    );
    let now = start + METADATA_TTL;
    assert!(!directory.lookup("k", now).unwrap().1);
    directory.doubt("k");
    assert!(directory.lookup("k", now).unwrap().1, "doubted");
    assert!(!directory.lookup("k", now).unwrap().1, "once");
}

#[test]
fn a_forgotten_key_gets_new_families() {
    let now = Instant::now();
    let directory = Directory::new(now);
    let lookup = LOOKUP_AT_ONCE(now);
    learn(&directory, record("k", &["1", "2"]), now);
    let families = directory.forget("k", lookup).unwrap();
    assert_eq!(*families, [Family(0), Family(1)]);
    assert!(directory.forget("k", lookup).is_none());
    learn(&directory, record("k", &["1"]), now);
    let known = directory.lookup("k", now).unwrap().0;
    assert_eq!(known.version(1).unwrap().1, Family(2));
}

#[test]
fn a_lookup_does_not_undo_a_change_that_came_after_it() {
    let start = Instant::now();
    let after = |ms| start + Duration::from_millis(ms);
    let directory = Directory::new(start);
    let mut raised = record("k", &["1", "2"]);
    raised.min_decryption_version = 2;
    let raised = Arc::new(raised);
    directory.learn(Arc::clone(&raised), Source::Change, after(10));
    let old = || Arc::new(record("k", &["1"]));
    let overtaken = LOOKUP_AT_ONCE(after(9));
    assert_eq!(
        directory.learn(old(), overtaken, after(20)),
        Learnt::Outdated
    );
    assert!(directory.forget("k", overtaken).is_none());
    assert_eq!(directory.lookup("k", after(20)).unwrap().0.record, raised);
    let later = LOOKUP_AT_ONCE(after(10));
    assert_eq!(directory.learn(old(), later, after(20)), purge(&[1]));
    assert_eq!(
        directory.learn(old(), overtaken, after(30)),
        Learnt::Outdated
    );
    assert!(directory.forget("k", later).is_some());
}

#[test]
fn an_answer_that_comes_late_does_not_undo_one_to_a_later_question() {
    let start = Instant::now();
    let after = |ms| start + Duration::from_millis(ms);
    let directory = Directory::new(start);
    let new = Arc::new(record("k", &["1", "2"]));
    let learn = |record: &Arc<KeyRecord>, asked, now| {
        directory.learn(Arc::clone(record), LOOKUP_AT_ONCE(after(asked)), after(now))
    };
    assert_eq!(learn(&new, 10, 20), Learnt::New);
    let old = Arc::new(record("k", &["1"]));
    assert_eq!(learn(&old, 5, 30), Learnt::Outdated);
    assert_eq!(learn(&new, 10, 40), Learnt::Same);
}
