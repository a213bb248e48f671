//! The back end without an HSM: master keys in this process, sealed in a file under a passphrase.
//!
//! Find, list, encrypt and decrypt are done on the caller's thread; what changes a key waits for the
//! disk and is done, one at a time, on a thread of its own. Must never be true: a `submit` that blocks; a master key outside the arena for longer than one operation.
//! Made by `node`; the file is copied by `cli`.

mod cipher;
mod disk;
mod error;
mod format;
mod health;
mod keyfile;
mod keyring;
#[cfg(test)]
mod tests;
mod trial;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam::channel::{Sender, bounded};
use parking_lot::Mutex;

pub(crate) use cipher::Cost;
pub use error::KeyFileError;
pub use format::FormatError;
pub use keyfile::{backup, opens, restore};
pub use trial::{Tried, try_file};

use super::store::{MakeRoom, Store};
use super::{Access, Answer, Health, Hsm, HsmError, Job, KeyState, ObjectId, Request};
use crate::limits::{KEY_NAME_BYTES_MAX, NONCE_BYTES, TAG_BYTES};
use crate::metrics::HsmMetrics;
use crate::secret::{Arena, SecretKey, SecretString};
use cipher::Scratch;
use health::Pulse;
use keyfile::KeyFile;
use keyring::Keyring;
use writer::{Change, Order};

/// Changes that may wait for the disk.
const QUEUE_MAX: usize = 64;
/// KMIP's General Failure: the disk's fault, not the client's.
const GENERAL_FAILURE: u32 = 0x100;

/// Master keys in this process.
pub struct Embedded {
    shared: Arc<Shared>,
    /// `None` once shut down.
    orders: Mutex<Option<Sender<Order>>>,
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
    pulse: Pulse,
}

fn put_master(store: &Store, bytes: &[u8]) -> Result<SecretKey, KeyFileError> {
    store.put(bytes).map_err(|_| KeyFileError::NoLockedMemory)
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
            pulse: Pulse::default(),
        });
        let (sender, orders) = bounded(QUEUE_MAX);
        let writer = std::thread::Builder::new()
            .name("embedded-writer".into())
            .spawn({
                let shared = Arc::clone(&shared);
                move || shared.write(&orders)
            })
            .map_err(KeyFileError::system("start the thread that writes", file))?;
        Ok(Self {
            shared,
            orders: Mutex::new(Some(sender)),
            writer: Mutex::new(Some(writer)),
        })
    }

    /// Hands an order to the writer, unless it can be answered without.
    fn order(&self, order: Order) {
        if matches!(order.change, Change::Create) {
            if let Some(record) = self.shared.keyring.find(&order.name) {
                return (order.done)(Ok(Answer::Key(Some(record))));
            }
            if order.name.len() > KEY_NAME_BYTES_MAX {
                return (order.done)(Err(HsmError::Unsupported("key names over 512 bytes")));
            }
        }
        // A copy: `done` is never called under the lock.
        let writer = self.orders.lock().clone();
        order.send(writer.as_ref());
    }
}

impl Shared {
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
        let (name, change) = match request {
            Request::Decrypt {
                object,
                sealed,
                associated_data,
            } => {
                return done(self.shared.decrypt(&object, &sealed, &associated_data));
            }
            Request::Encrypt {
                object,
                plaintext,
                associated_data,
            } => {
                let plaintext = plaintext.expose();
                return done(self.shared.encrypt(&object, plaintext, &associated_data));
            }
            Request::Find { name } => {
                return done(Ok(Answer::Key(self.shared.keyring.find(&name))));
            }
            Request::List => return done(Ok(Answer::Names(self.shared.keyring.names()))),
            Request::Random { .. } => {
                return done(Err(HsmError::Unsupported(
                    "random bytes of the embedded back end",
                )));
            }
            Request::CreateAs { .. } => {
                return done(Err(HsmError::Unsupported(
                    "options of a key other than the usual ones",
                )));
            }
            Request::Create { name } => (name, Change::Create),
            Request::Rotate { name } => (name, Change::Rotate),
            Request::Configure { name, change } => (name, Change::Configure(change)),
            Request::Delete { name } => (name, Change::Delete),
        };
        self.order(Order {
            name,
            change,
            deadline,
            done,
        });
    }

    fn health(&self) -> Health {
        let queued = self.orders.lock().as_ref().map_or(0, Sender::len);
        let trouble = self.shared.trouble.lock().clone();
        let refused = self.shared.trouble_with_keys(Instant::now());
        // Keys that are there are served whatever the disk does.
        let detail = refused
            .as_deref()
            .map(str::to_owned)
            .or(trouble)
            .unwrap_or_else(|| format!("master keys in this process, from {}", self.shared.path));
        Health {
            up: true,
            was_up: true,
            queued,
            detail,
            access: Access {
                refused,
                ends_in_s: None,
            },
        }
    }

    fn metrics(&self) -> Option<&HsmMetrics> {
        Some(&self.shared.pulse.metrics)
    }

    fn shutdown(&self) {
        drop(self.orders.lock().take());
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
