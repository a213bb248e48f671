//! A back end that answers when and as the test says.
//!
//! Its "encryption": nonce of zeros, the plaintext as it is, a tag of `T`s. Any other tag is refused.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use kms::hsm::{
    Access, Answer, Health, Hsm, HsmError, Job, KeyKind, KeyRecord, KeyState, KeyVersion, ObjectId,
    Request, ServerReport, ServerState,
};
use kms::secret::Arena;
use parking_lot::{Condvar, Mutex};

use super::PATIENCE;

pub struct FakeHsm {
    arena: &'static Arena,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    keys: HashMap<String, Arc<KeyRecord>>,
    held: VecDeque<Job>,
    holds: bool,
    fault: Option<HsmError>,
    seen: Vec<&'static str>,
    down: bool,
    tells_all: bool,
    random: Option<Result<u8, HsmError>>,
}

/// A key with one active version.
pub fn record(name: &str, object: &str) -> Arc<KeyRecord> {
    Arc::new(KeyRecord {
        name: name.into(),
        versions: vec![KeyVersion {
            number: 1,
            object: ObjectId(object.into()),
            created_unix_s: 1_795_458_514,
            state: KeyState::Active,
        }],
        min_decryption_version: 1,
        min_encryption_version: 0,
        deletion_allowed: false,
        kind: KeyKind::default(),
    })
}

/// What `Decrypt` of this fake answers with `plaintext`, as a Transit ciphertext.
pub fn sealed(plaintext: &[u8]) -> String {
    let mut bytes = vec![0; 12];
    bytes.extend_from_slice(plaintext);
    bytes.extend_from_slice(&[b'T'; 16]);
    let mut text = b"vault:v1:".to_vec();
    kms::wire::base64::put(&mut text, &bytes);
    String::from_utf8(text).unwrap()
}

/// As [`sealed`], under another version of the key.
pub fn sealed_by(version: u32, plaintext: &[u8]) -> String {
    sealed(plaintext).replace(":v1:", &format!(":v{version}:"))
}

/// The body of a decrypt of `plaintext`.
pub fn decrypt_body(plaintext: &[u8]) -> String {
    format!("{{\"ciphertext\":\"{}\"}}", sealed(plaintext))
}

impl FakeHsm {
    pub fn new(arena: &'static Arena) -> Arc<Self> {
        let fake = Self {
            arena,
            state: Mutex::default(),
            changed: Condvar::new(),
        };
        fake.set_key(record("k", "object-1"));
        Arc::new(fake)
    }

    pub fn set_key(&self, record: Arc<KeyRecord>) {
        self.state
            .lock()
            .keys
            .insert(record.name.to_string(), record);
    }

    pub fn remove_key(&self, name: &str) {
        self.state.lock().keys.remove(name);
    }

    /// From now on jobs wait for [`FakeHsm::release`].
    pub fn hold(&self) {
        self.state.lock().holds = true;
    }

    /// From now on its health says so.
    pub fn set_down(&self, down: bool) {
        self.state.lock().down = down;
    }

    /// From now on it tells all that a back end can tell: of a server, and of the end of its access.
    pub fn tell_all(&self) {
        self.state.lock().tells_all = true;
    }

    /// From now on every job fails so, or none any more.
    pub fn fail(&self, fault: Option<HsmError>) {
        self.state.lock().fault = fault;
    }

    /// From now on it offers random bytes: all this one, or a failure.
    pub fn offer_random(&self, random: Result<u8, HsmError>) {
        self.state.lock().random = Some(random);
    }

    /// What it holds of a key.
    pub fn key(&self, name: &str) -> Option<Arc<KeyRecord>> {
        self.state.lock().keys.get(name).cloned()
    }

    /// Another node adds a version.
    pub fn rotate(&self, name: &str) -> Option<Arc<KeyRecord>> {
        let mut record = (*self.key(name)?).clone();
        let number = record.latest() + 1;
        record.versions.push(KeyVersion {
            number,
            object: ObjectId(format!("{name}-{number}").into()),
            created_unix_s: 1_795_458_514,
            state: KeyState::Active,
        });
        let record = Arc::new(record);
        self.set_key(Arc::clone(&record));
        Some(record)
    }

    /// Waits until `count` jobs are held.
    pub fn wait_for_held(&self, count: usize) {
        let mut state = self.state.lock();
        while state.held.len() < count {
            let late = self.changed.wait_for(&mut state, PATIENCE).timed_out();
            assert!(!late, "{} jobs held, {count} expected", state.held.len());
        }
    }

    /// Answers the first `count` held jobs.
    pub fn release(&self, count: usize) {
        for _ in 0..count {
            let job = self.state.lock().held.pop_front().expect("a held job");
            self.answer(job);
        }
    }

    /// Answers the last held job.
    pub fn release_last(&self) {
        let job = self.state.lock().held.pop_back();
        self.answer(job.expect("a held job"));
    }

    /// Answers all held jobs and holds no more.
    pub fn release_all(&self) {
        self.state.lock().holds = false;
        loop {
            let Some(job) = self.state.lock().held.pop_front() else {
                return;
            };
            self.answer(job);
        }
    }

