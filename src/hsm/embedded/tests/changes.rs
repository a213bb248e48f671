//! Rotate, configure, delete and list: what each answers, keeps and forgets.

use super::super::super::KeyVersion;
use super::super::format::{Entry, FILE_BYTES_MAX};
use super::*;

fn minimums(decrypt: u32, encrypt: u32) -> KeyChange {
    KeyChange {
        min_decryption_version: Some(decrypt),
        min_encryption_version: Some(encrypt),
        deletion_allowed: None,
        ..KeyChange::NONE
    }
}

fn settings(record: &KeyRecord) -> (u32, u32, bool) {
    (
        record.min_decryption_version,
        record.min_encryption_version,
        record.deletion_allowed,
    )
}

fn rejected(text: &str) -> HsmError {
    HsmError::Rejected(text.into())
}

#[test]
fn settings_survive_a_restart_and_a_rotation() {
    let (_folder, file) = place();
    let hsm = open(&file).unwrap();
    assert_eq!(settings(&create(&hsm, "dek")), (1, 0, false));
    rotate(&hsm, "dek").unwrap();
    let changed = configure(&hsm, "dek", minimums(2, 2)).unwrap().unwrap();
    assert_eq!(settings(&changed), (2, 2, false));
    configure(&hsm, "dek", DELETABLE).unwrap();
    let rotated = rotate(&hsm, "dek").unwrap();
    assert_eq!((rotated.latest(), settings(&rotated)), (3, (2, 2, true)));
    drop(hsm);
    let hsm = open(&file).unwrap();
    assert_eq!(find(&hsm, "dek"), Some(rotated));
}

#[test]
fn what_cannot_be_set_is_refused_and_changes_nothing() {
    let (_folder, file) = place();
    let hsm = open(&file).unwrap();
    let before = create(&hsm, "dek");
    let saved = std::fs::read(&file).unwrap();
    let too_new = configure(&hsm, "dek", minimums(2, 0));
    assert_eq!(
        too_new,
        Err(rejected(
            "cannot set min decryption version of 2, latest key version is 1"
        ))
    );
    let unchanged = configure(&hsm, "dek", minimums(1, 0)).unwrap();
    assert_eq!(unchanged.as_ref(), Some(&before));
    assert_eq!(
        delete(&hsm, "dek"),
        Err(rejected("deletion is not allowed for this key"))
    );
    assert_eq!(find(&hsm, "dek"), Some(before));
    assert!(!hsm.health().detail.contains("not allowed"));
    assert_eq!(
        std::fs::read(&file).unwrap(),
        saved,
        "nothing was there to save"
    );
}

#[test]
fn what_is_not_there_is_told_as_such() {
    let (_folder, file) = place();
    let hsm = open(&file).unwrap();
    assert_eq!(rotate(&hsm, "none"), None);
    assert_eq!(configure(&hsm, "none", DELETABLE), Ok(None));
    assert_eq!(delete(&hsm, "none"), Err(HsmError::ObjectNotFound));
    assert!(matches!(
        ask(&hsm, Request::Random { bytes: 32 }),
        Err(HsmError::Unsupported(_))
    ));
    assert!(!hsm.offers_random());
}

#[test]
fn names_are_listed_in_the_order_of_their_bytes() {
    let (_folder, file) = place();
    let hsm = open(&file).unwrap();
    assert_eq!(list(&hsm), Vec::<String>::new());
    for name in ["b", "é", "a-1", "B", "a"] {
        create(&hsm, name);
    }
    rotate(&hsm, "a").unwrap();
    let sorted = ["B", "a", "a-1", "b", "é"];
    assert_eq!(list(&hsm), sorted);
    drop(hsm);
    assert_eq!(list(&open(&file).unwrap()), sorted);
}

