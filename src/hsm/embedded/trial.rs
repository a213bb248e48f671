//! A wrap and an unwrap with a key of the key file, without a server: for `kms check`.
//!
//! Must never be true: the file changed or locked, so that this may be done beside the server that has it.

use std::path::Path;

use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::format::Entry;
use super::{KeyFileError, cipher, disk, keyfile, put_master};
use crate::hsm::KeyState;
use crate::hsm::store::Store;
use crate::limits::NONCE_BYTES;
use crate::secret::{SecretKey, SecretString};

const VALUE_BYTES: usize = 32;

/// What became of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Tried {
    /// There is no key file yet; the first start makes it.
    NoFile,
    /// It opens, and has no such key, or none that is active.
    NoKey {
        /// Keys in it.
        keys: usize,
    },
    /// This key, in this version, does what it should.
    Works {
        /// Its name.
        name: String,
        /// Its version.
        version: u32,
    },
    /// It does not.
    Fails {
        /// Its name.
        name: String,
    },
}

/// Opens `path` and has its key `name`, or any that is active, wrap a random value and unwrap it again.
pub fn try_file(
    path: &Path,
    passphrase: &SecretString,
    store: &Store,
    name: Option<&str>,
) -> Result<Tried, KeyFileError> {
    let Some(bytes) = disk::read(path)? else {
        return Ok(Tried::NoFile);
    };
    let put = |bytes: &[u8]| put_master(store, bytes);
    let entries = keyfile::entries(path, &bytes, passphrase, store.arena(), &put)?;
    let is_wanted = |entry: &&Entry| name.is_none_or(|name| *entry.record.name == *name);
    let found = entries.iter().filter(is_wanted).find_map(newest_active);
    let Some((entry, version, key)) = found else {
        return Ok(Tried::NoKey {
            keys: entries.len(),
        });
    };
    let name = entry.record.name.to_string();
    Ok(if does(key)? {
        Tried::Works { name, version }
    } else {
        Tried::Fails { name }
    })
}

fn newest_active(entry: &Entry) -> Option<(&Entry, u32, &SecretKey)> {
    let versions = entry.record.versions.iter().zip(&entry.keys).rev();
    let mut active = versions.filter(|(version, _)| version.state == KeyState::Active);
    active
        .next()
        .map(|(version, key)| (entry, version.number, key))
}

/// Whether the key unwraps what it has wrapped.
fn does(key: &SecretKey) -> Result<bool, KeyFileError> {
    let mut value = Zeroizing::new([0; VALUE_BYTES]);
    SystemRandom::new()
        .fill(value.as_mut_slice())
        .map_err(|_| KeyFileError::NoRandom)?;
    let nonce: [u8; NONCE_BYTES] = cipher::random()?;
    let mut data = Zeroizing::new(value.to_vec());
    let sealed = key.expose(|key| cipher::seal(key, nonce, &[], &mut data));
    let Ok(tag) = sealed else {
        return Ok(false);
    };
    data.extend_from_slice(&tag);
    let opened = key.expose(|key| cipher::open(key, nonce, &[], &mut data));
    Ok(opened.is_ok_and(|len| data.get(..len) == Some(value.as_slice())))
}
