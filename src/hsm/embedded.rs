//! The back end without an HSM: master keys in this process, sealed in a file under a passphrase.
//!
//! Find, encrypt and decrypt are done on the caller's thread; a create waits for the disk and has a
//! thread of its own. Must never be true: a create that is answered before the disk has it; a
//! `submit` that blocks; a master key outside the arena for longer than one operation.
//! Made by `node`; the file is copied by `cli`.

mod cipher;
mod disk;
mod error;
mod format;
mod keyfile;
mod keyring;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use parking_lot::Mutex;

pub(crate) use cipher::Cost;
pub use error::KeyFileError;
pub use format::FormatError;
pub use keyfile::{backup, opens, restore};

use super::store::{MakeRoom, Store};
use super::{Answer, Done, Health, Hsm, HsmError, Job, KeyRecord, KeyState, ObjectId, Request};
use crate::limits::{KEY_NAME_BYTES_MAX, NONCE_BYTES, TAG_BYTES};
use crate::secret::{Arena, SecretKey, SecretString};
use cipher::Scratch;
use keyfile::KeyFile;
use keyring::Keyring;

/// Creates that may wait for the disk.
const QUEUE_MAX: usize = 64;
/// KMIP's General Failure: the disk's fault, not the client's.
const GENERAL_FAILURE: u32 = 0x100;

/// Master keys in this process.
pub struct Embedded {
    shared: Arc<Shared>,
    /// `None` once shut down.
    creates: Mutex<Option<Sender<Create>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What the callers' threads and the writer share.
struct Shared {
    keyring: Keyring,
    store: Store,
    /// For the log and `/readyz`.
    path: String,
    /// Why the last save failed, if it did.
    trouble: Mutex<Option<String>>,
}

fn put_master(store: &Store, bytes: &[u8]) -> Result<SecretKey, KeyFileError> {
    store.put(bytes).map_err(|_| KeyFileError::NoLockedMemory)
}

/// A create on its way to the writer.
struct Create {
    name: Arc<str>,
    deadline: Instant,
    done: Done,
}

impl Embedded {
    /// Opens the key file, or makes a new one if there is none. Takes a moment: Argon2id runs.
    ///
    /// `make_room` is called when the arena is full; the key is then tried once more.
    pub fn open(
        file: &Path,
        passphrase: &SecretString,
        arena: &'static Arena,
        make_room: MakeRoom,
    ) -> Result<Self, KeyFileError> {
        Self::open_with(Cost::STANDARD, file, passphrase, arena, make_room)
    }

    /// As [`Self::open`]; a new file gets `cost`, which tests choose cheap.
    pub(crate) fn open_with(
        cost: Cost,
        file: &Path,
        passphrase: &SecretString,
        arena: &'static Arena,
        make_room: MakeRoom,
    ) -> Result<Self, KeyFileError> {
        let arena_store = Store::new(arena, Some(make_room));
        let store = |bytes: &[u8]| put_master(&arena_store, bytes);
        let (keyfile, entries) = KeyFile::open(file, passphrase, arena, cost, &store)?;
        let path = keyfile.path().display().to_string();
        let keyring = Keyring::new(keyfile, entries);
        log::warn!(
            "kms.hsm.protocol is EMBEDDED: there is no HSM. This process itself holds the {} master key(s), sealed \
             in {path}: whoever has that file and its passphrase has every data key. Keep a backup (`kms keyfile \
             backup`)",
            keyring.len(),
        );
        let shared = Arc::new(Shared {
            keyring,
            store: arena_store,
            path,
            trouble: Mutex::new(None),
        });
        let (creates, jobs) = bounded(QUEUE_MAX);
        let writer = std::thread::Builder::new()
            .name("embedded-writer".into())
            .spawn({
                let shared = Arc::clone(&shared);
                move || shared.write(&jobs)
            })
            .map_err(KeyFileError::system("start the thread that writes", file))?;
        Ok(Self {
            shared,
            creates: Mutex::new(Some(creates)),
            writer: Mutex::new(Some(writer)),
        })
    }

    /// Adds a version to a key and saves it. Blocks on the disk: not for a worker's thread.
    pub fn rotate(&self, name: &str) -> Result<Arc<KeyRecord>, KeyFileError> {
        self.shared
            .keyring
            .rotate(name, |bytes| put_master(&self.shared.store, bytes))
    }

