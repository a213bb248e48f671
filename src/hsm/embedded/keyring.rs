//! The master keys by name and by object, and how they come and change.
//!
//! Must never be true: a key that is found before it is on the disk; two keys of one name.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, RwLock};

use super::super::{KeyRecord, KeyState, KeyVersion, ObjectId};
use super::cipher::{self, KEY_BYTES};
use super::error::KeyFileError;
use super::format::{Entry, ID_BYTES};
use super::keyfile::KeyFile;
use crate::secret::SecretKey;

/// What readers see.
#[derive(Default)]
struct Index {
    names: HashMap<Arc<str>, Entry>,
    objects: HashMap<Arc<str>, (SecretKey, KeyState)>,
}

impl Index {
    fn insert(&mut self, entry: Entry) {
        for (version, key) in entry.record.versions.iter().zip(&entry.keys) {
            self.objects
                .insert(Arc::clone(&version.object.0), (key.clone(), version.state));
        }
        self.names.insert(Arc::clone(&entry.record.name), entry);
    }
}

/// Every master key there is.
pub(super) struct Keyring {
    index: RwLock<Index>,
    /// Taken by whoever changes anything, for as long as the disk takes.
    file: Mutex<KeyFile>,
}

impl Keyring {
    pub(super) fn new(file: KeyFile, entries: Vec<Entry>) -> Self {
        let mut index = Index::default();
        for entry in entries {
            index.insert(entry);
        }
        Self {
            index: RwLock::new(index),
            file: Mutex::new(file),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.index.read().names.len()
    }

    pub(super) fn find(&self, name: &str) -> Option<Arc<KeyRecord>> {
        self.index
            .read()
            .names
            .get(name)
            .map(|entry| Arc::clone(&entry.record))
    }

    /// The key of `object` and its state.
    pub(super) fn object(&self, object: &ObjectId) -> Option<(SecretKey, KeyState)> {
        self.index.read().objects.get(&object.0).cloned()
    }

    /// The key of that name, made and saved if there was none. Blocks on the disk.
    pub(super) fn create(
        &self,
        name: &Arc<str>,
        store: impl FnOnce(&[u8]) -> Result<SecretKey, KeyFileError>,
    ) -> Result<Arc<KeyRecord>, KeyFileError> {
        let file = self.file.lock();
        if let Some(record) = self.find(name) {
            return Ok(record);
        }
        let (version, key) = new_version(1, store)?;
        let record = KeyRecord {
            name: Arc::clone(name),
            versions: vec![version],
            min_decryption_version: 1,
            min_encryption_version: 0,
            deletion_allowed: false,
        };
        self.save(
            &file,
            Entry {
                record: Arc::new(record),
                keys: vec![key],
            },
        )
    }

    /// Adds a version to the key of that name. Blocks on the disk.
    pub(super) fn rotate(
        &self,
        name: &str,
        store: impl FnOnce(&[u8]) -> Result<SecretKey, KeyFileError>,
    ) -> Result<Arc<KeyRecord>, KeyFileError> {
        let file = self.file.lock();
        let Some(Entry { record, mut keys }) = self.index.read().names.get(name).cloned() else {
            return Err(KeyFileError::NoSuchKey);
        };
        let mut record = KeyRecord::clone(&record);
        let last = record.versions.last().map_or(0, |version| version.number);
        let (version, key) = new_version(last.saturating_add(1), store)?;
        record.versions.push(version);
        keys.push(key);
        self.save(
            &file,
            Entry {
                record: Arc::new(record),
                keys,
            },
        )
    }

    /// On the disk first, then for all to see.
    fn save(&self, file: &KeyFile, entry: Entry) -> Result<Arc<KeyRecord>, KeyFileError> {
        {
            let index = self.index.read();
            let others = index
                .names
                .values()
                .filter(|other| other.record.name != entry.record.name);
            let all: Vec<&Entry> = others.chain([&entry]).collect();
            file.save(&all)?;
        }
        let record = Arc::clone(&entry.record);
        self.index.write().insert(entry);
        Ok(record)
    }
}

fn new_version(
    number: u32,
    store: impl FnOnce(&[u8]) -> Result<SecretKey, KeyFileError>,
) -> Result<(KeyVersion, SecretKey), KeyFileError> {
    let id = u128::from_be_bytes(cipher::random()?);
    let object = format!("{id:0ID_BYTES$x}");
    let bytes = zeroize::Zeroizing::new(cipher::random::<KEY_BYTES>()?);
    let key = store(bytes.as_slice())?;
    let created_unix_s = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let object = ObjectId(Arc::from(object));
    Ok((
        KeyVersion {
            number,
            object,
            created_unix_s,
            state: KeyState::Active,
        },
        key,
    ))
}