    /// Drops the first held job without an answer.
    pub fn drop_one(&self) {
        let job = self.state.lock().held.pop_front();
        drop(job.expect("a held job"));
    }

    /// How many jobs of a kind came: `decrypt`, `encrypt`, `find`, `create` and so on.
    pub fn count(&self, kind: &str) -> usize {
        self.state
            .lock()
            .seen
            .iter()
            .filter(|seen| **seen == kind)
            .count()
    }

    fn answer(&self, job: Job) {
        let Job { request, done, .. } = job;
        let fault = self.state.lock().fault.clone();
        done(fault.map_or_else(|| self.perform(request), Err));
    }

    fn perform(&self, request: Request) -> Result<Answer, HsmError> {
        match request {
            Request::Decrypt { sealed, .. } => {
                let (rest, tag) = sealed.split_at(sealed.len() - 16);
                if tag != [b'T'; 16] {
                    return Err(HsmError::AuthenticationFailed);
                }
                let stored = self
                    .arena
                    .store(&rest[12..])
                    .map_err(|_| HsmError::NoLockedMemory)?;
                Ok(Answer::Plaintext(stored))
            }
            Request::Encrypt { plaintext, .. } => {
                let mut sealed = vec![0; 12];
                sealed.extend_from_slice(plaintext.expose());
                sealed.extend_from_slice(&[b'T'; 16]);
                Ok(Answer::Sealed(sealed))
            }
            Request::Find { name } => Ok(Answer::Key(self.state.lock().keys.get(&*name).cloned())),
            Request::Create { name } => {
                let mut state = self.state.lock();
                let made = state
                    .keys
                    .entry(name.to_string())
                    .or_insert_with(|| record(&name, "new"));
                Ok(Answer::Key(Some(Arc::clone(made))))
            }
            other => self.manage(other),
        }
    }

    fn manage(&self, request: Request) -> Result<Answer, HsmError> {
        match request {
            Request::Rotate { name } => Ok(Answer::Key(self.rotate(&name))),
            Request::Configure { name, change } => {
                let Some(record) = self.key(&name) else {
                    return Ok(Answer::Key(None));
                };
                let changed = Arc::new(record.changed(&change)?);
                self.set_key(Arc::clone(&changed));
                Ok(Answer::Key(Some(changed)))
            }
            Request::Delete { name } => {
                self.key(&name)
                    .ok_or(HsmError::ObjectNotFound)?
                    .check_deletion()?;
                self.remove_key(&name);
                Ok(Answer::Key(None))
            }
            Request::List => {
                let mut names: Vec<Arc<str>> = Vec::new();
                names.extend(
                    self.state
                        .lock()
                        .keys
                        .keys()
                        .map(|name| name.as_str().into()),
                );
                names.sort_unstable();
                Ok(Answer::Names(names.into()))
            }
            Request::Random { bytes } => {
                let random = self.state.lock().random.clone();
                let byte = random.unwrap_or(Err(HsmError::Unsupported("no random")))?;
                let stored = self.arena.store(&vec![byte; bytes]);
                stored
                    .map(Answer::Plaintext)
                    .map_err(|_| HsmError::NoLockedMemory)
            }
            _ => Err(HsmError::Unsupported("not served by the fake")),
        }
    }
}

impl Hsm for FakeHsm {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn submit(&self, job: Job) {
        let mut state = self.state.lock();
        state.seen.push(match job.request {
            Request::Decrypt { .. } => "decrypt",
            Request::Encrypt { .. } => "encrypt",
            Request::Find { .. } => "find",
            Request::Create { .. } | Request::CreateAs { .. } => "create",
            Request::Rotate { .. } => "rotate",
            Request::Configure { .. } => "configure",
            Request::Delete { .. } => "delete",
            Request::List => "list",
            Request::Random { .. } => "random",
        });
        if state.holds {
            state.held.push_back(job);
            self.changed.notify_all();
            return;
        }
        drop(state);
        self.answer(job);
    }

    fn health(&self) -> Health {
        let state = self.state.lock();
        Health {
            up: !state.down,
            was_up: true,
            queued: state.held.len(),
            detail: "a fake".to_owned(),
            access: Access {
                refused: None,
                ends_in_s: state.tells_all.then_some(100),
            },
        }
    }

    fn servers(&self) -> Vec<ServerReport> {
        let report = ServerReport {
            label: "fake:1".into(),
            live: 1,
            resting: None,
            state: ServerState::Active,
            trouble: None,
            check_us: Some(1500),
            batch_max: 1,
        };
        let tells_all = self.state.lock().tells_all;
        Vec::from_iter(tells_all.then_some(report))
    }

    fn offers_random(&self) -> bool {
        self.state.lock().random.is_some()
    }

    fn shutdown(&self) {
        let held: Vec<Job> = self.state.lock().held.drain(..).collect();
        for job in held {
            (job.done)(Err(HsmError::Abandoned));
        }
    }
}