    fn create(&self, name: Arc<str>, deadline: Instant, done: Done) {
        if let Some(record) = self.shared.keyring.find(&name) {
            return done(Ok(Answer::Key(Some(record))));
        }
        if name.len() > KEY_NAME_BYTES_MAX {
            return done(Err(HsmError::Unsupported("key names over 512 bytes")));
        }
        // A copy: `done` is never called under the lock.
        let creates = self.creates.lock().clone();
        let Some(creates) = creates else {
            return done(Err(HsmError::Abandoned));
        };
        match creates.try_send(Create {
            name,
            deadline,
            done,
        }) {
            Ok(()) => {}
            Err(TrySendError::Full(job)) => (job.done)(Err(HsmError::Overloaded)),
            Err(TrySendError::Disconnected(job)) => (job.done)(Err(HsmError::Abandoned)),
        }
    }
}

impl Shared {
    /// The writer's life: until every sender is gone.
    fn write(&self, jobs: &Receiver<Create>) {
        for Create {
            name,
            deadline,
            done,
        } in jobs
        {
            if Instant::now() >= deadline {
                done(Err(HsmError::TimedOut));
                continue;
            }
            let created = self
                .keyring
                .create(&name, |bytes| put_master(&self.store, bytes));
            *self.trouble.lock() = created.as_ref().err().map(ToString::to_string);
            done(match created {
                Ok(record) => Ok(Answer::Key(Some(record))),
                Err(KeyFileError::NoLockedMemory) => Err(HsmError::NoLockedMemory),
                Err(error) => {
                    log::error!("a master key could not be created: {error}");
                    let text = Arc::from("the new key could not be saved; see the server's log");
                    Err(HsmError::Refused {
                        reason: GENERAL_FAILURE,
                        text,
                    })
                }
            });
        }
    }

    fn decrypt(
        &self,
        object: &ObjectId,
        sealed: &[u8],
        associated_data: &[u8],
    ) -> Result<Answer, HsmError> {
        let (key, state) = self
            .keyring
            .object(object)
            .ok_or(HsmError::ObjectNotFound)?;
        if matches!(state, KeyState::PreActive | KeyState::Destroyed) {
            return Err(HsmError::NotActive { state });
        }
        let (nonce, body) = sealed
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(HsmError::AuthenticationFailed)?;
        if body.len() < TAG_BYTES {
            return Err(HsmError::AuthenticationFailed);
        }
        let mut scratch = Scratch::new(self.store.arena(), body.len());
        let data = scratch.bytes();
        data.copy_from_slice(body);
        let len = key
            .expose(|key| cipher::open(key, *nonce, associated_data, data))
            .map_err(|_| HsmError::AuthenticationFailed)?;
        let plaintext = data.get(..len).unwrap_or_default();
        self.store
            .put(plaintext)
            .map(Answer::Plaintext)
            .map_err(|_| HsmError::NoLockedMemory)
    }

    fn encrypt(
        &self,
        object: &ObjectId,
        plaintext: &[u8],
        associated_data: &[u8],
    ) -> Result<Answer, HsmError> {
        let (key, state) = self
            .keyring
            .object(object)
            .ok_or(HsmError::ObjectNotFound)?;
        if state != KeyState::Active {
            return Err(HsmError::NotActive { state });
        }
        let nonce = cipher::random::<NONCE_BYTES>().map_err(|_| no_random())?;
        let mut sealed = Vec::with_capacity(NONCE_BYTES + plaintext.len() + TAG_BYTES);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plaintext);
        let data = sealed.get_mut(NONCE_BYTES..).unwrap_or_default();
        let tag = key
            .expose(|key| cipher::seal(key, nonce, associated_data, data))
            .map_err(|_| HsmError::Unsupported("a plaintext over 64 GiB"))?;
        sealed.extend_from_slice(&tag);
        Ok(Answer::Sealed(sealed))
    }
}

fn no_random() -> HsmError {
    HsmError::Refused {
        reason: GENERAL_FAILURE,
        text: Arc::from("the system gave no random bytes"),
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
            ..
        } = job;
        match request {
            Request::Decrypt {
                object,
                sealed,
                associated_data,
            } => {
                done(self.shared.decrypt(&object, &sealed, &associated_data));
            }
            Request::Encrypt {
                object,
                plaintext,
                associated_data,
            } => {
                done(
                    self.shared
                        .encrypt(&object, plaintext.expose(), &associated_data),
                );
            }
            Request::Find { name } => done(Ok(Answer::Key(self.shared.keyring.find(&name)))),
            Request::Create { name } => self.create(name, deadline, done),
            _ => done(Err(HsmError::Unsupported("not served by EMBEDDED yet"))),
        }
    }

    fn health(&self) -> Health {
        let queued = self.creates.lock().as_ref().map_or(0, Sender::len);
        let trouble = self.shared.trouble.lock().clone();
        // Keys that are there are served whatever the disk does.
        let detail = trouble
            .unwrap_or_else(|| format!("master keys in this process, from {}", self.shared.path));
        Health {
            up: true,
            was_up: true,
            queued,
            detail,
        }
    }

    fn shutdown(&self) {
        drop(self.creates.lock().take());
        if let Some(writer) = self.writer.lock().take() {
            let _ = writer.join();
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Embedded({})", self.shared.path)
    }
}
