//! Bad files, shared files, copied files.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::super::cipher::Cost;
use super::super::disk::beside;
use super::super::format::{FormatError, HEADER_BYTES, Header, decode_payload};
use super::*;

/// Splits an opened file's bytes off a key file with the keys "a" and "b".
fn good_file() -> (tempfile::TempDir, PathBuf, Vec<u8>) {
    let (folder, file) = place();
    let hsm = open(&file).unwrap();
    create(&hsm, "a");
    create(&hsm, "b");
    drop(hsm);
    let bytes = fs::read(&file).unwrap();
    (folder, file, bytes)
}

fn put(file: &Path, bytes: &[u8]) {
    fs::write(file, bytes).unwrap();
    fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
}

fn header_with(cost: Cost, good: &[u8]) -> Vec<u8> {
    let header = Header {
        cost,
        salt: [1; 16],
        nonce: [2; 12],
    };
    let payload_bytes = good.len() - HEADER_BYTES - TAG_BYTES;
    [&header.encode(payload_bytes)[..], &good[HEADER_BYTES..]].concat()
}

#[test]
#[rustfmt::skip] // A row a line.
fn bad_files_are_told_apart_and_the_remedy_is_named() {
    let (_folder, file, good) = good_file();
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let cost = |memory_kib, passes, lanes| {
        header_with(
            Cost {
                memory_kib,
                passes,
                lanes,
            },
            &good,
        )
    };
    for (name, bytes, part) in [
        ("empty", Vec::new(), "the file is empty"),
        ("another kind of file", b"-----BEGIN CERTIFICATE-----".to_vec(), "not a key file"),
        ("magic changed", with(0, b'X'), "not a key file"),
        ("later format", with(9, 2), "has format 2, this release reads 1"),
        ("memory changed", with(10, 1), "header is damaged"),
        ("salt changed", with(22, good[22] ^ 1), "header is damaged"),
        ("header's digest changed", with(HEADER_BYTES - 1, good[HEADER_BYTES - 1] ^ 1), "header is damaged"),
        ("one byte more", [&good[..], &[0]].concat(), "the file is damaged: it has"),
        ("payload changed", with(HEADER_BYTES, good[HEADER_BYTES] ^ 1), "wrong passphrase, or the file is damaged"),
        ("header of another file", cost(8, 1, 1), "wrong passphrase, or the file is damaged"),
        ("memory of 4 TiB", cost(u32::MAX, 1, 1), "4294967295 KiB, 1 passes"),
        ("memory over the bound", cost(256 * 1024 + 1, 1, 1), "262145 KiB"),
        ("no memory", cost(0, 1, 1), "0 KiB"),
        ("too little memory for the lanes", cost(15, 1, 2), "15 KiB, 1 passes, 2 lanes"),
        ("passes without end", cost(8, u32::MAX, 1), "4294967295 passes"),
        ("no passes", cost(8, 0, 1), "0 passes"),
        ("lanes without end", cost(8, 1, u32::MAX), "4294967295 lanes"),
        ("no lanes", cost(8, 1, 0), "0 lanes"),
        ("longer than any", vec![b'C'; super::super::format::FILE_BYTES_MAX + 1], "the file is damaged"),
    ] {
        put(&file, &bytes);
        let error = open(&file).unwrap_err().to_string();
        assert!(error.contains(part), "{name}: {error}");
        assert!(
            error.starts_with("kms.hsm.embedded.file: ") && error.contains("master.keys"),
            "{name}: {error}"
        );
        assert_eq!(
            fs::read(&file).unwrap(),
            bytes,
            "{name}: the file was changed"
        );
    }
    put(&file, &good);
    assert!(find(&open(&file).unwrap(), "b").is_some(), "the control");
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let (_folder, file, good) = good_file();
    for len in 0..good.len() {
        put(&file, &good[..len]);
        let error = open(&file).unwrap_err();
        let fits = match error {
            KeyFileError::Format {
                why: FormatError::Empty,
                ..
            } => len == 0,
            KeyFileError::Format {
                why: FormatError::Length { want, have },
                ..
            } => {
                have == len
                    && want
                        == if len < HEADER_BYTES {
                            HEADER_BYTES
                        } else {
                            good.len()
                        }
            }
            _ => false,
        };
        assert!(fits, "{len} bytes: {error}");
    }
}

