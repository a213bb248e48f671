//! Whether a back end works: a random value wrapped and unwrapped again, as a data key is.
//!
//! Must never be true: anything of a client's in it; a wrong answer taken for a right one. Done by the pool and the
//! embedded back end now and then, and by `kms check`.

use ring::rand::{SecureRandom, SystemRandom};

use super::{Answer, HsmError, ObjectId, Request};
use crate::secret::SecretBytes;

const VALUE_BYTES: usize = 32;
/// What nobody should go on using.
pub const LIES: &str = "it unwrapped something else than what it had wrapped";
const ANOTHER: HsmError = HsmError::Protocol("another answer than asked for");

/// Wraps a random value under `object` and unwraps it, each by `ask`.
pub fn round_trip(
    object: &ObjectId,
    mut ask: impl FnMut(Request) -> Result<Answer, HsmError>,
) -> Result<(), HsmError> {
    let mut value = vec![0; VALUE_BYTES];
    let filled = SystemRandom::new().fill(&mut value);
    filled.map_err(|_| HsmError::Unavailable("the kernel gives no random numbers".into()))?;
    let value = SecretBytes::new(value);
    let wrap = Request::Encrypt {
        object: object.clone(),
        plaintext: SecretBytes::from_slice(value.expose()),
        associated_data: Vec::new(),
    };
    let Answer::Sealed(sealed) = ask(wrap)? else {
        return Err(ANOTHER);
    };
    let unwrap = Request::Decrypt {
        object: object.clone(),
        sealed,
        associated_data: Vec::new(),
    };
    let Answer::Plaintext(opened) = ask(unwrap)? else {
        return Err(ANOTHER);
    };
    if opened.expose(|opened| opened == value.expose()) {
        Ok(())
    } else {
        Err(HsmError::Protocol(LIES))
    }
}
