//! Vault's Transit JSON: request bodies to borrowed values, answers to bytes. Both directions.

use std::borrow::Cow;

/// A field that holds a secret or a ciphertext, as it stood in the JSON: base64 text, unescaped.
/// Borrowed when it held no escape; the owned form is wiped.
pub enum Text<'a> {
    Borrowed(&'a str),
    Unescaped(zeroize::Zeroizing<String>),
}

/// One item to encrypt or decrypt.
pub struct Item<'a> {
    /// `plaintext` or `ciphertext`.
    pub text: Text<'a>,
    /// `associated_data`, still base64; `None` when absent or empty.
    pub associated_data: Option<Text<'a>>,
    /// `context`, still base64.
    pub context: Option<Text<'a>>,
    /// `key_version`, encrypt only; 0 is the latest.
    pub key_version: i64,
    /// `reference`, echoed.
    pub reference: Cow<'a, str>,
}

/// The body of an encrypt or decrypt.
pub struct CryptBody<'a> {
    /// At least one; exactly one when not a batch.
    pub items: Vec<Item<'a>>,
    /// Whether `batch_input` was given.
    pub batch: bool,
    /// `partial_failure_response_code`, 400 by default.
    pub partial_failure_response_code: u16,
    /// Ready texts for `warnings`.
    pub warnings: Vec<String>,
}

/// A refusal of a body: status and the text of `errors[0]`, to the letter of OpenBao.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    pub status: u16,
    pub text: Cow<'static, str>,
}

/// Which field an item must have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verb {
    Encrypt,
    Decrypt,
}

/// Decodes the body of an encrypt or decrypt.
pub fn crypt_body(_verb: Verb, _body: &[u8]) -> Result<CryptBody<'_>, Refusal> {
    todo!()
}
