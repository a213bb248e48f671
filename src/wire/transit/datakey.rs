//! Bodies of `POST datakey/{plaintext,wrapped}/:name`.

use super::super::json::Text;
use super::Refusal;
use super::fields::{self, Slot, VALIDATED};

/// `bits` where none is given; `null` is 0, which is none of the allowed sizes.
const BITS_DEFAULT: i64 = 256;

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
pub fn datakey_body(body: &[u8], form: bool) -> Result<DatakeyBody<'_>, Refusal> {
    let names = [
        "associated_data",
        "bits",
        "context",
        "key_version",
        "plaintext",
    ];
    let mut slots = names.map(|name| Slot { name, value: None });
    let mut strangers = fields::read(body, form, &mut slots)?;
    let [associated_data, bits, context, key_version, kind] = &mut slots;
    // The kind stands in the path, whatever the body says.
    strangers.kind_given = kind.value.take().is_some();
    Ok(DatakeyBody {
        associated_data: VALIDATED.filled(associated_data)?,
        bits: VALIDATED.int(bits)?.unwrap_or(BITS_DEFAULT),
        context: VALIDATED.filled(context)?,
        key_version: VALIDATED.int(key_version)?.unwrap_or(0),
        warnings: strangers.warnings(),
    })
}
