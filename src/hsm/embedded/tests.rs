#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::Write;
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};

use super::super::keyfile;
use super::*;
use crate::secret::{Arena, ArenaPlan, Mode, SecretBytes};

fn arena() -> &'static Arena {
    static ARENA: OnceLock<&'static Arena> = OnceLock::new();
    ARENA.get_or_init(|| {
        Arena::reserve(&ArenaPlan {
            key_bytes: 512 * 1024,
            large_count: 1,
            large_bytes: 4096,
            buffer_bytes: 64 * 1024,
            mode: Some(Mode::Mlock),
        })
        .expect("an arena")
    })
}

fn pass(text: &str) -> SecretString {
    SecretString::new(text.to_owned())
}

fn open(path: &Path, passphrase: &str) -> Result<Embedded, KeyfileError> {
    let vault = Vault::new(arena(), None);
    Embedded::open_with_cost(path, &pass(passphrase), vault, Cost::LEAST)
}

fn ask(hsm: &Embedded, request: Request) -> Result<Answer, HsmError> {
    let (tx, rx) = mpsc::channel();
    let done = Box::new(move |result| tx.send(result).unwrap());
    hsm.submit(Job {
        request,
        deadline: Instant::now() + Duration::from_secs(1),
        done,
    });
    rx.recv_timeout(Duration::from_secs(10)).expect("answered")
}

fn create(hsm: &Embedded, name: &str) -> Arc<KeyRecord> {
    match ask(hsm, Request::Create { name: name.into() }) {
        Ok(Answer::Key(Some(record))) => record,
        other => panic!("{other:?}"),
    }
}

fn seal(hsm: &Embedded, object: &ObjectId, plain: &[u8], aad: &[u8]) -> Vec<u8> {
    let plaintext = SecretBytes::new(plain.to_vec());
    let associated_data = aad.to_vec();
    match ask(
        hsm,
        Request::Encrypt {
            object: object.clone(),
            plaintext,
            associated_data,
        },
    ) {
        Ok(Answer::Sealed(sealed)) => sealed,
        other => panic!("{other:?}"),
    }
}

fn unseal(
    hsm: &Embedded,
    object: &ObjectId,
    sealed: &[u8],
    aad: &[u8],
) -> Result<Vec<u8>, HsmError> {
    let (sealed, associated_data) = (sealed.to_vec(), aad.to_vec());
    match ask(
        hsm,
        Request::Decrypt {
            object: object.clone(),
            sealed,
            associated_data,
        },
    )? {
        Answer::Plaintext(key) => Ok(key.expose(<[u8]>::to_vec)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn wraps_unwraps_rotates_and_remembers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let hsm = open(&path, "secret").unwrap();
    let first = create(&hsm, "demo").versions[0].object.clone();
    let sealed = seal(&hsm, &first, b"a data key", b"aad");
    assert_eq!(
        create(&hsm, "demo").versions.len(),
        1,
        "a second create answers the first"
    );
    let rotated = hsm.rotate("demo").unwrap();
    assert_eq!(
        rotated
            .versions
            .iter()
            .map(|v| v.number)
            .collect::<Vec<_>>(),
        [1, 2]
    );
    let second = rotated.versions[1].object.clone();
    assert_eq!(hsm.rotate("absent"), Err(HsmError::ObjectNotFound));
    assert!(matches!(open(&path, "secret"), Err(KeyfileError::InUse(_))));
    drop(hsm);

    let hsm = open(&path, "secret").unwrap();
    assert_eq!(
        unseal(&hsm, &first, &sealed, b"aad").unwrap(),
        b"a data key"
    );
    let mut changed = sealed.clone();
    *changed.last_mut().unwrap() ^= 1;
    let none = ObjectId("none".into());
    for (name, object, sealed, aad, want) in [
        (
            "other aad",
            &first,
            &sealed[..],
            &b"x"[..],
            HsmError::AuthenticationFailed,
        ),
        (
            "other version",
            &second,
            &sealed[..],
            b"aad",
            HsmError::AuthenticationFailed,
        ),
        (
            "changed tag",
            &first,
            &changed[..],
            b"aad",
            HsmError::AuthenticationFailed,
        ),
        (
            "short",
            &first,
            &sealed[..27],
            b"aad",
            HsmError::AuthenticationFailed,
        ),
        (
            "empty",
            &first,
            &[][..],
            b"aad",
            HsmError::AuthenticationFailed,
        ),
        (
            "no such key",
            &none,
            &sealed[..],
            b"aad",
            HsmError::ObjectNotFound,
        ),
    ] {
        assert_eq!(unseal(&hsm, object, sealed, aad), Err(want), "{name}");
    }
    assert!(matches!(
        ask(
            &hsm,
            Request::Find {
                name: "nope".into()
            }
        ),
        Ok(Answer::Key(None))
    ));
}

#[test]
fn wrong_passphrase_and_damage_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    create(&open(&path, "secret").unwrap(), "demo");
    assert!(matches!(
        open(&path, "other"),
        Err(KeyfileError::WrongPassphrase(_))
    ));
    let whole = std::fs::read(&path).unwrap();
    for at in 0..whole.len() {
        // The proof (28 bytes behind header and checksum) cannot be told from a wrong passphrase.
        let in_proof = (48..76).contains(&at);
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        match open(&path, "secret")
            .map(|_| ())
            .expect_err("a changed byte is found")
        {
            KeyfileError::NotAKeyfile(_) => assert!(at < 8, "byte {at}"),
            KeyfileError::WrongPassphrase(_) => assert!(in_proof, "byte {at}"),
            KeyfileError::Damaged { .. } => assert!(at >= 8 && !in_proof, "byte {at}"),
            other => panic!("byte {at}: {other}"),
        }
    }
    for cut in 0..whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        assert!(open(&path, "secret").is_err(), "cut to {cut}");
    }
}

