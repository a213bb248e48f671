//! Bodies of `POST keys/:name/config`, and of endpoints that read no field.

use super::super::json::Value;
use super::Refusal;
use super::fields::{self, Slot, VALIDATED};
use super::key::duration_s;

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
pub fn config_body(body: &[u8], form: bool) -> Result<ConfigBody, Refusal> {
    let names = [
        "allow_plaintext_backup",
        "auto_rotate_period",
        "deletion_allowed",
        "exportable",
        "min_decryption_version",
        "min_encryption_version",
    ];
    let mut slots = names.map(|name| Slot { name, value: None });
    let strangers = fields::read(body, form, &mut slots)?;
    let [backup, period, deletion, exportable, decryption, encryption] = &mut slots;
    // Of all fields, only the period takes `null` for absent.
    period.value.take_if(|value| matches!(value, Value::Null));
    Ok(ConfigBody {
        allow_plaintext_backup: VALIDATED.bool(backup)?,
        auto_rotate_period_s: duration_s(period)?,
        deletion_allowed: VALIDATED.bool(deletion)?,
        exportable: VALIDATED.bool(exportable)?,
        min_decryption_version: VALIDATED.int(decryption)?,
        min_encryption_version: VALIDATED.int(encryption)?,
        warnings: strangers.warnings(),
    })
}

/// Decodes a body of which no field beside `known` is expected, and none is used.
pub fn ignored_body(
    body: &[u8],
    form: bool,
    known: &[&'static str],
) -> Result<IgnoredBody, Refusal> {
    let mut slots: Vec<Slot<'_>> = known
        .iter()
        .map(|&name| Slot { name, value: None })
        .collect();
    let strangers = fields::read(body, form, &mut slots)?;
    Ok(IgnoredBody {
        warnings: strangers.warnings(),
    })
}

/// Decodes the body of a login, or of a token's lookup, renewal or revocation, which knows `known`:
/// nothing of it is used, but a field of the wrong type is refused. `increment` is a duration, all
/// others are texts.
pub fn token_body(body: &[u8], form: bool, known: &[&'static str]) -> Result<IgnoredBody, Refusal> {
    let mut slots: Vec<Slot<'_>> = known
        .iter()
        .map(|&name| Slot { name, value: None })
        .collect();
    let strangers = fields::read(body, form, &mut slots)?;
    for slot in &mut slots {
        if slot.name == "increment" {
            duration_s(slot)?;
        } else {
            VALIDATED.text(slot)?;
        }
    }
    Ok(IgnoredBody {
        warnings: strangers.warnings(),
    })
}