#[test]
fn any_flipped_bit_is_refused() {
    let (_folder, file, good) = good_file();
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        put(&file, &bytes);
        let error = open(&file).unwrap_err();
        let fits = match error {
            KeyFileError::Format { .. } => at < HEADER_BYTES,
            KeyFileError::Seal { .. } => at >= HEADER_BYTES,
            _ => false,
        };
        assert!(fits, "byte {at}: {error}");
    }
}

#[test]
fn passphrase_mode_and_kind_are_checked() {
    let (folder, file, _) = good_file();
    let wrong = open_as(&file, &SecretString::new("wrong horse".into()))
        .unwrap_err()
        .to_string();
    assert!(
        wrong.contains("wrong passphrase") && wrong.contains("kms.hsm.embedded.passphrase"),
        "{wrong}"
    );
    assert!(!wrong.contains("horse"), "{wrong}");
    let none = open_as(&file, &SecretString::default()).unwrap_err();
    assert!(matches!(none, KeyFileError::EmptyPassphrase), "{none}");
    for mode in [0o644, 0o640, 0o604, 0o620] {
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        let error = open(&file).unwrap_err().to_string();
        assert!(
            error.contains("chmod 600 ") && error.contains(&format!("{mode:04o}")),
            "{error}"
        );
    }
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    create(&open(&file).unwrap(), "c");
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o7777,
        0o600
    );
    let kind = open(folder.path()).unwrap_err();
    assert!(matches!(kind, KeyFileError::NotAFile { .. }), "{kind}");
    let nowhere = open(&folder.path().join("missing/master.keys"))
        .unwrap_err()
        .to_string();
    assert!(nowhere.contains("create the folder first"), "{nowhere}");
}

#[test]
fn a_link_is_followed_and_stays_a_link() {
    let (folder, file, _) = good_file();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    create(&open(&link).unwrap(), "c");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(find(&open(&file).unwrap(), "c").is_some());
}

#[test]
fn two_cannot_have_the_file_at_once() {
    let (_folder, file, _) = good_file();
    let first = open(&file).unwrap();
    let error = open(&file).unwrap_err().to_string();
    assert!(
        error.contains(&format!("in use by process {}", std::process::id())),
        "{error}"
    );
    drop(first);
    open(&file).unwrap();
}

#[test]
fn backups_open_and_nothing_is_overwritten_unasked() {
    let (folder, file, good) = good_file();
    let (copy, wrong) = (
        folder.path().join("copy"),
        SecretString::new("wrong".into()),
    );
    let hsm = open(&file).unwrap();
    assert!(matches!(
        backup(&file, &wrong, &copy),
        Err(KeyFileError::Seal { .. })
    ));
    assert!(!copy.exists(), "what does not open is not copied");
    backup(&file, &passphrase(), &copy).unwrap();
    assert_eq!(fs::read(&copy).unwrap(), good);
    assert_eq!(
        fs::metadata(&copy).unwrap().permissions().mode() & 0o7777,
        0o600
    );
    create(&hsm, "later");
    assert!(matches!(
        backup(&file, &passphrase(), &copy),
        Err(KeyFileError::Exists { .. })
    ));
    assert_eq!(fs::read(&copy).unwrap(), good);
    let busy = restore(&copy, &passphrase(), &file, true).unwrap_err();
    assert!(matches!(busy, KeyFileError::InUse { .. }), "{busy}");
    drop(hsm);
    let later = fs::read(&file).unwrap();
    let unasked = restore(&copy, &passphrase(), &file, false)
        .unwrap_err()
        .to_string();
    assert!(unasked.contains("not overwritten"), "{unasked}");
    assert!(matches!(
        restore(&copy, &wrong, &file, true),
        Err(KeyFileError::Seal { .. })
    ));
    assert_eq!(fs::read(&file).unwrap(), later);
    for round in ["no .old yet", "an .old in the way"] {
        put(&file, &later);
        restore(&copy, &passphrase(), &file, true).unwrap();
        assert_eq!(fs::read(&file).unwrap(), good, "{round}");
        assert_eq!(fs::read(beside(&file, ".old")).unwrap(), later, "{round}");
    }
    fs::remove_file(&file).unwrap();
    assert!(matches!(
        backup(&file, &passphrase(), &copy),
        Err(KeyFileError::Missing { .. })
    ));
    restore(&copy, &passphrase(), &file, false).unwrap();
    assert!(find(&open(&file).unwrap(), "a").is_some());
}