#[test]
fn a_deleted_key_leaves_memory_and_the_file() {
    let arena = arena_of(8192, 8192);
    let (_folder, file) = place();
    let hsm = Embedded::open_with(CHEAP, &file, &passphrase(), arena, Box::new(|| {})).unwrap();
    let kept = create(&hsm, "kept");
    let (used, size) = (
        arena.usage().key_bytes_used,
        std::fs::metadata(&file).unwrap().len(),
    );
    let object = last(&create(&hsm, "gone"));
    rotate(&hsm, "gone").unwrap();
    configure(&hsm, "gone", DELETABLE).unwrap();
    let sealed = encrypt(&hsm, &object, b"x", b"");
    assert_ne!(arena.usage().key_bytes_used, used);
    delete(&hsm, "gone").unwrap();
    assert_eq!(
        arena.usage().key_bytes_used,
        used,
        "both versions' slots are wiped and free"
    );
    assert_eq!(std::fs::metadata(&file).unwrap().len(), size);
    assert_eq!(find(&hsm, "gone"), None);
    assert_eq!(
        decrypt(&hsm, &object, &sealed, b""),
        Err(HsmError::ObjectNotFound)
    );
    assert_eq!(delete(&hsm, "gone"), Err(HsmError::ObjectNotFound));
    let again = create(&hsm, "gone");
    assert_eq!((again.latest(), again.deletion_allowed), (1, false));
    assert_ne!(last(&again), object, "a new key under the old name");
    configure(&hsm, "gone", DELETABLE).unwrap();
    delete(&hsm, "gone").unwrap();
    drop(hsm);
    let hsm = open(&file).unwrap();
    assert_eq!(list(&hsm), ["kept"]);
    assert_eq!(find(&hsm, "kept"), Some(kept));
}

