//! With which Result Reason something is refused, in the request's version.

use kms::wire::kmip::enums::result_reason;

use super::super::answer::Refusal;
use super::super::store::StoreError;
use super::Desk;

impl Desk<'_> {
    pub(super) fn by_version(&self, in_1: u32, in_2: u32) -> u32 {
        if self.version.major >= 2 { in_2 } else { in_1 }
    }

    pub(super) fn refuse(&self, error: StoreError) -> Refusal {
        use result_reason as r;
        match error {
            StoreError::NotFound => (
                self.by_version(r::ITEM_NOT_FOUND, r::OBJECT_NOT_FOUND),
                "there is no such object",
            ),
            StoreError::State => (
                self.by_version(r::PERMISSION_DENIED, r::WRONG_KEY_LIFECYCLE_STATE),
                "the state of the key does not allow it",
            ),
            StoreError::Usage => (
                self.by_version(
                    r::PERMISSION_DENIED,
                    r::INCOMPATIBLE_CRYPTOGRAPHIC_USAGE_MASK,
                ),
                "the Cryptographic Usage Mask of the key does not allow it",
            ),
            StoreError::Destroyed => (
                self.by_version(r::PERMISSION_DENIED, r::OBJECT_DESTROYED),
                "the key is destroyed",
            ),
            StoreError::NameTaken => (
                self.by_version(r::ILLEGAL_OPERATION, r::NON_UNIQUE_NAME_ATTRIBUTE),
                "another object has the name",
            ),
            StoreError::HasInformation => (
                r::ILLEGAL_OPERATION,
                "the object has its one Application Specific Information already",
            ),
            StoreError::NoInformation => (
                r::ITEM_NOT_FOUND,
                "the object has no such Application Specific Information",
            ),
            StoreError::Kind => (
                r::INVALID_FIELD,
                "only symmetric keys of 256 bits for AES or HMAC-SHA256 can be made",
            ),
            StoreError::Full => (
                self.by_version(r::GENERAL_FAILURE, r::SERVER_LIMIT_EXCEEDED),
                "the simulator holds as many objects as it can",
            ),
        }
    }
}
