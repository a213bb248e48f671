//! The seam to what performs the operations: one trait, jobs in, answers out.
//!
//! The engine does not know which back end it talks to, and no back end knows the cache. Must never
//! be true: a job whose `done` is neither called nor dropped; a plaintext outside the arena.

pub mod batch;
pub mod change;
pub mod check;
mod dial;
pub mod embedded;
pub mod envelope;
pub mod fleet;
mod kind;
pub mod kmip;
mod places;
pub mod pool;
pub mod store;
pub mod vault;

use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Instant;

use crate::metrics::HsmMetrics;
use crate::secret::{SecretBytes, SecretKey};

pub use change::KeyChange;
pub use envelope::Envelope;
pub use fleet::{ServerReport, ServerState};
pub use kind::{KeyKind, KeySpec};
pub use places::Way;

/// A back end's own name for one version of a key (KMIP: Unique Identifier, or [`ObjectId::pair`]
/// of two).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ObjectId(pub Arc<str>);

/// Life cycle of a key version, as KMIP's State.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum KeyState {
    /// Created, not yet to be used.
    PreActive,
    /// In use.
    Active,
    /// No longer to be used for wrapping.
    Deactivated,
    /// Known to others, perhaps.
    Compromised,
    /// Its material is gone.
    Destroyed,
}

/// One version of a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyVersion {
    /// From 1.
    pub number: u32,
    /// The object that holds it.
    pub object: ObjectId,
    /// Seconds since 1970; 0 when the back end does not tell.
    pub created_unix_s: u64,
    /// As the back end last told.
    pub state: KeyState,
}

/// A named master key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyRecord {
    /// As clients name it.
    pub name: Arc<str>,
    /// Ascending, never empty.
    pub versions: Vec<KeyVersion>,
    /// Lowest version that may unwrap.
    pub min_decryption_version: u32,
    /// Lowest version that may wrap; 0: the latest.
    pub min_encryption_version: u32,
    /// Whether clients may delete it.
    pub deletion_allowed: bool,
    /// What it is otherwise.
    pub kind: KeyKind,
}

/// What is asked. `sealed` is laid out as [`Hsm::envelope`] says, its length already checked.
#[derive(Clone, Debug)]
pub enum Request {
    /// Unwraps.
    Decrypt {
        /// With which key.
        object: ObjectId,
        /// As [`Envelope`] has it.
        sealed: Vec<u8>,
        /// Bound to the ciphertext.
        associated_data: Vec<u8>,
    },
    /// Wraps.
    Encrypt {
        /// With which key.
        object: ObjectId,
        /// What is wrapped.
        plaintext: SecretBytes,
        /// Bound to the ciphertext.
        associated_data: Vec<u8>,
    },
    /// Looks a key up by name.
    Find {
        /// The key.
        name: Arc<str>,
    },
    /// Creates and activates a key, or answers the existing one.
    Create {
        /// The key.
        name: Arc<str>,
    },
    /// As [`Request::Create`], with options that only a Vault has: for [`Envelope::Transit`] alone.
    CreateAs {
        /// The key.
        name: Arc<str>,
        /// What it is to be.
        spec: KeySpec,
    },
    /// Adds a version to a key and answers the whole key; `None` when there is no such key. Nodes that
    /// rotate one key at the same moment may share one new version.
    Rotate {
        /// The key.
        name: Arc<str>,
    },
    /// Changes a key's settings for all nodes; `None` when there is no such key.
    Configure {
        /// The key.
        name: Arc<str>,
        /// What becomes of it.
        change: KeyChange,
    },
    /// Deletes a key with all its versions, if its settings allow that. Answers `Key(None)`;
    /// [`HsmError::ObjectNotFound`] when there was no such key.
    Delete {
        /// The key.
        name: Arc<str>,
    },
    /// The names of all keys, sorted by their bytes, each once.
    List,
    /// Random bytes from the back end's own generator; see [`Hsm::offers_random`].
    Random {
        /// How many.
        bytes: usize,
    },
}

/// What comes back.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Of a Decrypt or a Random, in locked memory.
    Plaintext(SecretKey),
    /// As [`Envelope`] has it.
    Sealed(Vec<u8>),
    /// `None`: no such key.
    Key(Option<Arc<KeyRecord>>),
    /// Of a List.
    Names(Arc<[Arc<str>]>),
}

