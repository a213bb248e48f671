//! Bodies of `POST datakey/{plaintext,wrapped}/:name`.

use super::super::json::Text;
use super::Refusal;

/// What was asked of a data key.
#[derive(Debug)]
pub struct DatakeyBody<'a> {
    /// `bits`, 256 by default; any number, for the caller to refuse.
    pub bits: i64,
    /// `key_version`; 0 is the latest; may be negative.
    pub key_version: i64,
    /// `context`, still base64; `None` when absent or empty.
    pub context: Option<Text<'a>>,
    /// `associated_data`, still base64; `None` when absent or empty.
    pub associated_data: Option<Text<'a>>,
    /// Ready texts for `warnings`.
    pub warnings: Vec<String>,
}

/// Decodes the body of a data key; `form` for one sent as `application/x-www-form-urlencoded`.
pub fn datakey_body(_body: &[u8], _form: bool) -> Result<DatakeyBody<'_>, Refusal> {
    Err(Refusal::internal("not served yet"))
}
