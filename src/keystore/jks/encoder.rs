//! Writes JKS and JCEKS, for tests only: the reader's mirror, able to write what Java would not.

#![allow(clippy::unwrap_used, clippy::expect_used, dead_code)]

use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockEncryptMut, KeyIvInit};
use md5::Md5;
use sha1::{Digest, Sha1};

pub const JKS: u32 = 0xfeed_feed;
pub const JCEKS: u32 = 0xcece_cece;

/// One entry to write.
pub enum Entry<'a> {
    Key {
        alias: &'a [u8],
        protected: Vec<u8>,
        chain: Vec<&'a [u8]>,
    },
    Trusted {
        alias: &'a [u8],
        certificate: &'a [u8],
    },
    Secret {
        alias: &'a [u8],
    },
}

/// The file, digest included.
pub fn store(magic: u32, version: u32, entries: &[Entry<'_>], password: &str) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(magic.to_be_bytes());
    out.extend(version.to_be_bytes());
    out.extend(u32::try_from(entries.len()).unwrap().to_be_bytes());
    for entry in entries {
        let (tag, alias) = match entry {
            Entry::Key { alias, .. } => (1u32, alias),
            Entry::Trusted { alias, .. } => (2, alias),
            Entry::Secret { alias } => (3, alias),
        };
        out.extend(tag.to_be_bytes());
        out.extend(u16::try_from(alias.len()).unwrap().to_be_bytes());
        out.extend(*alias);
        out.extend(1_700_000_000_000u64.to_be_bytes());
        match entry {
            Entry::Key {
                protected, chain, ..
            } => {
                block(&mut out, protected);
                out.extend(u32::try_from(chain.len()).unwrap().to_be_bytes());
                for der in chain {
                    certificate(&mut out, version, der);
                }
            }
            Entry::Trusted {
                certificate: der, ..
            } => certificate(&mut out, version, der),
            Entry::Secret { .. } => out.extend(b"\xac\xed\x00\x05"),
        }
    }
    out.extend([0; 20]);
    sign(&mut out, password);
    out
}

/// Makes the last twenty bytes the right digest of what is before them.
pub fn sign(file: &mut [u8], password: &str) {
    let Some((body, digest)) = file.split_last_chunk_mut::<20>() else {
        return;
    };
    let sum = Sha1::new()
        .chain_update(utf16be(password))
        .chain_update("Mighty Aphrodite")
        .chain_update(body)
        .finalize();
    digest.copy_from_slice(&sum);
}

/// A PKCS#8 key under JKS's protector.
pub fn protect_jks(key: &[u8], password: &str) -> Vec<u8> {
    let password = utf16be(password);
    let salt = [7u8; 20];
    let mut data = salt.to_vec();
    let mut block: [u8; 20] = salt;
    for piece in key.chunks(20) {
        block = Sha1::new()
            .chain_update(&password)
            .chain_update(block)
            .finalize()
            .into();
        data.extend(piece.iter().zip(block).map(|(byte, mask)| byte ^ mask));
    }
    data.extend(
        Sha1::new()
            .chain_update(&password)
            .chain_update(key)
            .finalize(),
    );
    let oid = [
        0x06, 10, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x2a, 0x02, 0x11, 0x01, 0x01, 0x05, 0,
    ];
    tlv(0x30, &[tlv(0x30, &oid), tlv(0x04, &data)].concat())
}

/// A PKCS#8 key under JCEKS's protector; `declared` iterations are written, `done` are done.
pub fn protect_jceks(
    key: &[u8],
    password: &str,
    salt: [u8; 8],
    done: u32,
    declared: u32,
) -> Vec<u8> {
    let mut halves = salt;
    if salt[..4] == salt[4..] {
        halves[..4].reverse();
    }
    let mut derived = Vec::new();
    for half in halves.chunks(4) {
        let mut d = half.to_vec();
        for _ in 0..done {
            d = Md5::new()
                .chain_update(&d)
                .chain_update(password)
                .finalize()
                .to_vec();
        }
        derived.extend(d);
    }
    let cipher =
        cbc::Encryptor::<des::TdesEde3>::new_from_slices(&derived[..24], &derived[24..]).unwrap();
    let mut data = key.to_vec();
    data.resize(key.len() + 8, 0);
    let data = cipher
        .encrypt_padded_mut::<Pkcs7>(&mut data, key.len())
        .unwrap()
        .to_vec();
    let oid = [
        0x06, 9, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x2a, 0x02, 0x13, 0x01,
    ];
    let mut count = vec![0];
    count.extend(declared.to_be_bytes());
    let parameters = tlv(0x30, &[tlv(0x04, &salt), tlv(0x02, &count)].concat());
    tlv(
        0x30,
        &[
            tlv(0x30, &[&oid[..], &parameters].concat()),
            tlv(0x04, &data),
        ]
        .concat(),
    )
}

fn certificate(out: &mut Vec<u8>, version: u32, der: &[u8]) {
    if version != 1 {
        out.extend(b"\0\x05X.509");
    }
    block(out, der);
}

fn block(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
    out.extend(bytes);
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x82, length[0], length[1]], content].concat()
}

fn utf16be(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}
