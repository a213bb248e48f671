//! The embedded back end: master keys in this process, sealed in a file at rest.
//!
//! To try the product, for tests, and for sites without an HSM; it says so loudly at every start.
//! Wrapping and unwrapping are done on the caller's thread (about a microsecond each); creating and
//! rotating wait for the disk, so they have a thread of their own. A cipher's key schedule is made
//! from the arena for each operation and its stack wiped after it: it costs a tenth of a
//! microsecond and leaves no copy of a master key outside locked memory.
//!
//! Must never be true: a create or rotate answered before the disk has it; a master key outside the
//! arena. Called by the engine through [`Hsm`].

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crossbeam::channel::{Sender, TrySendError, bounded};
use parking_lot::{Mutex, RwLock};
use ring::aead::{Aad, Nonce};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::keyfile::{Cost, Keyfile, KeyfileError, StoredKey, StoredVersion, with_key};
use super::kmip::Vault;
use super::{
    Answer, Done, Health, Hsm, HsmError, Job, KeyRecord, KeyState, KeyVersion, ObjectId, Request,
};
use crate::limits::{NONCE_BYTES, TAG_BYTES};
use crate::secret::{SecretBytes, SecretKey, SecretString};

#[cfg(test)]
mod tests;

/// Creates that may wait for the disk.
const CREATES_MAX: usize = 256;

/// The back end.
pub struct Embedded {
    state: Arc<State>,
    creates: Mutex<Option<Sender<Create>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Create {
    name: Arc<str>,
    deadline: Instant,
    done: Done,
}

struct State {
    vault: Vault,
    random: SystemRandom,
    file: Mutex<Keyfile>,
    records: RwLock<HashMap<Arc<str>, Arc<KeyRecord>>>,
    masters: RwLock<HashMap<ObjectId, SecretKey>>,
    detail: String,
}

impl Embedded {
    /// Opens the key file, or makes a new one if there is none.
    pub fn open(
        path: &Path,
        passphrase: &SecretString,
        vault: Vault,
    ) -> Result<Self, KeyfileError> {
        Self::open_with_cost(path, passphrase, vault, Cost::STANDARD)
    }

