#![allow(clippy::unwrap_used, clippy::expect_used)]

mod changes;
mod crash;
mod files;
mod racing;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, OnceLock, mpsc};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::{Done, KeyChange, KeyRecord};
use super::*;
use crate::secret::{ArenaPlan, Mode, SecretBytes};

const CHEAP: Cost = Cost {
    memory_kib: 8,
    passes: 1,
    lanes: 1,
};

fn arena_of(key_bytes: usize, buffer_bytes: usize) -> &'static Arena {
    let plan = ArenaPlan {
        key_bytes,
        large_count: 2,
        large_bytes: 8192,
        buffer_bytes,
        mode: Some(Mode::Mlock),
    };
    Arena::reserve(&plan).expect("an arena")
}

fn arena() -> &'static Arena {
    static ARENA: OnceLock<&'static Arena> = OnceLock::new();
    ARENA.get_or_init(|| arena_of(256 * 1024, 64 * 1024))
}

fn passphrase() -> SecretString {
    SecretString::new("correct horse".to_owned())
}

fn open(file: &Path) -> Result<Embedded, KeyFileError> {
    open_as(file, &passphrase())
}

fn open_as(file: &Path, passphrase: &SecretString) -> Result<Embedded, KeyFileError> {
    Embedded::open_with(CHEAP, file, passphrase, arena(), Box::new(|| {}))
}

/// A folder, and a key file's place in it.
fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("master.keys");
    (folder, file)
}

fn ask(hsm: &Embedded, request: Request) -> Result<Answer, HsmError> {
    let (tell, told) = mpsc::channel();
    let done: Done = Box::new(move |answer| tell.send(answer).unwrap());
    hsm.submit(Job {
        request,
        deadline: Instant::now() + Duration::from_mins(1),
        client: crate::hsm::ClientTag::default(),
        sent: None,
        done,
    });
    told.recv().expect("an answer")
}

fn key(answer: Result<Answer, HsmError>) -> Option<Arc<KeyRecord>> {
    match answer {
        Ok(Answer::Key(record)) => record,
        other => panic!("not a key: {other:?}"),
    }
}

fn create(hsm: &Embedded, name: &str) -> Arc<KeyRecord> {
    key(ask(hsm, Request::Create { name: name.into() })).expect("a key")
}

fn find(hsm: &Embedded, name: &str) -> Option<Arc<KeyRecord>> {
    key(ask(hsm, Request::Find { name: name.into() }))
}

fn rotate(hsm: &Embedded, name: &str) -> Option<Arc<KeyRecord>> {
    key(ask(hsm, Request::Rotate { name: name.into() }))
}

fn configure(
    hsm: &Embedded,
    name: &str,
    change: KeyChange,
) -> Result<Option<Arc<KeyRecord>>, HsmError> {
    let name = name.into();
    match ask(hsm, Request::Configure { name, change })? {
        Answer::Key(record) => Ok(record),
        other => panic!("not a key: {other:?}"),
    }
}

/// `Ok`: it is gone.
fn delete(hsm: &Embedded, name: &str) -> Result<(), HsmError> {
    match ask(hsm, Request::Delete { name: name.into() })? {
        Answer::Key(None) => Ok(()),
        other => panic!("not nothing: {other:?}"),
    }
}

fn list(hsm: &Embedded) -> Vec<String> {
    match ask(hsm, Request::List) {
        Ok(Answer::Names(names)) => names.iter().map(ToString::to_string).collect(),
        other => panic!("not names: {other:?}"),
    }
}

const DELETABLE: KeyChange = KeyChange {
    min_decryption_version: None,
    min_encryption_version: None,
    deletion_allowed: Some(true),
    ..KeyChange::NONE
};

fn last(record: &KeyRecord) -> ObjectId {
    record.versions.last().unwrap().object.clone()
}