#[test]
fn backup_and_restore_prove_the_file_first() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("keys"), folder.path().join("copy"));
    let hsm = open(&path, "secret").unwrap();
    let object = create(&hsm, "demo").versions[0].object.clone();
    let sealed = seal(&hsm, &object, b"x", b"");
    let secret = pass("secret");
    assert!(matches!(
        keyfile::backup(&path, &pass("no"), arena(), &copy),
        Err(KeyfileError::WrongPassphrase(_))
    ));
    assert_eq!(keyfile::backup(&path, &secret, arena(), &copy).unwrap(), 1);
    assert!(matches!(
        keyfile::backup(&path, &secret, arena(), &copy),
        Err(KeyfileError::Exists(_))
    ));
    let restore = |force| keyfile::restore(&copy, &secret, arena(), &path, force);
    assert!(matches!(restore(true), Err(KeyfileError::InUse(_))));
    drop(hsm);
    std::fs::write(&path, b"lost").unwrap();
    assert!(matches!(restore(false), Err(KeyfileError::Exists(_))));
    assert_eq!(restore(true).unwrap(), 1);
    assert_eq!(
        unseal(&open(&path, "secret").unwrap(), &object, &sealed, b"").unwrap(),
        b"x"
    );
}

/// The child of the next test: creates keys until it is killed, and notes each that was answered.
#[test]
fn child_that_creates_keys() {
    let Some(folder) = std::env::var_os("KMS_TEST_KEYFILE_DIR") else {
        return;
    };
    let folder = Path::new(&folder);
    let hsm = open(&folder.join("keys"), "secret").unwrap();
    let mut notes = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("notes"))
        .unwrap();
    for n in 0.. {
        let record = create(&hsm, &format!("{}-{n}", std::process::id()));
        let object = &record.versions[0].object;
        let sealed = seal(&hsm, object, record.name.as_bytes(), b"");
        let hex: String = sealed.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(notes, "{} {} {hex}", record.name, object.0).unwrap();
    }
}

#[test]
fn kill_9_loses_no_answered_create() {
    let folder = tempfile::tempdir().unwrap();
    let notes = folder.path().join("notes");
    let lines = || {
        std::fs::read_to_string(&notes)
            .unwrap_or_default()
            .lines()
            .count()
    };
    for round in 1..=4 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "hsm::embedded::tests::child_that_creates_keys"])
            .env("KMS_TEST_KEYFILE_DIR", folder.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let (goal, limit) = (lines() + round, Instant::now() + Duration::from_secs(30));
        while lines() < goal {
            assert!(Instant::now() < limit, "the child creates nothing");
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let hsm = open(&folder.path().join("keys"), "secret").unwrap();
    let text = std::fs::read_to_string(&notes).unwrap();
    let whole = text.lines().filter(|line| line.split(' ').count() == 3);
    for line in whole.take(text.matches('\n').count()) {
        let parts: Vec<&str> = line.split(' ').collect();
        let sealed: Vec<u8> = (0..parts[2].len() / 2)
            .map(|at| u8::from_str_radix(&parts[2][2 * at..2 * at + 2], 16).unwrap())
            .collect();
        let object = ObjectId(parts[1].into());
        assert_eq!(
            unseal(&hsm, &object, &sealed, b"").unwrap(),
            parts[0].as_bytes()
        );
    }
}
