//! The master keys by name and by object, and how they come, change and go.
//!
//! Must never be true: a change that is seen before it is on the disk; two keys of one name; a handle
//! to a deleted key's material in here. Changes block on the disk: made by the writer's thread.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, RwLock};

use super::super::{HsmError, KeyChange, KeyKind, KeyRecord, KeyState, KeyVersion, ObjectId};
use super::cipher::{self, KEY_BYTES};
use super::error::KeyFileError;
use super::format::{Entry, ID_BYTES};
use super::keyfile::KeyFile;
use crate::secret::SecretKey;

/// What readers see.
#[derive(Default)]
struct Index {
    /// In the order in which names are listed.
    names: BTreeMap<Arc<str>, Entry>,
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

    fn remove(&mut self, name: &str) {
        let Some(entry) = self.names.remove(name) else {
            return;
        };
        for version in &entry.record.versions {
            self.objects.remove(&version.object.0);
        }
    }
}

/// Why a key was not changed.
#[derive(Debug)]
pub(super) enum ChangeError {
    /// The key file cannot take it.
    File(KeyFileError),
    /// The key's own state does not allow it.
    Refused(HsmError),
}

impl From<KeyFileError> for ChangeError {
    fn from(error: KeyFileError) -> Self {
        Self::File(error)
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

    /// An object that wraps, if there is one.
    pub(super) fn any_active(&self) -> Option<ObjectId> {
        let index = self.index.read();
        let versions = index
            .names
            .values()
            .flat_map(|entry| &entry.record.versions);
        let mut active = versions.filter(|version| version.state == KeyState::Active);
        active.next().map(|version| version.object.clone())
    }

    /// All names, sorted by their bytes.
    pub(super) fn names(&self) -> Arc<[Arc<str>]> {
        self.index.read().names.keys().cloned().collect()
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
            kind: KeyKind::default(),
        };
        self.put(&file, record, vec![key])
    }

    /// Adds a version to the key of that name; `None`: there is no such key. Blocks on the disk.
    pub(super) fn rotate(
        &self,
        name: &str,
        store: impl FnOnce(&[u8]) -> Result<SecretKey, KeyFileError>,
    ) -> Result<Option<Arc<KeyRecord>>, KeyFileError> {
        let file = self.file.lock();
        let Some(Entry { record, mut keys }) = self.entry(name) else {
            return Ok(None);
        };
        let mut record = KeyRecord::clone(&record);
        let next = record.latest().checked_add(1);
        let next = next.ok_or_else(|| KeyFileError::TooManyKeys {
            path: file.path().to_owned(),
        })?;
        let (version, key) = new_version(next, store)?;
        record.versions.push(version);
        keys.push(key);
        self.put(&file, record, keys).map(Some)
    }

    /// Changes the settings of the key of that name; `None`: there is no such key. Blocks on the disk.
    pub(super) fn configure(
        &self,
        name: &str,
        change: &KeyChange,
    ) -> Result<Option<Arc<KeyRecord>>, ChangeError> {
        let file = self.file.lock();
        let Some(Entry { record, keys }) = self.entry(name) else {
            return Ok(None);
        };
        let changed = record.changed(change).map_err(ChangeError::Refused)?;
        if changed == *record {
            return Ok(Some(record));
        }
        Ok(self.put(&file, changed, keys).map(Some)?)
    }

    /// Removes the key of that name and its material. Blocks on the disk. What uses the material at
    /// this moment may finish; it is wiped with the last handle. Backups still hold it.
    pub(super) fn delete(&self, name: &str) -> Result<(), ChangeError> {
        let file = self.file.lock();
        let record = self
            .find(name)
            .ok_or(ChangeError::Refused(HsmError::ObjectNotFound))?;
        record.check_deletion().map_err(ChangeError::Refused)?;
        self.save(&file, name, None)?;
        self.index.write().remove(name);
        Ok(())
    }

    fn entry(&self, name: &str) -> Option<Entry> {
        self.index.read().names.get(name).cloned()
    }

    /// On the disk first, then for all to see.
    fn put(
        &self,
        file: &KeyFile,
        record: KeyRecord,
        keys: Vec<SecretKey>,
    ) -> Result<Arc<KeyRecord>, KeyFileError> {
        let record = Arc::new(record);
        let entry = Entry {
            record: Arc::clone(&record),
            keys,
        };
        self.save(file, &record.name, Some(&entry))?;
        self.index.write().insert(entry);
        Ok(record)
    }

    /// Writes all keys, with `entry` in the place of the key `name`. Readers are not held up: while the
    /// file is locked, nobody waits to write the index.
    fn save(&self, file: &KeyFile, name: &str, entry: Option<&Entry>) -> Result<(), KeyFileError> {
        let index = self.index.read();
        let others = index
            .names
            .iter()
            .filter(|(other, _)| &***other != name)
            .map(|(_, other)| other);
        let all: Vec<&Entry> = others.chain(entry).collect();
        file.save(&all)
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
