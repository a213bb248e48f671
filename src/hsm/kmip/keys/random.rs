//! Random bytes of the HSM's own generator.
//!
//! Must never be true: fewer bytes than asked for taken as enough; the bytes outside locked memory.

use super::super::super::HsmError;
use super::{Stop, Work};
use crate::secret::SecretKey;
use crate::wire::kmip::{RequestPayload, RngRetrieve, RngRetrieved};

/// Bytes of one answer; data keys need 64.
const BYTES_MAX: usize = 4096;

impl Work<'_> {
    pub(super) fn random(&mut self, bytes: usize) -> Result<SecretKey, Stop> {
        let wanted = i32::try_from(bytes)
            .ok()
            .filter(|_| (1..=BYTES_MAX).contains(&bytes));
        let Some(data_length) = wanted else {
            return Err(HsmError::Unsupported("random bytes: 1 to 4096 at once").into());
        };
        if !self.session.offers_random {
            return Err(HsmError::Unsupported("this HSM offers no RNG Retrieve").into());
        }
        let store = self.session.store();
        let retrieve = RequestPayload::RngRetrieve(RngRetrieve { data_length });
        let stored = self.call(retrieve, |payload| {
            let data = RngRetrieved::decode(payload)?.data;
            Ok((data.len() == bytes).then(|| store.put(data)))
        })?;
        let Some(stored) = stored else {
            let why = "the HSM gave another number of random bytes than asked for";
            return Err(HsmError::Protocol(why).into());
        };
        stored.map_err(|_| HsmError::NoLockedMemory.into())
    }
}