/// What changes a key, for a table.
fn changes(name: &str) -> [(&'static str, Request); 4] {
    let name: Arc<str> = name.into();
    [
        ("rotate", Request::Rotate { name: name.clone() }),
        (
            "configure",
            Request::Configure {
                name: name.clone(),
                change: minimums(1, 1),
            },
        ),
        ("delete", Request::Delete { name: name.clone() }),
        (
            "create",
            Request::Create {
                name: format!("{name}-2").into(),
            },
        ),
    ]
}

#[test]
fn a_late_change_times_out_and_one_after_shutdown_is_abandoned() {
    let (_folder, file) = place();
    let hsm = open(&file).unwrap();
    create(&hsm, "dek");
    let before = configure(&hsm, "dek", DELETABLE).unwrap();
    for (what, request) in changes("dek") {
        let (tell, told) = mpsc::channel();
        let done: Done = Box::new(move |answer| tell.send(answer).unwrap());
        hsm.submit(Job::new(request, Instant::now(), done));
        let late = told.recv().unwrap();
        assert!(matches!(late, Err(HsmError::TimedOut)), "{what}: {late:?}");
    }
    hsm.shutdown();
    for (what, request) in changes("dek") {
        let after = ask(&hsm, request);
        assert!(
            matches!(after, Err(HsmError::Abandoned)),
            "{what}: {after:?}"
        );
    }
    assert_eq!(find(&hsm, "dek"), before);
    assert_eq!(list(&hsm), ["dek"]);
}

#[test]
fn a_full_queue_is_told_at_once() {
    let (_folder, file) = place();
    let hsm = open(&file).unwrap();
    let in_a_minute = Instant::now() + Duration::from_mins(1);
    // The writer is held up in the answer to the first.
    let (held, (open_gate, gate)) = (Arc::new(Barrier::new(2)), mpsc::channel::<()>());
    let reached = Arc::clone(&held);
    let done: Done = Box::new(move |_| {
        reached.wait();
        let _ = gate.recv();
    });
    let rotate = || Request::Rotate { name: "dek".into() };
    hsm.submit(Job::new(rotate(), in_a_minute, done));
    held.wait();
    let (tell, told) = mpsc::channel();
    for _ in 0..QUEUE_MAX {
        let tell = tell.clone();
        let done: Done = Box::new(move |answer| tell.send(answer).unwrap());
        hsm.submit(Job::new(rotate(), in_a_minute, done));
    }
    assert_eq!(hsm.health().queued, QUEUE_MAX);
    for (what, request) in changes("dek") {
        let more = ask(&hsm, request);
        assert!(
            matches!(more, Err(HsmError::Overloaded)),
            "{what}: {more:?}"
        );
    }
    assert_eq!(find(&hsm, "dek"), None, "what needs no disk goes on");
    drop((open_gate, tell));
    assert!(
        told.iter()
            .all(|answer| matches!(answer, Ok(Answer::Key(None))))
    );
    assert!(key(ask(&hsm, rotate())).is_none());
}

#[test]
fn a_disk_that_fails_changes_nothing() {
    let (folder, file) = place();
    let hsm = open(&file).unwrap();
    create(&hsm, "dek");
    let before = configure(&hsm, "dek", DELETABLE).unwrap();
    let saved = std::fs::read(&file).unwrap();
    std::fs::create_dir_all(folder.path().join("master.keys.new/in the way")).unwrap();
    for (what, request) in changes("dek") {
        let refused = ask(&hsm, request);
        let Err(HsmError::Refused { reason, text }) = &refused else {
            panic!("{what}: {refused:?}");
        };
        assert_eq!(*reason, GENERAL_FAILURE, "{what}");
        assert!(text.contains("see the server's log"), "{what}: {text}");
        assert_eq!(find(&hsm, "dek"), before, "{what}");
    }
    assert!(hsm.health().detail.contains("master.keys.new"));
    assert_eq!(std::fs::read(&file).unwrap(), saved);
    // What the disk has no part in says nothing about it.
    create(&hsm, "dek");
    assert!(configure(&hsm, "dek", minimums(9, 0)).is_err());
    assert!(hsm.health().detail.contains("master.keys.new"));
    std::fs::remove_dir_all(folder.path().join("master.keys.new")).unwrap();
    delete(&hsm, "dek").unwrap();
    assert!(!hsm.health().detail.contains("master.keys.new"));
}

#[test]
fn a_full_file_refuses_more_and_lets_keys_go() {
    let (_folder, file) = place();
    let arena = arena_of(1024 * 1024, 0);
    let name = |number: usize| format!("{number:0>512}");
    let entry = |number: usize| {
        let version = KeyVersion {
            number: 1,
            object: ObjectId(format!("{number:032x}").into()),
            created_unix_s: 1,
            state: KeyState::Active,
        };
        let record = KeyRecord {
            name: name(number).into(),
            versions: vec![version],
            min_decryption_version: 1,
            min_encryption_version: 0,
            deletion_allowed: true,
            kind: crate::hsm::KeyKind::default(),
        };
        Entry {
            record: Arc::new(record),
            keys: vec![arena.store(&[7; 32]).unwrap()],
        }
    };
    // 15 bytes of the key, 512 of its name, 77 of its version.
    let entries: Vec<Entry> = (0..FILE_BYTES_MAX / 604).map(entry).collect();
    let store = |bytes: &[u8]| arena.store(bytes).map_err(|_| KeyFileError::NoLockedMemory);
    let (keyfile, _) = KeyFile::open(&file, &passphrase(), arena, CHEAP, &store).unwrap();
    keyfile.save(&entries.iter().collect::<Vec<_>>()).unwrap();
    drop((keyfile, entries));
    let hsm = Embedded::open_with(CHEAP, &file, &passphrase(), arena, Box::new(|| {})).unwrap();
    let full = |asked: Request| match ask(&hsm, asked) {
        Err(HsmError::Refused { text, .. }) => text.contains("the key file is full"),
        other => panic!("{other:?}"),
    };
    let more = || Request::Create {
        name: "k".repeat(512).into(),
    };
    assert!(full(more()));
    while rotate_fits(&hsm, &name(0)) {}
    assert!(full(Request::Rotate {
        name: name(1).into()
    }));
    assert!(hsm.health().detail.contains("is full"));
    assert_eq!(find(&hsm, &name(1)).unwrap().latest(), 1);
    delete(&hsm, &name(2)).unwrap();
    ask(&hsm, more()).unwrap();
    drop(hsm);
    Embedded::open_with(CHEAP, &file, &passphrase(), arena, Box::new(|| {})).unwrap();
}

/// Adds a version, if there is room.
fn rotate_fits(hsm: &Embedded, name: &str) -> bool {
    ask(hsm, Request::Rotate { name: name.into() }).is_ok()
}