fn encrypt(hsm: &Embedded, object: &ObjectId, plaintext: &[u8], associated_data: &[u8]) -> Vec<u8> {
    let request = Request::Encrypt {
        object: object.clone(),
        plaintext: SecretBytes::from_slice(plaintext),
        associated_data: associated_data.to_vec(),
    };
    match ask(hsm, request) {
        Ok(Answer::Sealed(sealed)) => sealed,
        other => panic!("not sealed: {other:?}"),
    }
}

fn decrypt(
    hsm: &Embedded,
    object: &ObjectId,
    sealed: &[u8],
    associated_data: &[u8],
) -> Result<Vec<u8>, HsmError> {
    let request = Request::Decrypt {
        object: object.clone(),
        sealed: sealed.to_vec(),
        associated_data: associated_data.to_vec(),
    };
    match ask(hsm, request)? {
        Answer::Plaintext(key) => Ok(key.expose(<[u8]>::to_vec)),
        other => panic!("not a plaintext: {other:?}"),
    }
}

#[test]
fn what_is_sealed_opens_after_a_restart_and_under_every_version() {
    let (_folder, file) = place();
    let hsm = open(&file).unwrap();
    assert_eq!((hsm.name(), find(&hsm, "dek")), ("embedded", None));
    let first = create(&hsm, "dek");
    assert_eq!(
        create(&hsm, "dek"),
        first,
        "an existing name answers the existing key"
    );
    let sealed_1 = encrypt(&hsm, &last(&first), b"one", b"aad");
    let second = rotate(&hsm, "dek").unwrap();
    assert_eq!(
        second
            .versions
            .iter()
            .map(|version| version.number)
            .collect::<Vec<_>>(),
        [1, 2]
    );
    assert_eq!(second.versions[0], first.versions[0]);
    assert_ne!(last(&second), last(&first));
    let sealed_2 = encrypt(&hsm, &last(&second), b"two", b"");
    drop(hsm);
    let hsm = open(&file).unwrap();
    assert_eq!(find(&hsm, "dek"), Some(Arc::clone(&second)));
    assert_eq!(
        decrypt(&hsm, &last(&first), &sealed_1, b"aad").unwrap(),
        b"one"
    );
    assert_eq!(
        decrypt(&hsm, &last(&second), &sealed_2, b"").unwrap(),
        b"two"
    );
}

#[test]
#[rustfmt::skip] // A row a line.
fn what_does_not_belong_together_is_refused() {
    let (_folder, file) = place();
    let hsm = open(&file).unwrap();
    let (ours, other) = (last(&create(&hsm, "a")), last(&create(&hsm, "b")));
    let sealed = encrypt(&hsm, &ours, b"a data key", b"aad");
    let flip = |at: usize| {
        let mut bytes = sealed.clone();
        bytes[at] ^= 1;
        bytes
    };
    let end = sealed.len();
    let none = ObjectId("0".repeat(32).into());
    for (name, object, sealed, aad, want) in [
        ("other key", &other, sealed.clone(), &b"aad"[..], HsmError::AuthenticationFailed),
        ("other associated data", &ours, sealed.clone(), b"aae", HsmError::AuthenticationFailed),
        ("no associated data", &ours, sealed.clone(), b"", HsmError::AuthenticationFailed),
        ("nonce changed", &ours, flip(0), b"aad", HsmError::AuthenticationFailed),
        ("ciphertext changed", &ours, flip(12), b"aad", HsmError::AuthenticationFailed),
        ("tag changed", &ours, flip(end - 1), b"aad", HsmError::AuthenticationFailed),
        ("tag cut", &ours, sealed[..end - 1].to_vec(), b"aad", HsmError::AuthenticationFailed),
        ("shorter than a tag", &ours, sealed[..27].to_vec(), b"aad", HsmError::AuthenticationFailed),
        ("shorter than a nonce", &ours, sealed[..11].to_vec(), b"aad", HsmError::AuthenticationFailed),
        ("nothing", &ours, Vec::new(), b"aad", HsmError::AuthenticationFailed),
        ("no such object", &none, sealed.clone(), b"aad", HsmError::ObjectNotFound),
    ] {
        assert_eq!(decrypt(&hsm, object, &sealed, aad), Err(want), "{name}");
    }
    assert_eq!(
        decrypt(&hsm, &ours, &sealed, b"aad").unwrap(),
        b"a data key",
        "the control"
    );
}

