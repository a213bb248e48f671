//! Aliases: letter case does not count, so two that differ only in it are refused.

use std::collections::HashMap;

use super::KeystoreError;

/// As Java's `toLowerCase(Locale.ENGLISH)`, which its keystores compare by.
pub(super) fn fold(alias: &str) -> String {
    alias.to_lowercase()
}

/// The aliases of one file so far: folded, with the spelling first seen.
#[derive(Default)]
pub(super) struct Aliases(HashMap<String, String>);

impl Aliases {
    /// Takes the folded alias, or says with which one it collides.
    pub(super) fn claim(&mut self, alias: &str) -> Result<String, KeystoreError> {
        let folded = fold(alias);
        match self.0.insert(folded.clone(), alias.to_owned()) {
            None => Ok(folded),
            Some(first) => Err(KeystoreError::DuplicateAlias {
                first,
                second: alias.to_owned(),
            }),
        }
    }

    /// An alias for an entry without a name: the next free number from 1, as Java counts them.
    pub(super) fn number(&mut self, counter: &mut u32) -> String {
        loop {
            *counter = counter.saturating_add(1);
            let alias = counter.to_string();
            if *counter == u32::MAX || !self.0.contains_key(&alias) {
                self.0.insert(alias.clone(), alias.clone());
                return alias;
            }
        }
    }
}

/// The candidate nearest to `missing`, if it is near at all.
pub(super) fn nearest<'a>(
    missing: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let missing = fold(missing);
    let far = (missing.chars().count() / 3).max(2);
    let distance = |alias: &str| strsim::damerau_levenshtein(&missing, alias);
    candidates
        .map(|alias| (distance(alias), alias))
        .filter(|(d, _)| *d <= far)
        .min()
        .map(|(_, alias)| alias)
}