/// Why a job failed, by who is to blame. Cheap to clone: every joined waiter gets one.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum HsmError {
    /// The ciphertext, its associated data or its key do not belong together (client, 400).
    AuthenticationFailed,
    /// The object is gone (client or operator).
    ObjectNotFound,
    /// Several objects bear the name (operator).
    AmbiguousName {
        /// How many.
        count: usize,
    },
    /// The key's state forbids the operation (operator).
    NotActive {
        /// What it is.
        state: KeyState,
    },
    /// The HSM refused for another reason of its own (operator): reason code and its text, cleaned.
    Refused {
        /// KMIP Result Reason.
        reason: u32,
        /// The HSM's words, one line.
        text: Arc<str>,
    },
    /// This back end cannot do it; the text says what (client, 400).
    Unsupported(&'static str),
    /// The request contradicts the key's present state (client, 400), in Transit's words.
    Rejected(Arc<str>),
    /// The back end does not let this server do it, or is set up otherwise than this server expects:
    /// token, policy, namespace, mount (operator). One line, with the remedy where there is one.
    Declined(Arc<str>),
    /// The HSM is at its limit and says so (HSM, 503 with Retry-After).
    Busy,
    /// No connection, or the connection died with the job on it (HSM, 503). Text for the log.
    Unavailable(Arc<str>),
    /// The deadline passed, queueing included (HSM, 504).
    TimedOut,
    /// The queue is full (us, 503 with Retry-After).
    Overloaded,
    /// A job that nobody waited for was given up for others (us). Whoever came to wait for it asks anew.
    GaveWay,
    /// The HSM's answer broke the protocol (HSM, 502).
    Protocol(&'static str),
    /// No locked memory left for the plaintext (us, 503).
    NoLockedMemory,
    /// The job was dropped without an answer, as at shutdown (us, 503).
    Abandoned,
}

/// Called exactly once, on whatever thread has the answer; must not block. If it is dropped instead,
/// the flight's guard tells the waiters [`HsmError::Abandoned`].
pub type Done = Box<dyn FnOnce(Result<Answer, HsmError>) + Send>;

/// Who asks, as far as fairness goes: jobs of different tags take turns. 0 is the server itself.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ClientTag(pub u32);

/// When a job left the queue for the HSM: for whoever wants to tell waiting from the HSM's own time.
pub type SentStamp = OnceLock<Instant>;

/// One operation and whom to tell.
pub struct Job {
    /// What is asked.
    pub request: Request,
    /// Nobody waits longer.
    pub deadline: Instant,
    /// Whose turn it takes.
    pub client: ClientTag,
    /// Set once by the back end when the job is sent, if somebody wants to know.
    pub sent: Option<Arc<SentStamp>>,
    /// Whom to tell.
    pub done: Done,
}

impl Job {
    /// A job of the server itself, whose sending nobody times.
    pub fn new(request: Request, deadline: Instant, done: Done) -> Self {
        Self {
            request,
            deadline,
            client: ClientTag::default(),
            sent: None,
            done,
        }
    }
}

/// Names a job that nobody waits for, while it waits itself; no two of one time are the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Errand(pub u128);

/// What readiness and metrics want to know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Health {
    /// The last operation or probe succeeded.
    pub up: bool,
    /// It has been up at least once since start.
    pub was_up: bool,
    /// Jobs waiting.
    pub queued: usize,
    /// For people: what is wrong, or what it is connected to.
    pub detail: String,
    /// Of what lets this server in, where the back end has such a thing.
    pub access: Access,
}

/// State of this server's own access to a back end that it must log in to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Access {
    /// Why the back end, though it answers, does nothing for this server.
    pub refused: Option<Arc<str>>,
    /// Seconds until the access ends if nothing is done; `None`: never, or not known.
    pub ends_in_s: Option<u64>,
}

/// What a look at one server found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// What it is, for people.
    pub what: String,
    /// Its clock, seconds since 1970, if it tells.
    pub clock_unix_s: Option<i64>,
}

/// A back end.
pub trait Hsm: Send + Sync {
    /// For logs and `/readyz`: `kmip1`, `embedded`.
    fn name(&self) -> &'static str;
    /// Takes the job and returns at once, or calls `done` with [`HsmError::Overloaded`].
    fn submit(&self, job: Job);
    /// As [`Self::submit`], for a job that nobody waits for: it goes behind all others, and is answered
    /// [`HsmError::GaveWay`] when there is no capacity to spare.
    fn submit_spare(&self, errand: Errand, job: Job) {
        let _ = errand;
        self.submit(job);
    }
    /// Somebody waits for `errand` now: if it still waits, it takes `client`'s turn from here on.
    fn raise(&self, errand: Errand, client: ClientTag, deadline: Instant) {
        let _ = (errand, client, deadline);
    }
    /// State now; cheap.
    fn health(&self) -> Health;
    /// Each configured server in its order; none where the back end is in this process.
    fn servers(&self) -> Vec<ServerReport> {
        Vec::new()
    }
    /// What its connections count, where there are any.
    fn metrics(&self) -> Option<&HsmMetrics> {
        None
    }
    /// How ciphertexts are laid out; never changes.
    fn envelope(&self) -> Envelope {
        Envelope::AesGcm
    }
    /// From now on connections are made this way. Those that stand go on, and are replaced one by one, each
    /// once its successor stands, at a server that is still configured; a successor that the HSM refuses costs
    /// nobody the old one.
    fn renew(&self, way: Way) {
        let _ = way;
    }
    /// Whether [`Request::Random`] is served: data keys then come from there.
    fn offers_random(&self) -> bool {
        false
    }
    /// Ends its threads: queued jobs are answered with [`HsmError::Abandoned`].
    fn shutdown(&self);
}