#[test]
fn one_name_raced_for_gives_one_key() {
    let (_folder, file) = place();
    let hsm = open(&file).unwrap();
    let start = Barrier::new(4);
    let seen: Vec<_> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    (0..5)
                        .map(|n| create(&hsm, &format!("key-{n}")))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        racers
            .into_iter()
            .map(|racer| racer.join().unwrap())
            .collect()
    });
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:?}");
}

#[test]
fn a_full_arena_makes_room_once_and_is_told_after() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    static HELD: Mutex<Vec<SecretKey>> = Mutex::new(Vec::new());
    let small = arena_of(4096, 0);
    let (_folder, file) = place();
    let make_room = || {
        ASKED.fetch_add(1, Ordering::Relaxed);
        HELD.lock().pop();
    };
    let hsm = Embedded::open_with(CHEAP, &file, &passphrase(), small, Box::new(make_room)).unwrap();
    let object = last(&create(&hsm, "dek"));
    let sealed = encrypt(&hsm, &object, b"a data key", b"");
    HELD.lock()
        .extend(std::iter::from_fn(|| small.store(&[1; 32]).ok()));
    assert_eq!(decrypt(&hsm, &object, &sealed, b"").unwrap(), b"a data key");
    assert_eq!(ASKED.load(Ordering::Relaxed), 1);
    let kept = std::mem::take(&mut *HELD.lock());
    let _last_slot = small.store(&[1; 32]).unwrap();
    assert_eq!(
        decrypt(&hsm, &object, &sealed, b""),
        Err(HsmError::NoLockedMemory)
    );
    let create = ask(
        &hsm,
        Request::Create {
            name: "other".into(),
        },
    );
    assert!(
        matches!(create, Err(HsmError::NoLockedMemory)),
        "{create:?}"
    );
    drop(kept);
}

#[test]
fn a_disk_that_fails_refuses_the_create_and_serves_the_rest() {
    let (folder, file) = place();
    let hsm = open(&file).unwrap();
    let object = last(&create(&hsm, "dek"));
    // The new file cannot be put where a folder with content is.
    std::fs::create_dir_all(folder.path().join("master.keys.new/in the way")).unwrap();
    let refused = ask(
        &hsm,
        Request::Create {
            name: "other".into(),
        },
    );
    assert!(
        matches!(
            refused,
            Err(HsmError::Refused {
                reason: GENERAL_FAILURE,
                ..
            })
        ),
        "{refused:?}"
    );
    assert!(
        hsm.health().detail.contains("master.keys.new"),
        "{:?}",
        hsm.health()
    );
    assert_eq!(find(&hsm, "other"), None);
    let sealed = encrypt(&hsm, &object, b"x", b"");
    assert_eq!(decrypt(&hsm, &object, &sealed, b"").unwrap(), b"x");
    std::fs::remove_dir_all(folder.path().join("master.keys.new")).unwrap();
    create(&hsm, "other");
    assert!(!hsm.health().detail.contains("master.keys.new"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_plaintext_comes_back(plaintext in prop::collection::vec(any::<u8>(), 0..2000), aad: Vec<u8>) {
        static HSM: OnceLock<(tempfile::TempDir, Embedded)> = OnceLock::new();
        let (_, hsm) = HSM.get_or_init(|| {
            let (folder, file) = place();
            (folder, open(&file).unwrap())
        });
        let object = last(&create(hsm, "dek"));
        let sealed = encrypt(hsm, &object, &plaintext, &aad);
        prop_assert_eq!(sealed.len(), 12 + plaintext.len() + 16);
        prop_assert_eq!(decrypt(hsm, &object, &sealed, &aad).unwrap(), plaintext);
    }
}
