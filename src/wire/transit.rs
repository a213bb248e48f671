//! Vault's Transit JSON: request bodies to borrowed values, answers to bytes. Both directions.
//!
//! Must never be true: an allocation for a single decrypt that is hit, a text that differs from
//! OpenBao's, a secret in an owned string that is not wiped. Called by `api`, the Vault back end and
//! the load generator.
//!
//! Base64 is not decoded here: in a batch a bad text fails its item only, which `api` decides.

mod about;
mod answer;
mod batch;
mod ciphertext;
mod client;
mod config;
mod crypt;
mod datakey;
mod fields;
mod form;
mod key;
mod query;
mod rewrap;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub use super::json::Text;
pub use about::{
    Health, SealStatus, Token, put_auth_envelope, put_health, put_init, put_leader,
    put_lookup_self, put_seal_status,
};
pub use answer::{
    KeyData, MISSING_BATCH_CODE_WARNING, envelope_close, envelope_open, error_body, no_errors_body,
    put_batch_close, put_batch_open, put_datakey, put_decrypted, put_decrypted_item, put_encrypted,
    put_encrypted_item, put_failed_decrypt_item, put_failed_encrypt_item, put_key_data,
    put_key_list,
};
pub use ciphertext::{
    CIPHERTEXT_LENGTH_ERROR, VERSION_TOO_NEW_ERROR, VERSION_TOO_OLD_ERROR, decode_ciphertext,
    parse_ciphertext, put_ciphertext,
};
pub use client::{Answer, AnswerItem, ClientItem, parse_answer, put_crypt_request};
pub use config::{ConfigBody, IgnoredBody, TokenBody, config_body, ignored_body, token_body};
pub use crypt::{crypt_body, crypt_form};
pub use datakey::{DatakeyBody, datakey_body};
pub use key::{KeyBody, key_body, key_form, key_query};
pub use query::{ListQuery, list_query, wants_list};

/// One item to encrypt, decrypt or rewrap.
#[derive(Debug)]
pub struct Item<'a> {
    /// `plaintext` or `ciphertext`. An empty ciphertext stands only in a batch, where it fails its
    /// item with [`Verb::missing`].
    pub text: Text<'a>,
    /// `associated_data`, still base64; `None` when absent or empty.
    pub associated_data: Option<Text<'a>>,
    /// `context`, still base64; `None` when absent or empty.
    pub context: Option<Text<'a>>,
    /// `key_version`, encrypt and rewrap only; 0 is the latest; may be negative.
    pub key_version: i64,
    /// `reference`, echoed.
    pub reference: Cow<'a, str>,
}

/// The body of an encrypt, decrypt or rewrap.
#[derive(Debug)]
pub struct CryptBody<'a> {
    /// The only item when not a batch.
    first: Item<'a>,
    /// The further ones of a batch; empty and unallocated otherwise.
    rest: Vec<Item<'a>>,
    /// Whether `batch_input` was given.
    pub batch: bool,
    /// `partial_failure_response_code`, if one was given and is a status. Rewrap does not know it: its
    /// batches are always answered 200.
    pub partial_failure_response_code: Option<u16>,
    /// The given code is no status: add [`MISSING_BATCH_CODE_WARNING`] when it would have been used.
    pub partial_failure_code_invalid: bool,
    /// Ready texts for `warnings`.
    pub warnings: Vec<String>,
    /// `type` of a key that encrypt may have to make.
    pub kind: Option<Text<'a>>,
    /// `convergent_encryption` of such a key.
    pub convergent: bool,
}

impl<'a> CryptBody<'a> {
    /// The items in order.
    #[inline]
    pub fn items(&self) -> impl ExactSizeIterator<Item = &Item<'a>> + Clone {
        Items {
            first: Some(&self.first),
            rest: self.rest.iter(),
        }
    }

    /// The first item, the only one outside a batch.
    #[inline]
    pub fn first(&self) -> &Item<'a> {
        &self.first
    }

    /// Number of items, at least one.
    #[inline]
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        1 + self.rest.len()
    }
}

#[derive(Clone)]
struct Items<'b, 'a> {
    first: Option<&'b Item<'a>>,
    rest: std::slice::Iter<'b, Item<'a>>,
}

impl<'b, 'a> Iterator for Items<'b, 'a> {
    type Item = &'b Item<'a>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.first.take().or_else(|| self.rest.next())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = usize::from(self.first.is_some()) + self.rest.len();
        (len, Some(len))
    }
}

impl ExactSizeIterator for Items<'_, '_> {}

/// A refusal of a body: status and the text of `errors[0]`, to the letter of OpenBao.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The text.
    pub text: Cow<'static, str>,
}

impl Refusal {
    /// A 400.
    pub(crate) fn bad_request(text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status: 400,
            text: text.into(),
        }
    }

    /// A 500 in the frame that OpenBao puts around Go errors.
    pub(crate) fn internal(text: &str) -> Self {
        Self {
            status: 500,
            text: Cow::Owned(format!("1 error occurred:\n\t* {text}\n\n")),
        }
    }
}

impl From<super::json::JsonError> for Refusal {
    fn from(error: super::json::JsonError) -> Self {
        Self::bad_request(error.to_string())
    }
}

/// Which field an item must have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verb {
    /// `plaintext`.
    Encrypt,
    /// `ciphertext`.
    Decrypt,
    /// `ciphertext`, and a ciphertext is the result.
    Rewrap,
}

impl Verb {
    /// Name of the field.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Encrypt => "plaintext",
            Self::Decrypt | Self::Rewrap => "ciphertext",
        }
    }

    /// Name of the field of the answer.
    pub const fn result_field(self) -> &'static str {
        match self {
            Self::Encrypt | Self::Rewrap => "ciphertext",
            Self::Decrypt => "plaintext",
        }
    }

    /// What is said when it is missing.
    pub const fn missing(self) -> &'static str {
        match self {
            Self::Encrypt => "missing plaintext to encrypt",
            Self::Decrypt | Self::Rewrap => "missing ciphertext to decrypt",
        }
    }
}
