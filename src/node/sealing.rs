//! The HSM's key that wraps the shared cache's sealing key: found or made, asked on a thread that may wait.
//!
//! Must never be true: a wait without a deadline; that key used for anything else (the engine refuses it to
//! clients). Called by the shared cache's keeper.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::cluster::{KeyWrap, WrapError};
use crate::engine::fault_of;
use crate::hsm::{Answer, Hsm, HsmError, Job, KeyRecord, KeyState, KeyVersion, Request};
use crate::secret::{SecretBytes, SecretKey};

/// For one question.
const WITHIN: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Sealing {
    hsm: Arc<dyn Hsm>,
    name: Arc<str>,
    record: Mutex<Option<Arc<KeyRecord>>>,
}

impl Sealing {
    pub(super) fn new(hsm: Arc<dyn Hsm>, name: &str) -> Self {
        Self {
            hsm,
            name: name.into(),
            record: Mutex::new(None),
        }
    }

    fn ask(&self, request: Request) -> Result<Answer, HsmError> {
        let (tell, told) = mpsc::sync_channel(1);
        let done = Box::new(move |outcome| {
            // Who asked may have given up.
            let _ = tell.send(outcome);
        });
        self.hsm
            .submit(Job::new(request, Instant::now() + WITHIN, done));
        told.recv_timeout(2 * WITHIN)
            .unwrap_or(Err(HsmError::Abandoned))
    }

    /// The key as the HSM has it; made if it has none.
    fn look(&self) -> Result<Arc<KeyRecord>, WrapError> {
        let name = || Arc::clone(&self.name);
        let found = match self.ask(Request::Find { name: name() }) {
            Ok(Answer::Key(None)) => self.ask(Request::Create { name: name() }),
            found => found,
        };
        match found {
            Ok(Answer::Key(Some(record))) => {
                *self.record.lock() = Some(Arc::clone(&record));
                Ok(record)
            }
            Ok(_) => Err(WrapError::Unavailable(
                "another answer than asked for".to_owned(),
            )),
            Err(error) => Err(self.unavailable(&error)),
        }
    }

    fn unavailable(&self, error: &HsmError) -> WrapError {
        WrapError::Unavailable(format!("key {}: {}", self.name, fault_of(error).text))
    }

    /// Version `number`, or the newest that is in use for 0.
    fn version(&self, number: u32) -> Result<KeyVersion, WrapError> {
        let held = self.record.lock().clone();
        let find = |record: &KeyRecord| {
            let fits = |version: &&KeyVersion| match number {
                0 => version.state == KeyState::Active,
                _ => version.number == number,
            };
            record.versions.iter().rev().find(fits).cloned()
        };
        if let Some(version) = held.as_deref().and_then(find) {
            return Ok(version);
        }
        let record = self.look()?;
        find(&record).ok_or_else(|| {
            let what = match number {
                0 => "no version in use".to_owned(),
                _ => format!("no version {number}"),
            };
            WrapError::Refused(format!("the HSM's key {} has {what}", self.name))
        })
    }
}

impl KeyWrap for Sealing {
    fn wrap(&self, key: SecretBytes, associated_data: &[u8]) -> Result<(u32, Vec<u8>), WrapError> {
        // What is known may be old.
        *self.record.lock() = None;
        let version = self.version(0)?;
        let request = Request::Encrypt {
            object: version.object,
            plaintext: key,
            associated_data: associated_data.to_vec(),
        };
        match self.ask(request) {
            Ok(Answer::Sealed(sealed)) => Ok((version.number, sealed)),
            Ok(_) => Err(WrapError::Unavailable(
                "another answer than asked for".to_owned(),
            )),
            Err(error) => Err(self.unavailable(&error)),
        }
    }

    fn unwrap(
        &self,
        version: u32,
        wrapped: &[u8],
        associated_data: &[u8],
    ) -> Result<SecretKey, WrapError> {
        if !self.hsm.envelope().fits(wrapped.len()) {
            return Err(WrapError::Refused(
                "it has a length that none has".to_owned(),
            ));
        }
        let version = self.version(version.max(1))?;
        let request = Request::Decrypt {
            object: version.object,
            sealed: wrapped.to_vec(),
            associated_data: associated_data.to_vec(),
        };
        match self.ask(request) {
            Ok(Answer::Plaintext(key)) => Ok(key),
            Ok(_) => Err(WrapError::Unavailable(
                "another answer than asked for".to_owned(),
            )),
            Err(HsmError::AuthenticationFailed | HsmError::Rejected(_)) => Err(WrapError::Refused(
                "the HSM's key did not wrap it".to_owned(),
            )),
            Err(error @ HsmError::ObjectNotFound) => {
                // Made anew perhaps: look next time.
                *self.record.lock() = None;
                Err(self.unavailable(&error))
            }
            Err(error) => Err(self.unavailable(&error)),
        }
    }
}