    /// As [`Embedded::open`], with the cost of a file that has to be made.
    pub fn open_with_cost(
        path: &Path,
        passphrase: &SecretString,
        vault: Vault,
        cost: Cost,
    ) -> Result<Self, KeyfileError> {
        let file = Keyfile::open(path, passphrase, vault.arena(), cost)?;
        let mut masters = HashMap::new();
        for key in file.keys() {
            for version in &key.versions {
                let master = file.unseal(&about(&key.name, version), &version.sealed)?;
                masters.insert(object_id(&version.object), master);
            }
        }
        let records = file.keys().iter().map(|key| {
            let record = Arc::new(record(key));
            (Arc::clone(&record.name), record)
        });
        let records = RwLock::new(records.collect());
        log::warn!(
            "EMBEDDED back end: the master keys are held by this process, not by an HSM file={} keys={}",
            path.display(),
            file.keys().len()
        );
        let state = Arc::new(State {
            vault,
            random: SystemRandom::new(),
            records,
            masters: RwLock::new(masters),
            detail: format!("key file {}", path.display()),
            file: Mutex::new(file),
        });
        let (creates, waiting) = bounded::<Create>(CREATES_MAX);
        let creator = Arc::clone(&state);
        let thread = std::thread::Builder::new()
            .name("key-file".into())
            .spawn(move || {
                for create in waiting {
                    let expired = Instant::now() >= create.deadline;
                    let outcome = if expired {
                        Err(HsmError::TimedOut)
                    } else {
                        creator.create(&create.name)
                    };
                    (create.done)(outcome.map(|record| Answer::Key(Some(record))));
                }
            });
        let thread = thread.map_err(|error| {
            let path = path.to_owned();
            KeyfileError::Io {
                action: "start a thread for",
                path,
                error,
            }
        })?;
        Ok(Self {
            state,
            creates: Mutex::new(Some(creates)),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Adds a version to a key. When this returns, the disk has it.
    pub fn rotate(&self, name: &str) -> Result<Arc<KeyRecord>, HsmError> {
        self.state.add_version(name, false)
    }

    fn queue(&self, create: Create) {
        let refused = match &*self.creates.lock() {
            None => Some((create, HsmError::Abandoned)),
            Some(creates) => match creates.try_send(create) {
                Ok(()) => None,
                Err(TrySendError::Full(create)) => Some((create, HsmError::Overloaded)),
                Err(TrySendError::Disconnected(create)) => Some((create, HsmError::Abandoned)),
            },
        };
        if let Some((create, error)) = refused {
            (create.done)(Err(error));
        }
    }
}

impl Hsm for Embedded {
    fn name(&self) -> &'static str {
        "embedded"
    }

    fn submit(&self, job: Job) {
        let Job {
            request,
            deadline,
            done,
        } = job;
        match request {
            Request::Decrypt {
                object,
                sealed,
                associated_data,
            } => {
                done(
                    self.state
                        .decrypt(&object, &sealed, &associated_data)
                        .map(Answer::Plaintext),
                );
            }
            Request::Encrypt {
                object,
                plaintext,
                associated_data,
            } => {
                done(
                    self.state
                        .encrypt(&object, &plaintext, &associated_data)
                        .map(Answer::Sealed),
                );
            }
            Request::Find { name } => done(Ok(Answer::Key(self.state.find(&name)))),
            Request::Create { name } => match self.state.find(&name) {
                Some(record) => done(Ok(Answer::Key(Some(record)))),
                None => self.queue(Create {
                    name,
                    deadline,
                    done,
                }),
            },
        }
    }

    fn health(&self) -> Health {
        Health {
            up: true,
            was_up: true,
            queued: 0,
            detail: self.state.detail.clone(),
        }
    }

    fn shutdown(&self) {
        // Closing the channel ends the thread once what waits is done.
        drop(self.creates.lock().take());
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            log::error!("the key file's thread panicked");
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl State {
    fn find(&self, name: &str) -> Option<Arc<KeyRecord>> {
        self.records.read().get(name).map(Arc::clone)
    }

    fn master(&self, object: &ObjectId) -> Result<SecretKey, HsmError> {
        self.masters
            .read()
            .get(object)
            .cloned()
            .ok_or(HsmError::ObjectNotFound)
    }

    fn decrypt(
        &self,
        object: &ObjectId,
        sealed: &[u8],
        associated_data: &[u8],
    ) -> Result<SecretKey, HsmError> {
        let master = self.master(object)?;
        let (nonce, body) = sealed
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(HsmError::AuthenticationFailed)?;
        if body.len() < TAG_BYTES {
            return Err(HsmError::AuthenticationFailed);
        }
        let mut room = self.room(body.len());
        room.copy_from_slice(body);
        let plain = with_key(&master, |key| {
            let nonce = Nonce::assume_unique_for_key(*nonce);
            key.open_in_place(nonce, Aad::from(associated_data), &mut room)
                .map(|plain| &*plain)
        });
        self.vault
            .store(plain.ok_or(HsmError::AuthenticationFailed)?)
    }

    fn encrypt(
        &self,
        object: &ObjectId,
        plaintext: &SecretBytes,
        associated_data: &[u8],
    ) -> Result<Vec<u8>, HsmError> {
        const FAILED: HsmError = HsmError::Protocol("sealing failed");
        let master = self.master(object)?;
        let mut nonce = [0; NONCE_BYTES];
        self.random.fill(&mut nonce).map_err(|_| FAILED)?;
        let mut room = self.room(plaintext.len());
        room.copy_from_slice(plaintext.expose());
        let tag = with_key(&master, |key| {
            let nonce = Nonce::assume_unique_for_key(nonce);
            key.seal_in_place_separate_tag(nonce, Aad::from(associated_data), &mut room)
        })
        .ok_or(FAILED)?;
        let mut sealed = Vec::with_capacity(NONCE_BYTES + room.len() + TAG_BYTES);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&room);
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Room for a plaintext in passing: locked where there is some, wiped in any case.
    fn room(&self, len: usize) -> Room {
        match self.vault.arena().buffer(len) {
            Some(locked) => Room::Locked(locked),
            None => Room::Heap(Zeroizing::new(vec![0; len])),
        }
    }

    /// The key, made if there is none.
    fn create(&self, name: &str) -> Result<Arc<KeyRecord>, HsmError> {
        self.add_version(name, true)
    }

    /// Adds a version; with `create` only to a key that has none, which is then made.
    fn add_version(&self, name: &str, create: bool) -> Result<Arc<KeyRecord>, HsmError> {
        let mut file = self.file.lock();
        let mut keys = file.keys().to_vec();
        let at = match (keys.iter().position(|key| key.name == name), create) {
            (Some(at), true) => {
                return Ok(self
                    .find(name)
                    .unwrap_or_else(|| Arc::new(record(&keys[at]))));
            }
            (Some(at), false) => at,
            (None, false) => return Err(HsmError::ObjectNotFound),
            (None, true) => {
                keys.push(StoredKey {
                    name: name.to_owned(),
                    min_decryption_version: 1,
                    min_encryption_version: 0,
                    deletion_allowed: false,
                    versions: Vec::new(),
                });
                keys.len() - 1
            }
        };
        let (object, master) = self
            .make_version(&file, &mut keys[at])
            .map_err(|error| refused(&error))?;
        let record = Arc::new(record(&keys[at]));
        file.replace(keys).map_err(|error| refused(&error))?;
        self.masters.write().insert(object, master);
        self.records
            .write()
            .insert(Arc::clone(&record.name), Arc::clone(&record));
        Ok(record)
    }

    fn make_version(
        &self,
        file: &Keyfile,
        key: &mut StoredKey,
    ) -> Result<(ObjectId, SecretKey), KeyfileError> {
        let mut object = [0; 16];
        let failed = |_| KeyfileError::Crypto("the kernel gives no random numbers");
        self.random.fill(&mut object).map_err(failed)?;
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let mut version = StoredVersion {
            number: key.versions.last().map_or(1, |last| last.number + 1),
            object,
            created_unix_s: since.as_secs(),
            sealed: [0; _],
        };
        let (master, sealed) = file.generate(&about(&key.name, &version))?;
        version.sealed = sealed;
        key.versions.push(version);
        Ok((object_id(&object), master))
    }
}

/// A plaintext in passing.
enum Room {
    Locked(crate::secret::LockedBuf),
    Heap(Zeroizing<Vec<u8>>),
}

impl std::ops::Deref for Room {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::Locked(locked) => locked,
            Self::Heap(heap) => heap,
        }
    }
}

impl std::ops::DerefMut for Room {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Locked(locked) => locked,
            Self::Heap(heap) => heap,
        }
    }
}

/// What a sealed master key is bound to: a key cannot be moved to another name or version.
fn about(name: &str, version: &StoredVersion) -> Vec<u8> {
    let mut about = Vec::with_capacity(name.len() + 20);
    about.extend_from_slice(&version.number.to_be_bytes());
    about.extend_from_slice(&version.object);
    about.extend_from_slice(name.as_bytes());
    about
}

fn object_id(object: &[u8; 16]) -> ObjectId {
    let text: String = object.iter().map(|byte| format!("{byte:02x}")).collect();
    ObjectId(text.into())
}

fn record(key: &StoredKey) -> KeyRecord {
    let version = |version: &StoredVersion| KeyVersion {
        number: version.number,
        object: object_id(&version.object),
        created_unix_s: version.created_unix_s,
        state: KeyState::Active,
    };
    KeyRecord {
        name: key.name.as_str().into(),
        versions: key.versions.iter().map(version).collect(),
        min_decryption_version: key.min_decryption_version,
        min_encryption_version: key.min_encryption_version,
        deletion_allowed: key.deletion_allowed,
    }
}

fn refused(error: &KeyfileError) -> HsmError {
    log::error!("{error}");
    match error {
        KeyfileError::NoLockedMemory => HsmError::NoLockedMemory,
        _ => HsmError::Unavailable("the key file cannot be written".into()),
    }
}
