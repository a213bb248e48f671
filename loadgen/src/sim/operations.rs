//! One item of a request: what it asks of the objects and keys.
//!
//! Must never be true: an operation that the request's version does not have; a key used against its
//! state or its usage mask. Called by [`super::hsm`], item by item.

use kms::limits::{NONCE_BYTES, TAG_BYTES};
use kms::wire::kmip::enums::{
    block_cipher_mode, cryptographic_algorithm, cryptographic_usage_mask, operation,
    query_function, result_reason,
};
use kms::wire::kmip::{
    AddAttribute, Create, CryptographicParameters, Decrypt, DiscoverVersions, Encrypt,
    GetAttributes, KmipError, Locate, Mac, ModifyAttribute, ObjectRef, ProtocolVersion, Query,
    RequestItem, Revoke, RngRetrieve,
};
use ring::rand::{SecureRandom, SystemRandom};

use super::answer::{Done, Outcome, Refusal, Work};
use super::store::Store;
use super::truth::Digests;

mod cbc;
mod refusal;

/// Most random bytes of one answer.
const RANDOM_BYTES_MAX: usize = 4096;
/// What every version has.
const OPERATIONS_1_0: [u32; 9] = [
    operation::CREATE,
    operation::LOCATE,
    operation::GET_ATTRIBUTES,
    operation::ACTIVATE,
    operation::REVOKE,
    operation::DESTROY,
    operation::QUERY,
    operation::ADD_ATTRIBUTE,
    operation::MODIFY_ATTRIBUTE,
];
/// What 1.1 added.
const OPERATIONS_1_1: [u32; 10] = with(OPERATIONS_1_0, [operation::DISCOVER_VERSIONS]);
/// What 1.2 added.
const OPERATIONS_1_2: [u32; 15] = with(
    OPERATIONS_1_1,
    [
        operation::ENCRYPT,
        operation::DECRYPT,
        operation::RNG_RETRIEVE,
        operation::MAC,
        operation::MAC_VERIFY,
    ],
);

const fn with<const A: usize, const B: usize, const C: usize>(
    old: [u32; A],
    new: [u32; B],
) -> [u32; C] {
    let mut all = [0; C];
    let mut at = 0;
    while at < A {
        all[at] = old[at];
        at += 1;
    }
    while at < C {
        all[at] = new[at - A];
        at += 1;
    }
    all
}

/// The operations of a version.
pub(super) fn operations(version: ProtocolVersion) -> &'static [u32] {
    if version >= ProtocolVersion::V1_2 {
        &OPERATIONS_1_2
    } else if version > ProtocolVersion::V1_0 {
        &OPERATIONS_1_1
    } else {
        &OPERATIONS_1_0
    }
}

/// What the items of one message have in common.
pub(super) struct Desk<'h> {
    pub(super) store: &'h mut Store,
    pub(super) work: &'h mut Work,
    pub(super) random: &'h SystemRandom,
    /// Versions spoken, best first.
    pub(super) spoken: &'h [ProtocolVersion],
    pub(super) version: ProtocolVersion,
    pub(super) now_unix_s: i64,
    /// Whether digests are wanted.
    pub(super) logs: bool,
    /// ID Placeholder: the object that the last item made or found.
    pub(super) placeholder: Option<usize>,
}