#[test]
#[rustfmt::skip] // A row a line.
fn an_inconsistent_payload_is_refused() {
    let number = |number: u32| number.to_be_bytes().to_vec();
    let version = |number_: u32, state: u8| {
        [
            number(number_),
            vec![b'f'; 32],
            vec![0; 8],
            vec![state],
            vec![7; 32],
        ]
        .concat()
    };
    let set = |name: &[u8], settings: [u8; 9], versions: &[Vec<u8>]| {
        let len = u16::try_from(name.len()).unwrap().to_be_bytes();
        let count = u32::try_from(versions.len()).unwrap();
        [&len[..], name, &settings, &number(count), &versions.concat()].concat()
    };
    let key = |name: &[u8], versions: &[Vec<u8>]| set(name, [0; 9], versions);
    let two = |decrypt: u8, encrypt: u8, delete: u8| {
        let settings = [0, 0, 0, decrypt, 0, 0, 0, encrypt, delete];
        let versions = [version(1, 2), version(2, 2)];
        [number(1), set(b"a", settings, &versions)].concat()
    };
    let good = key(b"a", &[version(1, 2), version(2, 2)]);
    for (name, payload, want) in [
        ("nothing", Vec::new(), Some("it ends too early")),
        ("no keys", number(0), None),
        ("one key", [number(1), good.clone()].concat(), None),
        ("left over", [number(0), vec![0]].concat(), Some("bytes left over")),
        ("fewer than counted", [number(u32::MAX), good.clone()].concat(), Some("it ends too early")),
        ("twice", [number(2), good.clone(), good].concat(), Some("a name twice")),
        ("no versions", [number(1), key(b"a", &[])].concat(), Some("a key without versions")),
        ("version 0", [number(1), key(b"a", &[version(0, 2)])].concat(), Some("versions out of order")),
        ("order", [number(1), key(b"a", &[version(2, 2), version(1, 2)])].concat(), Some("versions out of order")),
        ("state 0", [number(1), key(b"a", &[version(1, 0)])].concat(), Some("an unknown state")),
        ("state 6", [number(1), key(b"a", &[version(1, 6)])].concat(), Some("an unknown state")),
        ("not UTF-8", [number(1), key(b"\xff", &[version(1, 2)])].concat(), Some("a name that is not UTF-8")),
        ("settings", two(2, 2, 1), None),
        ("deletion 2", two(1, 0, 2), Some("an unknown deletion setting")),
        ("deletion 255", two(1, 0, 255), Some("an unknown deletion setting")),
        ("decryption too new", two(3, 0, 0), Some("minimum versions that cannot be")),
        ("encryption too new", two(1, 3, 0), Some("minimum versions that cannot be")),
        ("wrap what cannot be unwrapped", two(2, 1, 0), Some("minimum versions that cannot be")),
        ("long name", [number(1), key(&[b'n'; 513], &[version(1, 2)])].concat(), Some("a name too long")),
    ] {
        let got = decode_payload(&payload, |key| arena().store(key)).err();
        let want = want.map(|what| {
            format!(
                "{:?}",
                super::super::format::PayloadError::<crate::secret::StoreError>::Format(FormatError::Payload(
                    what
                ))
            )
        });
        assert_eq!(got.map(|error| format!("{error:?}")), want, "{name}");
    }
}
