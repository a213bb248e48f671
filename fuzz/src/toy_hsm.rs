//! An HSM whose cipher is a toy, so that the harness knows every right answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use kms::hsm::{
    Access, Answer, Health, Hsm, HsmError, Job, KeyKind, KeyRecord, KeyState, KeyVersion, ObjectId,
    Request,
};
use ring::digest::{SHA256, digest};

use crate::arena;

/// Versions of a key that was not rotated.
pub const VERSIONS: u32 = 2;
const NONCE: [u8; 12] = [0x4e; 12];

/// Keeps jobs until it is told to answer.
#[derive(Default)]
pub struct ToyHsm {
    /// Keys that were made, changed or, `None`, deleted. The others are as they always are.
    keys: Mutex<BTreeMap<Arc<str>, Option<KeyRecord>>>,
    queue: Mutex<Vec<Job>>,
}

/// The object of one version of a key.
pub fn object(name: &str, version: u32) -> String {
    format!("{name}#{version}")
}

/// nonce | ciphertext | tag.
pub fn seal(object: &str, plaintext: &[u8], associated_data: &[u8]) -> Vec<u8> {
    let body = mask(object, plaintext);
    let tag = tag(object, &body, associated_data);
    [&NONCE[..], &body, &tag].concat()
}

/// What `sealed` holds, if all belongs together.
pub fn open(object: &str, sealed: &[u8], associated_data: &[u8]) -> Option<Vec<u8>> {
    let body = sealed.strip_prefix(&NONCE)?;
    let (body, found) = body.split_last_chunk::<16>()?;
    (tag(object, body, associated_data) == *found).then(|| mask(object, body))
}

fn mask(object: &str, bytes: &[u8]) -> Vec<u8> {
    let pad = digest(&SHA256, object.as_bytes());
    bytes
        .iter()
        .zip(pad.as_ref().iter().cycle())
        .map(|(byte, pad)| byte ^ pad)
        .collect()
}

fn tag(object: &str, body: &[u8], associated_data: &[u8]) -> [u8; 16] {
    let parts = [
        object.as_bytes(),
        b"|",
        &body.len().to_be_bytes(),
        body,
        associated_data,
    ]
    .concat();
    *digest(&SHA256, &parts)
        .as_ref()
        .first_chunk()
        .expect("32 bytes")
}

impl ToyHsm {
    /// Answers what waits; `mood` 0 does so honestly, others fail, each its way. False: nothing waited.
    pub fn answer(&self, mood: u8) -> bool {
        let jobs = std::mem::take(&mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner));
        let waited = !jobs.is_empty();
        for job in jobs {
            match failure(mood) {
                None => (job.done)(self.honest(&job.request)),
                // Dropped: the engine's own guard must tell the waiters.
                Some(HsmError::Abandoned) => drop(job),
                Some(error) => (job.done)(Err(error)),
            }
        }
        waited
    }

    fn honest(&self, request: &Request) -> Result<Answer, HsmError> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        match request {
            Request::Decrypt {
                object,
                sealed,
                associated_data,
            } => {
                let plain = open(&object.0, sealed, associated_data)
                    .ok_or(HsmError::AuthenticationFailed)?;
                arena()
                    .store(&plain)
                    .map(Answer::Plaintext)
                    .map_err(|_| HsmError::NoLockedMemory)
            }
            Request::Encrypt {
                object,
                plaintext,
                associated_data,
            } => Ok(Answer::Sealed(seal(
                &object.0,
                plaintext.expose(),
                associated_data,
            ))),
            Request::Find { name } => Ok(Answer::Key(key(&keys, name).map(Arc::new))),
            Request::Create { name } => {
                let record = key(&keys, name).unwrap_or_else(|| record(name));
                Ok(keep(&mut keys, record))
            }
            Request::Rotate { name } => Ok(match key(&keys, name) {
                None => Answer::Key(None),
                Some(mut record) => {
                    let next = version(name, record.latest() + 1);
                    record.versions.push(next);
                    keep(&mut keys, record)
                }
            }),
            Request::Configure { name, change } => match key(&keys, name) {
                None => Ok(Answer::Key(None)),
                Some(record) => Ok(keep(&mut keys, record.changed(change)?)),
            },
            Request::Delete { name } => {
                let record = key(&keys, name).ok_or(HsmError::ObjectNotFound)?;
                record.check_deletion()?;
                keys.insert(record.name, None);
                Ok(Answer::Key(None))
            }
            Request::List => {
                let there = keys.iter().filter(|(_, record)| record.is_some());
                Ok(Answer::Names(there.map(|(name, _)| name.clone()).collect()))
            }
            Request::CreateAs { .. } => Err(HsmError::Unsupported("options of a toy")),
            Request::Random { .. } => Err(HsmError::Unsupported("random bytes of a toy")),
        }
    }
}

/// The key `name`; those whose name begins with `demo` are there from the beginning.
fn key(keys: &BTreeMap<Arc<str>, Option<KeyRecord>>, name: &str) -> Option<KeyRecord> {
    match keys.get(name) {
        Some(known) => known.clone(),
        None => name.starts_with("demo").then(|| record(name)),
    }
}

fn keep(keys: &mut BTreeMap<Arc<str>, Option<KeyRecord>>, record: KeyRecord) -> Answer {
    keys.insert(record.name.clone(), Some(record.clone()));
    Answer::Key(Some(Arc::new(record)))
}

fn failure(mood: u8) -> Option<HsmError> {
    Some(match mood {
        0 => return None,
        1 => HsmError::Abandoned,
        2 => HsmError::AuthenticationFailed,
        3 => HsmError::ObjectNotFound,
        4 => HsmError::NotActive {
            state: KeyState::Destroyed,
        },
        5 => HsmError::Unavailable("gone".into()),
        6 => HsmError::Protocol("nonsense"),
        _ => HsmError::NoLockedMemory,
    })
}

fn record(name: &str) -> KeyRecord {
    KeyRecord {
        name: name.into(),
        versions: (1..=VERSIONS).map(|number| version(name, number)).collect(),
        min_decryption_version: 1,
        min_encryption_version: 0,
        deletion_allowed: false,
        kind: KeyKind::default(),
    }
}

fn version(name: &str, number: u32) -> KeyVersion {
    KeyVersion {
        number,
        object: ObjectId(object(name, number).into()),
        created_unix_s: 1,
        state: KeyState::Active,
    }
}

impl Hsm for ToyHsm {
    fn name(&self) -> &'static str {
        "toy"
    }

    fn submit(&self, job: Job) {
        self.queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(job);
    }

    fn health(&self) -> Health {
        Health {
            up: true,
            was_up: true,
            queued: 0,
            detail: String::new(),
            access: Access::default(),
        }
    }

    fn shutdown(&self) {}
}
