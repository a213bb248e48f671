//! Data keys wrapped beforehand: plaintexts made from a seed, the server's ciphertexts, and the file that
//! keeps them.
//!
//! The file is text: a line of JSON that says of which server, key and seed it is, a line for each ciphertext,
//! and a line of JSON with the digest of all before. A plaintext is the SHA-512 of the seed and its
//! number, cut to length, so the file needs none and every plaintext that comes back can be checked.
//!
//! Must never be true: a file that is cut, changed or of another key and taken for a good one. These data keys are
//! for tests: whoever has the file has them. Called by [`super::job`] and the command `prepare`.

use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use kms::wire::base64;
use ring::digest;
use serde::{Deserialize, Serialize};

const FORMAT: &str = "kms-loadgen ciphertexts 1";
/// Of a file, and of the ciphertexts of a run.
const BYTES_MAX: u64 = 3 << 30;
/// Bytes of a data key.
pub const PLAINTEXT_BYTES_MAX: u16 = 64;
/// Data keys of a run.
pub const KEYS_MAX: u32 = 20_000_000;

/// What the data keys of a run are of.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    format: String,
    /// Address of the server that wrapped them.
    pub server: String,
    /// SHA-256 of the certificate that it showed, hexadecimal.
    pub certificate_sha256: String,
    /// Mount of its Transit engine.
    pub mount: String,
    /// Name of the master key.
    pub transit_key: String,
    /// Of the plaintexts.
    pub seed: u64,
    /// Bytes of each plaintext.
    pub plaintext_bytes: u16,
    /// How many there are.
    pub keys: u32,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct End {
    sha256: String,
}

/// Plaintexts and ciphertexts by number.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    origin: Origin,
    /// In base64, each as long as the other.
    plaintexts: Vec<u8>,
    plaintext_chars: usize,
    ciphertexts: Vec<u8>,
    /// Where each ciphertext ends.
    ends: Vec<u32>,
}

/// Why there are no data keys.
#[derive(Debug)]
#[non_exhaustive]
pub enum PreparedError {
    /// The file cannot be read or written.
    Io(PathBuf, io::Error),
    /// It is no such file, or not all of it is there.
    Broken(PathBuf, String),
    /// More than is kept.
    TooMany,
}

impl std::fmt::Display for PreparedError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Broken(path, why) => write!(
                f,
                "{} is no whole file of ciphertexts ({why}): make it anew with `kms-loadgen prepare`",
                path.display()
            ),
            Self::TooMany => write!(
                f,
                "too many ciphertexts: at most {KEYS_MAX}, and {} GiB of them",
                BYTES_MAX >> 30
            ),
        }
    }
}

impl std::error::Error for PreparedError {}

impl Origin {
    /// Of no data key yet.
    pub fn new(server: &str, certificate: &[u8], mount: &str, transit_key: &str) -> Self {
        Self {
            format: FORMAT.to_owned(),
            server: server.to_owned(),
            certificate_sha256: hex(digest::digest(&digest::SHA256, certificate).as_ref()),
            mount: mount.to_owned(),
            transit_key: transit_key.to_owned(),
            seed: 0,
            plaintext_bytes: 32,
            keys: 0,
        }
    }
}

impl Prepared {
    /// `keys` plaintexts from `seed`, without ciphertexts yet: [`Prepared::push`] each.
    pub fn plan(mut origin: Origin, seed: u64, keys: u32, plaintext_bytes: u16) -> Self {
        (origin.seed, origin.keys, origin.plaintext_bytes) = (seed, keys, plaintext_bytes);
        let bytes = usize::from(plaintext_bytes.clamp(1, PLAINTEXT_BYTES_MAX));
        let plaintext_chars = bytes.div_ceil(3) * 4;
        let mut plaintexts = Vec::with_capacity(plaintext_chars * keys as usize);
        for number in 0..keys {
            let mut context = digest::Context::new(&digest::SHA512);
            context.update(b"kms-loadgen data key");
            context.update(&seed.to_be_bytes());
            context.update(&number.to_be_bytes());
            let whole = context.finish();
            base64::put(
                &mut plaintexts,
                whole.as_ref().get(..bytes).unwrap_or_default(),
            );
        }
        Self {
            origin,
            plaintexts,
            plaintext_chars,
            ciphertexts: Vec::new(),
            ends: Vec::with_capacity(keys as usize),
        }
    }

    /// The next plaintext's ciphertext.
    pub fn push(&mut self, ciphertext: &str) -> Result<(), PreparedError> {
        self.ciphertexts.extend_from_slice(ciphertext.as_bytes());
        let end = u32::try_from(self.ciphertexts.len());
        self.ends.push(end.map_err(|_| PreparedError::TooMany)?);
        Ok(())
    }

