//! Bodies of `POST keys/:name/config`, and of endpoints that read no field.

use super::Refusal;

/// What was asked of a key's settings; `None` where the field was absent.
#[derive(Debug, Default)]
pub struct ConfigBody {
    /// `min_decryption_version`; may be negative.
    pub min_decryption_version: Option<i64>,
    /// `min_encryption_version`; may be negative.
    pub min_encryption_version: Option<i64>,
    /// `deletion_allowed`.
    pub deletion_allowed: Option<bool>,
    /// `exportable`.
    pub exportable: Option<bool>,
    /// `allow_plaintext_backup`.
    pub allow_plaintext_backup: Option<bool>,
    /// `auto_rotate_period`.
    pub auto_rotate_period_s: Option<u64>,
    /// Ready texts for `warnings`.
    pub warnings: Vec<String>,
}

/// A body of which nothing is used.
#[derive(Debug, Default)]
pub struct IgnoredBody {
    /// Ready texts for `warnings`.
    pub warnings: Vec<String>,
}

/// Decodes the body of a config; `form` for one sent as `application/x-www-form-urlencoded`.
pub fn config_body(_body: &[u8], _form: bool) -> Result<ConfigBody, Refusal> {
    Err(Refusal::internal("not served yet"))
}

/// Decodes a body of which no field beside `known` is expected, and none is used.
pub fn ignored_body(
    _body: &[u8],
    _form: bool,
    _known: &[&'static str],
) -> Result<IgnoredBody, Refusal> {
    Err(Refusal::internal("not served yet"))
}
