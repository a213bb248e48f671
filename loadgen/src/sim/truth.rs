//! The ground-truth log: what the simulated HSM really did, one JSON line an Encrypt or Decrypt, so that
//! tests can score what clients got.
//!
//! Must never be true: key bytes or a plaintext in it; only digests are. Lines are gathered in memory
//! and written by [`Truth::flush`], before the answers they tell of leave.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use kms::wire::{Out as _, put_decimal};
use ring::digest;

/// SHA-256 of nonce, ciphertext and tag together, and of the plaintext.
#[derive(Clone, Copy)]
pub struct Digests {
    /// Of nonce | ciphertext | tag: what clients hold.
    pub ciphertext: digest::Digest,
    /// Of the plaintext.
    pub plaintext: Option<digest::Digest>,
}

impl Digests {
    /// Of an operation that succeeded (`plaintext`) or did not.
    pub fn of(sealed: [&[u8]; 3], plaintext: Option<&[u8]>) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in sealed {
            context.update(part);
        }
        Self {
            ciphertext: context.finish(),
            plaintext: plaintext.map(|plain| digest::digest(&digest::SHA256, plain)),
        }
    }
}

/// One line.
pub struct Line<'a> {
    /// Microseconds since 1970.
    pub unix_us: i64,
    /// Number of the connection, from 1.
    pub connection: u64,
    /// Number of the message on it, from 1.
    pub message: u64,
    /// Unique Batch Item ID as the client sent it.
    pub item: &'a [u8],
    /// `encrypt` or `decrypt`.
    pub operation: &'static str,
    /// Unique Identifier and name of the key.
    pub key: Option<(&'a str, Option<&'a str>)>,
    /// Digests.
    pub digests: Digests,
    /// Result Reason; `None`: success.
    pub reason: Option<u32>,
    /// The fault that the answer suffered.
    pub fault: Option<&'static str>,
}

/// An open log.
pub struct Truth {
    file: File,
    waiting: Vec<u8>,
}

impl Truth {
    /// Starts a new file; an older one is replaced.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: File::create(path)?,
            waiting: Vec::new(),
        })
    }

    /// Adds a line, not yet written.
    pub fn add(&mut self, line: &Line<'_>) {
        let out = &mut self.waiting;
        out.put(b"{\"unix_us\":");
        put_decimal(out, u64::try_from(line.unix_us).unwrap_or(0));
        out.put(b",\"connection\":");
        put_decimal(out, line.connection);
        out.put(b",\"message\":");
        put_decimal(out, line.message);
        out.put(b",\"item\":\"");
        put_hex(out, line.item);
        out.put(b"\",\"op\":\"");
        out.put(line.operation.as_bytes());
        out.put(b"\",\"key\":");
        put_text(out, line.key.map(|(uid, _)| uid));
        out.put(b",\"name\":");
        put_text(out, line.key.and_then(|(_, name)| name));
        out.put(b",\"ciphertext_sha256\":\"");
        put_hex(out, line.digests.ciphertext.as_ref());
        out.put(b"\",\"plaintext_sha256\":");
        match &line.digests.plaintext {
            Some(digest) => {
                out.put(b"\"");
                put_hex(out, digest.as_ref());
                out.put(b"\"");
            }
            None => out.put(b"null"),
        }
        out.put(b",\"reason\":");
        match line.reason {
            Some(reason) => put_decimal(out, reason.into()),
            None => out.put(b"null"),
        }
        out.put(b",\"fault\":");
        put_text(out, line.fault);
        out.put(b"}\n");
    }

    /// Writes what was added.
    pub fn flush(&mut self) -> io::Result<()> {
        let written = self.file.write_all(&self.waiting);
        self.waiting.clear();
        written
    }
}

fn put_text(out: &mut Vec<u8>, text: Option<&str>) {
    // Writing to a Vec cannot fail, and a text is always JSON.
    let _ = serde_json::to_writer(out, &text);
}

fn put_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
        out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lines_are_json_and_tell_digests_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("truth.jsonl");
        let mut truth = Truth::create(&path).unwrap();
        for (reason, plain) in [(None, Some(&b"plain"[..])), (Some(10), None)] {
            truth.add(&Line {
                unix_us: 5,
                connection: 1,
                message: 2,
                item: &[0, 0xff],
                operation: "decrypt",
                key: Some(("uid", Some("na\"me"))),
                digests: Digests::of([b"n", b"c", b"t"], plain),
                reason,
                fault: reason.map(|_| "wrong-tag"),
            });
        }
        truth.flush().unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let hex = |bytes: &[u8]| {
            let digest = digest::digest(&digest::SHA256, bytes);
            let mut out = Vec::new();
            put_hex(&mut out, digest.as_ref());
            String::from_utf8(out).unwrap()
        };
        assert_eq!(lines[0]["ciphertext_sha256"], hex(b"nct"));
        assert_eq!(lines[0]["plaintext_sha256"], hex(b"plain"));
        assert_eq!(lines[0]["name"], "na\"me");
        assert_eq!(lines[0]["item"], "00ff");
        assert_eq!(
            (&lines[1]["reason"], &lines[1]["fault"]),
            (&10.into(), &"wrong-tag".into())
        );
        assert!(lines[1]["plaintext_sha256"].is_null() && !text.contains("plain\""));
    }
}