impl Desk<'_> {
    /// Performs one item.
    pub(super) fn perform<'f>(&mut self, item: &RequestItem<'f>) -> Done<'f> {
        let mut done = Done::new(item.operation, item.unique_batch_item_id);
        let outcome = if operations(self.version).contains(&item.operation) {
            self.outcome(item, &mut done)
        } else {
            Err((
                result_reason::OPERATION_NOT_SUPPORTED,
                "the simulator does not have this operation in this version",
            ))
        };
        done.outcome = outcome.unwrap_or_else(Outcome::Failed);
        done
    }

    fn outcome(&mut self, item: &RequestItem<'_>, done: &mut Done<'_>) -> Result<Outcome, Refusal> {
        let payload = item.payload.clone();
        match item.operation {
            operation::ENCRYPT => {
                let asked = Encrypt::decode(payload).map_err(unreadable)?;
                if cbc::is_asked(asked.parameters) {
                    return self.encrypt_cbc(&asked, done);
                }
                self.encrypt(&asked, done)
            }
            operation::DECRYPT => {
                let asked = Decrypt::decode(payload).map_err(unreadable)?;
                if cbc::is_asked(asked.parameters) {
                    return self.decrypt_cbc(&asked, done);
                }
                self.decrypt(&asked, done)
            }
            operation::MAC => self.mac(&Mac::decode(payload).map_err(unreadable)?),
            operation::MAC_VERIFY => self.mac_verify(&Mac::decode(payload).map_err(unreadable)?),
            operation::QUERY => self.query(item),
            operation::DISCOVER_VERSIONS => self.discover(item),
            operation::LOCATE => self.locate(&Locate::decode(payload).map_err(unreadable)?),
            operation::RNG_RETRIEVE => {
                self.retrieve(RngRetrieve::decode(payload).map_err(unreadable)?)
            }
            _ => self.outcome_at_object(item),
        }
    }

    /// Of what is done to one object.
    fn outcome_at_object(&mut self, item: &RequestItem<'_>) -> Result<Outcome, Refusal> {
        let payload = item.payload.clone();
        match item.operation {
            operation::GET_ATTRIBUTES => {
                let (object, wanted) = GetAttributes::decode(payload).map_err(unreadable)?;
                let wanted = wanted.collect();
                Ok(Outcome::Attributes(
                    self.object(object.unique_identifier)?,
                    wanted,
                ))
            }
            operation::CREATE => {
                let asked = Create::decode(payload).map_err(unreadable)?;
                let made = self
                    .store
                    .create(asked.object_type, &asked.attributes, self.now_unix_s);
                let at = made.map_err(|error| self.refuse(error))?;
                self.placeholder = Some(at);
                Ok(Outcome::Object(at))
            }
            operation::REVOKE => {
                let asked = Revoke::decode(payload).map_err(unreadable)?;
                let at = self.object(asked.unique_identifier)?;
                let revoked = self.store.revoke(at, asked.reason_code);
                revoked.map_err(|error| self.refuse(error))?;
                Ok(Outcome::Object(at))
            }
            operation::ADD_ATTRIBUTE => {
                let asked = AddAttribute::decode(payload).map_err(unreadable)?;
                let at = self.object(Some(asked.unique_identifier))?;
                let added = self.store.add_information(at, asked.new);
                added.map_err(|error| self.refuse(error))?;
                Ok(Outcome::Object(at))
            }
            operation::MODIFY_ATTRIBUTE => {
                let asked = ModifyAttribute::decode(payload).map_err(unreadable)?;
                let at = self.object(Some(asked.unique_identifier))?;
                let modified = self.store.modify_information(at, asked.current, asked.new);
                modified.map_err(|error| self.refuse(error))?;
                Ok(Outcome::Object(at))
            }
            _ => {
                let asked = ObjectRef::decode(payload).map_err(unreadable)?;
                let at = self.object(asked.unique_identifier)?;
                let changed = if item.operation == operation::ACTIVATE {
                    self.store.activate(at, self.now_unix_s)
                } else {
                    self.store.destroy(at)
                };
                changed.map_err(|error| self.refuse(error))?;
                Ok(Outcome::Object(at))
            }
        }
    }

    fn query(&self, item: &RequestItem<'_>) -> Result<Outcome, Refusal> {
        let (mut operations_wanted, mut vendor) = (false, false);
        for function in Query::decode(item.payload.clone()) {
            match function.map_err(unreadable)? {
                query_function::OPERATIONS => operations_wanted = true,
                query_function::SERVER_INFORMATION => vendor = true,
                _ => {}
            }
        }
        let operations: &[u32] = if operations_wanted {
            operations(self.version)
        } else {
            &[]
        };
        Ok(Outcome::Query { operations, vendor })
    }

    fn retrieve(&mut self, asked: RngRetrieve) -> Result<Outcome, Refusal> {
        let bytes = usize::try_from(asked.data_length).ok();
        let bytes = bytes.filter(|bytes| (1..=RANDOM_BYTES_MAX).contains(bytes));
        let wrong = (result_reason::INVALID_FIELD, "Data Length: 1 to 4096");
        let start = self.work.bytes.len();
        let end = start + bytes.ok_or(wrong)?;
        self.work.bytes.resize(end, 0);
        let filled = self
            .random
            .fill(self.work.bytes.get_mut(start..).unwrap_or_default());
        filled.map_err(|_| (result_reason::GENERAL_FAILURE, "no random numbers"))?;
        Ok(Outcome::Random(start..end))
    }

    /// The versions that both speak, or all of ours when the client names none.
    fn discover(&mut self, item: &RequestItem<'_>) -> Result<Outcome, Refusal> {
        let offered: Result<Vec<_>, _> = DiscoverVersions::decode(item.payload.clone())
            .take(64)
            .collect();
        let offered = offered.map_err(unreadable)?;
        let both = |version: &&ProtocolVersion| offered.is_empty() || offered.contains(version);
        self.work.versions.clear();
        self.work.versions.extend(self.spoken.iter().filter(both));
        Ok(Outcome::Versions)
    }

    fn locate(&mut self, asked: &Locate<'_>) -> Result<Outcome, Refusal> {
        let start = self.work.located.len();
        let most = asked.maximum_items.map_or(Ok(usize::MAX), usize::try_from);
        let most = most.map_err(|_| (result_reason::INVALID_FIELD, "Maximum Items is negative"))?;
        let found = self.store.locate(&asked.attributes).take(most);
        self.work.located.extend(found);
        self.placeholder = match self.work.located.get(start..) {
            Some([only]) => Some(*only),
            _ => None,
        };
        Ok(Outcome::Located(start..self.work.located.len()))
    }

    fn encrypt(&mut self, asked: &Encrypt<'_>, done: &mut Done<'_>) -> Result<Outcome, Refusal> {
        let object = self.object(asked.unique_identifier)?;
        done.object = Some(object);
        self.check_gcm(asked.parameters, asked.associated_data)?;
        let cipher = self
            .store
            .cipher(object, cryptographic_usage_mask::ENCRYPT, true);
        let cipher = cipher.map_err(|error| self.refuse(error))?;
        let (nonce, iv) = if let Some(iv) = asked.iv {
            (nonce(iv)?, None)
        } else {
            let mut made = [0; NONCE_BYTES];
            let filled = self.random.fill(&mut made);
            filled.map_err(|_| (result_reason::GENERAL_FAILURE, "no random numbers"))?;
            let start = self.work.bytes.len();
            self.work.bytes.extend_from_slice(&made);
            (made, Some(start..start + NONCE_BYTES))
        };
        let sealed = cipher.seal(
            nonce,
            asked.associated_data,
            asked.data,
            &mut self.work.bytes,
        );
        let (data, tag) =
            sealed.ok_or((result_reason::CRYPTOGRAPHIC_FAILURE, "the data is too long"))?;
        if self.logs {
            let at = |place: &std::ops::Range<usize>| {
                self.work.bytes.get(place.clone()).unwrap_or_default()
            };
            let sealed = [&nonce[..], at(&data), at(&tag)];
            done.digests = Some(Digests::of(sealed, Some(asked.data)));
        }
        // Below 1.4 an answer has no field for it, and servers drop it.
        let tag = (self.version >= ProtocolVersion::V1_4).then_some(tag);
        Ok(Outcome::Encrypted {
            object,
            data,
            iv,
            tag,
        })
    }

    fn decrypt(&mut self, asked: &Decrypt<'_>, done: &mut Done<'_>) -> Result<Outcome, Refusal> {
        let object = self.object(asked.unique_identifier)?;
        done.object = Some(object);
        self.check_gcm(asked.parameters, asked.associated_data)?;
        let cipher = self
            .store
            .cipher(object, cryptographic_usage_mask::DECRYPT, false);
        let cipher = cipher.map_err(|error| self.refuse(error))?;
        let iv = asked
            .iv
            .ok_or((result_reason::MISSING_DATA, "there is no IV"))?;
        let tag: Option<&[u8; TAG_BYTES]> = asked.tag.and_then(|tag| tag.try_into().ok());
        let missing = (
            result_reason::INVALID_FIELD,
            "a tag of 16 bytes must be there",
        );
        let tag = tag.ok_or(missing)?;
        let plain = cipher.open(
            nonce(iv)?,
            asked.associated_data,
            asked.data,
            tag,
            &mut self.work.bytes,
        );
        if self.logs {
            let plain = plain.clone().and_then(|place| self.work.bytes.get(place));
            done.digests = Some(Digests::of([iv, asked.data, tag], plain));
        }
        let wrong = (
            result_reason::CRYPTOGRAPHIC_FAILURE,
            "the authentication tag does not fit",
        );
        let data = plain.ok_or(wrong)?;
        Ok(Outcome::Decrypted { object, data })
    }

    fn check_gcm(
        &self,
        parameters: Option<CryptographicParameters>,
        associated_data: &[u8],
    ) -> Result<(), Refusal> {
        let p = parameters.unwrap_or_default();
        let fits = p
            .block_cipher_mode
            .is_none_or(|mode| mode == block_cipher_mode::GCM)
            && p.cryptographic_algorithm
                .is_none_or(|a| a == cryptographic_algorithm::AES)
            && p.tag_length
                .is_none_or(|bytes| usize::try_from(bytes) == Ok(TAG_BYTES));
        if !fits {
            let reason = self.by_version(
                result_reason::INVALID_FIELD,
                result_reason::UNSUPPORTED_CRYPTOGRAPHIC_PARAMETERS,
            );
            return Err((
                reason,
                "only AES-GCM with a tag of 16 bytes and AES-CBC with PKCS5 are there",
            ));
        }
        if !associated_data.is_empty() && self.version < ProtocolVersion::V1_4 {
            return Err((
                result_reason::INVALID_MESSAGE,
                "associated data needs KMIP 1.4",
            ));
        }
        Ok(())
    }

    fn object(&self, uid: Option<&str>) -> Result<usize, Refusal> {
        match uid {
            Some(uid) => self.store.find(uid).map_err(|error| self.refuse(error)),
            None => self.placeholder.ok_or((
                result_reason::INVALID_FIELD,
                "there is no Unique Identifier, and no item before it set the ID Placeholder",
            )),
        }
    }
}

fn nonce(iv: &[u8]) -> Result<[u8; NONCE_BYTES], Refusal> {
    let wrong = (result_reason::INVALID_FIELD, "the IV must have 12 bytes");
    iv.try_into().map_err(|_| wrong)
}

/// Passed to `map_err`, which hands the error over.
#[allow(clippy::needless_pass_by_value)]
fn unreadable(error: KmipError) -> Refusal {
    log::debug!("an item is refused: {error}");
    (result_reason::INVALID_MESSAGE, "the payload cannot be read")
}