    /// How many have a ciphertext.
    pub fn len(&self) -> u32 {
        u32::try_from(self.ends.len()).unwrap_or(u32::MAX)
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// What they are of.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// A plaintext in base64; empty beyond the last.
    pub fn plaintext(&self, number: u32) -> &[u8] {
        let at = number as usize * self.plaintext_chars;
        self.plaintexts
            .get(at..at + self.plaintext_chars)
            .unwrap_or_default()
    }

    /// A ciphertext, as text; empty beyond the last.
    pub fn ciphertext(&self, number: u32) -> &[u8] {
        let number = number as usize;
        let begin = match number {
            0 => 0,
            _ => self.ends.get(number - 1).copied().unwrap_or(0),
        };
        let end = self.ends.get(number).copied().unwrap_or(begin);
        self.ciphertexts
            .get(begin as usize..end as usize)
            .unwrap_or_default()
    }

    /// Writes the file: a new one, then in the place of the old.
    pub fn write(&self, path: &Path) -> Result<(), PreparedError> {
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let new = PathBuf::from(new);
        let written = self.write_new(&new).and_then(|()| fs::rename(&new, path));
        written.map_err(|error| {
            // What there is of it is of no use.
            let _ = fs::remove_file(&new);
            PreparedError::Io(path.to_owned(), error)
        })
    }

    fn write_new(&self, path: &Path) -> io::Result<()> {
        // One that is there is what a process left that was killed.
        if let Err(error) = fs::remove_file(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut options = OpenOptions::new();
        // Seed and number make the data keys: whoever reads the file has them.
        let file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        let mut out = Digesting {
            out: BufWriter::new(file),
            digest: digest::Context::new(&digest::SHA256),
        };
        let mut origin = self.origin.clone();
        origin.keys = self.len();
        serde_json::to_writer(&mut out, &origin)?;
        out.write_all(b"\n")?;
        for number in 0..self.len() {
            out.write_all(self.ciphertext(number))?;
            out.write_all(b"\n")?;
        }
        let Digesting { mut out, digest } = out;
        let sha256 = hex(digest.finish().as_ref());
        serde_json::to_writer(&mut out, &End { sha256 })?;
        out.write_all(b"\n")?;
        out.into_inner()?.sync_all()
    }

    /// Reads a file and finds out whether it is whole.
    pub fn read(path: &Path) -> Result<Self, PreparedError> {
        let io = |error| PreparedError::Io(path.to_owned(), error);
        let broken = |why: &str| PreparedError::Broken(path.to_owned(), why.to_owned());
        if fs::metadata(path).map_err(io)?.len() > BYTES_MAX {
            return Err(PreparedError::TooMany);
        }
        let bytes = fs::read(path).map_err(io)?;
        let whole = bytes
            .strip_suffix(b"\n")
            .ok_or_else(|| broken("it ends within a line"))?;
        let last_at = whole
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let (front, last) = whole.split_at(last_at);
        let (head, ciphertexts) = split_line(front).ok_or_else(|| broken("it is too short"))?;
        let origin: Origin =
            serde_json::from_slice(head).map_err(|error| broken(&error.to_string()))?;
        if origin.format != FORMAT {
            return Err(broken("its format is another"));
        }
        let end: End = serde_json::from_slice(last).map_err(|_| broken("its end is missing"))?;
        if end.sha256 != hex(digest::digest(&digest::SHA256, front).as_ref()) {
            return Err(broken("its digest is wrong"));
        }
        let sizes_ok = (1..=KEYS_MAX).contains(&origin.keys)
            && (1..=PLAINTEXT_BYTES_MAX).contains(&origin.plaintext_bytes);
        if !sizes_ok {
            return Err(broken("its sizes are out of range"));
        }
        let (seed, keys, bytes) = (origin.seed, origin.keys, origin.plaintext_bytes);
        let mut prepared = Self::plan(origin, seed, keys, bytes);
        let mut rest = ciphertexts;
        while let Some((line, more)) = split_line(rest) {
            prepared.push(std::str::from_utf8(line).map_err(|_| broken("not UTF-8"))?)?;
            rest = more;
        }
        if prepared.len() != keys {
            return Err(broken("its number of ciphertexts is another than it says"));
        }
        Ok(prepared)
    }
}

/// The first line without its end, and what follows.
fn split_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|byte| *byte == b'\n')?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

struct Digesting<W> {
    out: W,
    digest: digest::Context,
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.digest.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn three() -> Prepared {
        let origin = Origin::new("127.0.0.1:8443", b"certificate", "transit", "demo");
        let mut prepared = Prepared::plan(origin, 7, 3, 32);
        for text in ["vault:v1:AAAA", "vault:v1:BB==", "vault:v2:C"] {
            prepared.push(text).unwrap();
        }
        prepared
    }

    #[test]
    fn plaintexts_differ_by_number_and_seed_and_never_change() {
        let three = three();
        assert_eq!(
            three.plaintext(0),
            b"4w+bB+Nk8YOC3LCQkr6yempsHZNrRABCKqkVZ3o3zt8=",
            "files of earlier versions stay good"
        );
        let other = Prepared::plan(three.origin().clone(), 8, 3, 16);
        assert_eq!(
            (other.plaintext(0).len(), other.plaintext(3)),
            (24, &b""[..])
        );
        let all = [
            three.plaintext(0),
            three.plaintext(1),
            three.plaintext(2),
            other.plaintext(0),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all[at + 1..].iter().all(|other| other != one), "{at}");
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let three = three();
        three.write(&path).unwrap();
        let read = Prepared::read(&path).unwrap();
        assert_eq!(read, three);
        assert_eq!(
            (read.ciphertext(1), read.ciphertext(2), read.ciphertext(3)),
            (&b"vault:v1:BB=="[..], &b"vault:v2:C"[..], &b""[..])
        );
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "no other file is left"
        );
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "nobody else reads it");
    }

    #[test]
    fn a_file_that_is_not_whole_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        three().write(&path).unwrap();
        let good = fs::read(&path).unwrap();
        for cut in [0, 1, 10, good.len() / 2, good.len() - 1] {
            fs::write(&path, &good[..cut]).unwrap();
            let error = Prepared::read(&path).unwrap_err().to_string();
            assert!(error.contains("prepare"), "{cut}: {error}");
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert!(Prepared::read(&path).is_err(), "byte {at} changed");
        }
        let missing = Prepared::read(&folder.path().join("none"))
            .unwrap_err()
            .to_string();
        assert!(missing.contains("No such file"), "{missing}");
    }
}
