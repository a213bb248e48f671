//! Changes of a key's settings, by Transit's rules, the same for every back end that keeps them itself.
//!
//! Must never be true: a minimum above the latest version; a version that may wrap and not unwrap.

use std::sync::Arc;

use super::{HsmError, KeyRecord};

/// What a configure asks for; `None` leaves a setting as it is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct KeyChange {
    /// Lowest version that may unwrap, from 1.
    pub min_decryption_version: Option<u32>,
    /// Lowest version that may wrap; 0: the latest.
    pub min_encryption_version: Option<u32>,
    /// Whether clients may delete the key.
    pub deletion_allowed: Option<bool>,
    /// Whether the key can be read out; [`Envelope::Transit`](super::Envelope::Transit) only, as the rest.
    pub exportable: Option<bool>,
    /// Whether a backup of it can.
    pub allow_plaintext_backup: Option<bool>,
    /// Seconds after which the back end adds a version by itself; 0: never.
    pub auto_rotate_period_s: Option<u64>,
}

impl KeyChange {
    /// Changes nothing.
    pub const NONE: Self = Self {
        min_decryption_version: None,
        min_encryption_version: None,
        deletion_allowed: None,
        exportable: None,
        allow_plaintext_backup: None,
        auto_rotate_period_s: None,
    };
}

impl KeyRecord {
    /// Number of the newest version.
    pub fn latest(&self) -> u32 {
        self.versions.last().map_or(0, |version| version.number)
    }

    /// This record with `change` made, or Transit's refusal.
    pub fn changed(&self, change: &KeyChange) -> Result<Self, HsmError> {
        let mut changed = self.clone();
        if let Some(version) = change.min_decryption_version {
            self.check_exists("decryption", version)?;
            changed.min_decryption_version = version;
        }
        if let Some(version) = change.min_encryption_version {
            self.check_exists("encryption", version)?;
            changed.min_encryption_version = version;
        }
        let (encrypt, decrypt) = (
            changed.min_encryption_version,
            changed.min_decryption_version,
        );
        if encrypt > 0 && encrypt < decrypt {
            return Err(rejected(format!(
                "cannot set min encryption/decryption values; min encryption version of {encrypt} must be \
                 greater than or equal to min decryption version of {decrypt}"
            )));
        }
        if let Some(allowed) = change.deletion_allowed {
            changed.deletion_allowed = allowed;
        }
        Ok(changed)
    }

    /// Refuses a delete of a key whose settings forbid it.
    pub fn check_deletion(&self) -> Result<(), HsmError> {
        if self.deletion_allowed {
            Ok(())
        } else {
            Err(rejected("deletion is not allowed for this key"))
        }
    }

    fn check_exists(&self, what: &str, version: u32) -> Result<(), HsmError> {
        let latest = self.latest();
        if version > latest {
            return Err(rejected(format!(
                "cannot set min {what} version of {version}, latest key version is {latest}"
            )));
        }
        Ok(())
    }
}

fn rejected(text: impl Into<Arc<str>>) -> HsmError {
    HsmError::Rejected(text.into())
}

#[cfg(test)]
mod tests {
    use super::super::{KeyKind, KeyState, KeyVersion, ObjectId};
    use super::*;

    fn record() -> KeyRecord {
        let version = |number| KeyVersion {
            number,
            object: ObjectId(number.to_string().into()),
            created_unix_s: 0,
            state: KeyState::Active,
        };
        KeyRecord {
            name: "k".into(),
            versions: [1, 2, 3].map(version).into(),
            min_decryption_version: 2,
            min_encryption_version: 0,
            deletion_allowed: false,
            kind: KeyKind::default(),
        }
    }

    fn change(decrypt: Option<u32>, encrypt: Option<u32>, delete: Option<bool>) -> KeyChange {
        KeyChange {
            min_decryption_version: decrypt,
            min_encryption_version: encrypt,
            deletion_allowed: delete,
            ..KeyChange::NONE
        }
    }

    #[test]
    fn settings_change_by_transits_rules() {
        for (name, asked, want) in [
            ("nothing", change(None, None, None), Ok((2, 0, false))),
            ("raise", change(Some(3), None, None), Ok((3, 0, false))),
            ("lower", change(Some(1), None, None), Ok((1, 0, false))),
            ("wrap", change(None, Some(3), None), Ok((2, 3, false))),
            ("both", change(Some(1), Some(1), None), Ok((1, 1, false))),
            ("delete", change(None, None, Some(true)), Ok((2, 0, true))),
            (
                "decryption too new",
                change(Some(9), None, None),
                Err("cannot set min decryption version of 9, latest key version is 3"),
            ),
            (
                "encryption too new",
                change(None, Some(4), None),
                Err("cannot set min encryption version of 4, latest key version is 3"),
            ),
            (
                "wrap what cannot be unwrapped",
                change(None, Some(1), None),
                Err(
                    "cannot set min encryption/decryption values; min encryption version of 1 must be \
                     greater than or equal to min decryption version of 2",
                ),
            ),
        ] {
            let got = record().changed(&asked).map(|changed| {
                (
                    changed.min_decryption_version,
                    changed.min_encryption_version,
                    changed.deletion_allowed,
                )
            });
            let want = want.map_err(|text| HsmError::Rejected(text.into()));
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn a_delete_needs_leave() {
        let mut record = record();
        let refused = HsmError::Rejected("deletion is not allowed for this key".into());
        assert_eq!(record.check_deletion(), Err(refused));
        record.deletion_allowed = true;
        assert_eq!(record.check_deletion(), Ok(()));
    }
}
