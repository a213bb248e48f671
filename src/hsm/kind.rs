//! What a key is beside its versions, in Transit's terms. An HSM's and our own keys are all of the default
//! kind; a Vault has others.

use std::borrow::Cow;

/// The type of key that every back end holds.
const USUAL: &str = "aes256-gcm96";

/// Type and options of a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyKind {
    /// Transit's `type`.
    pub name: Cow<'static, str>,
    /// Each use needs a context, from which a key of its own is derived.
    pub derived: bool,
    /// Equal plaintexts have equal ciphertexts.
    pub convergent: bool,
    /// The key can be read out of the Vault.
    pub exportable: bool,
    /// So can a backup of it.
    pub allow_plaintext_backup: bool,
    /// Seconds after which the Vault adds a version; 0: never.
    pub auto_rotate_period_s: u64,
    /// Lowest version that still exists; 0: all do.
    pub min_available_version: u32,
    /// Not to be used until it is restored.
    pub soft_deleted: bool,
    /// Whether keys could be derived from it.
    pub supports_derivation: bool,
    /// Whether it encrypts and decrypts.
    pub supports_encryption: bool,
    /// Whether it signs.
    pub supports_signing: bool,
}

impl Default for KeyKind {
    fn default() -> Self {
        Self {
            name: Cow::Borrowed(USUAL),
            derived: false,
            convergent: false,
            exportable: false,
            allow_plaintext_backup: false,
            auto_rotate_period_s: 0,
            min_available_version: 0,
            soft_deleted: false,
            // A Vault could derive with such a key; other back ends cannot, and do not say that they can.
            supports_derivation: false,
            supports_encryption: true,
            supports_signing: false,
        }
    }
}

/// What a new key is to be; `None` leaves it to the Vault.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct KeySpec {
    /// `type`.
    pub kind: Option<String>,
    /// `derived`.
    pub derived: Option<bool>,
    /// `convergent_encryption`.
    pub convergent: Option<bool>,
    /// `exportable`.
    pub exportable: Option<bool>,
    /// `allow_plaintext_backup`.
    pub allow_plaintext_backup: Option<bool>,
    /// `auto_rotate_period`, in seconds.
    pub auto_rotate_period_s: Option<u64>,
    /// `key_size`, in bytes.
    pub key_size: Option<u64>,
}
