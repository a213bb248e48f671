//! What clients may change about a key, kept at the HSM: one Application Specific Information of our own
//! namespace, in words that the HSM's operator can read.
//!
//! It stands at the lowest version that has one, usually version 1, which gets it when it is created. An
//! object made by others is given one at the first change. A new version gets a copy as it is then, which
//! counts once the versions below are destroyed; a copy never allows deletion.
//!
//! Two nodes may change one key at once. 2.x names the value that it replaces, so the later one is refused
//! and looks again; in 1.x the later one wins. Either way the change is looked at again before it is
//! answered. Must never be true: settings that are not understood taken for none; a change answered that
//! the HSM does not show.

use std::fmt;
use std::sync::Arc;

use super::super::super::{HsmError, KeyChange, KeyRecord};
use super::super::session::{Fault, Refusal};
use super::family::Family;
use super::{Stop, Work, contended, refused};
use crate::wire::kmip::enums::result_reason as reason;
use crate::wire::kmip::{AddAttribute, ApplicationInformation, ModifyAttribute, RequestPayload};

/// Whose information it is.
pub(super) const NAMESPACE: &str = "connected-kms";

/// Looks of one change.
const LOOKS_MAX: u32 = 4;

const CANNOT_KEEP: &str = "this HSM cannot keep key settings (minimum versions, deletion_allowed) of this key: \
     it takes no Application Specific Information for the key's object";

/// The settings of a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Settings {
    pub(super) min_decryption_version: u32,
    pub(super) min_encryption_version: u32,
    pub(super) deletion_allowed: bool,
}

/// Settings as an object bears them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Kept {
    /// Attribute Index.
    index: i32,
    data: Box<str>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            min_decryption_version: 1,
            min_encryption_version: 0,
            deletion_allowed: false,
        }
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "min_decryption_version={} min_encryption_version={} deletion_allowed={}",
            self.min_decryption_version, self.min_encryption_version, self.deletion_allowed
        )
    }
}

impl Settings {
    pub(super) fn of(record: &KeyRecord) -> Self {
        Self {
            min_decryption_version: record.min_decryption_version,
            min_encryption_version: record.min_encryption_version,
            deletion_allowed: record.deletion_allowed,
        }
    }

    pub(super) fn copy_for_new_version(self) -> Self {
        Self {
            deletion_allowed: false,
            ..self
        }
    }

    /// All three must be there, and nothing else: what is not understood may forbid something.
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let mut value = |name: &str| words.next()?.strip_prefix(name)?.strip_prefix('=');
        let settings = Self {
            min_decryption_version: value("min_decryption_version")?.parse().ok()?,
            min_encryption_version: value("min_encryption_version")?.parse().ok()?,
            deletion_allowed: value("deletion_allowed")?.parse().ok()?,
        };
        (words.next().is_none() && settings.min_decryption_version > 0).then_some(settings)
    }
}

impl Kept {
    pub(super) fn new(index: i32, data: &str) -> Self {
        Self {
            index,
            data: data.into(),
        }
    }

    /// Or the refusal that names the object.
    pub(super) fn settings(&self, name: &str) -> Result<Settings, HsmError> {
        Settings::parse(&self.data).ok_or_else(|| {
            let text = format!(
                "the settings of key \"{name}\" in the HSM are not understood: its Application Specific \
                 Information of namespace {NAMESPACE} should read like \"{}\"",
                Settings::default()
            );
            HsmError::Refused {
                reason: reason::INVALID_FIELD,
                text: text.into(),
            }
        })
    }
}

/// As it is given to an object.
pub(super) fn information(data: &str) -> ApplicationInformation<'_> {
    ApplicationInformation {
        namespace: NAMESPACE,
        data,
    }
}

/// Whether a refusal may mean that the HSM does not know the attribute or its operations.
pub(super) fn is_unsupported(reason: u32) -> bool {
    matches!(
        reason,
        reason::INVALID_MESSAGE
            | reason::OPERATION_NOT_SUPPORTED
            | reason::INVALID_FIELD
            | reason::FEATURE_NOT_SUPPORTED
            | reason::APPLICATION_NAMESPACE_NOT_SUPPORTED
            | reason::UNKNOWN_TAG
    )
}

impl Work<'_> {
    /// Changes a key's settings; `None`: no such key.
    pub(super) fn configure(
        &mut self,
        name: &Arc<str>,
        change: &KeyChange,
    ) -> Result<Option<Arc<KeyRecord>>, Stop> {
        let mut refusal = None;
        for look in 1.. {
            let family = self.look(name)?;
            let Some(record) = family.record()? else {
                return Ok(None);
            };
            let changed = record.changed(change)?;
            if changed == record {
                return Ok(Some(Arc::new(changed)));
            }
            if look == LOOKS_MAX {
                break;
            }
            refusal = self.keep(&family, Settings::of(&changed))?;
        }
        Err(match refusal {
            Some(refusal) => refused(refusal),
            None => contended(name),
        }
        .into())
    }

    /// Writes settings to the HSM; a refusal may come from another's change in between.
    fn keep(&mut self, family: &Family, settings: Settings) -> Result<Option<Refusal>, Stop> {
        let data = settings.to_string();
        let new = information(&data);
        let payload = match (family.kept()?, family.versions()?.first()) {
            (Some((member, kept)), _) => RequestPayload::ModifyAttribute(ModifyAttribute {
                unique_identifier: &member.object.0,
                index: Some(kept.index),
                current: Some(information(&kept.data)),
                new,
            }),
            (None, Some(member)) => RequestPayload::AddAttribute(AddAttribute {
                unique_identifier: &member.object.0,
                new,
            }),
            (None, None) => return Ok(None),
        };
        match self.call(payload, |_| Ok(())) {
            Ok(()) => Ok(None),
            Err(Fault::Failed { reason, .. }) if is_unsupported(reason) => {
                Err(HsmError::Unsupported(CANNOT_KEEP).into())
            }
            Err(Fault::Failed { reason, text }) => Ok(Some((reason, text))),
            Err(Fault::Link(error)) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_written_and_read_and_nothing_else_is() {
        for settings in [
            Settings::default(),
            Settings {
                min_decryption_version: 7,
                min_encryption_version: u32::MAX,
                deletion_allowed: true,
            },
        ] {
            assert_eq!(Settings::parse(&settings.to_string()), Some(settings));
        }
        let good = Settings::default().to_string();
        for (name, text) in [
            ("nothing", String::new()),
            ("one more word", format!("{good} derived=true")),
            ("one less", good.replace(" deletion_allowed=false", "")),
            ("version 0", good.replace("version=1", "version=0")),
            ("no number", good.replace("version=1", "version=x")),
            ("no flag", good.replace("false", "0")),
            ("no value", good.replace("=false", "")),
        ] {
            assert_eq!(Settings::parse(&text), None, "{name}");
        }
    }
}
