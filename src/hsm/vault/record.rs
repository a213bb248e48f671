//! A key as Transit describes it, read into what the seam has.
//!
//! Called by `keys`. Must never be true: a record without versions; a version of another key's name.

use std::borrow::Cow;
use std::sync::Arc;

use super::super::{HsmError, KeyKind, KeyRecord, KeyState, KeyVersion};
use super::json;
use super::session::object_id;
use crate::wire::json::Value;

/// What the answer's `data` says of the key `name`; `None`: it says nothing (a Vault that answers
/// changes with 204).
pub(super) fn read(body: &[u8], name: &Arc<str>) -> Result<Option<Arc<KeyRecord>>, HsmError> {
    let broken = || HsmError::Protocol("its description of a key cannot be read");
    let data = json::member(body, "data").ok_or_else(broken)?;
    let mut kind = KeyKind::default();
    let mut record = KeyRecord {
        name: Arc::clone(name),
        versions: Vec::new(),
        min_decryption_version: 1,
        min_encryption_version: 0,
        deletion_allowed: false,
        kind: KeyKind::default(),
    };
    let (mut told, mut keys): (Option<String>, &[u8]) = (None, b"{}");
    let read = json::members(data, |member, value| match (member, value) {
        ("name", value) => told = json::owned(&value),
        ("keys", Value::Object(raw)) => keys = raw,
        ("deletion_allowed", Value::Bool(value)) => record.deletion_allowed = value,
        ("min_decryption_version", value) => record.min_decryption_version = small(&value),
        ("min_encryption_version", value) => record.min_encryption_version = small(&value),
        (member, value) => trait_of(&mut kind, member, &value),
    });
    read.map_err(|_| broken())?;
    match told {
        None => return Ok(None),
        Some(told) if *told != **name => return Err(broken()),
        Some(_) => {}
    }
    let state = if kind.soft_deleted {
        KeyState::Deactivated
    } else {
        KeyState::Active
    };
    record.versions = versions(keys, name, state).ok_or_else(broken)?;
    record.kind = kind;
    if record.versions.is_empty() {
        return Err(HsmError::Unsupported(
            "this key has no versions to encrypt with: it is of a type that only signs",
        ));
    }
    Ok(Some(Arc::new(record)))
}

fn trait_of(kind: &mut KeyKind, member: &str, value: &Value<'_>) {
    match (member, value) {
        ("type", Value::Text(text)) if text.as_str() != kind.name => {
            kind.name = Cow::Owned(text.as_str().to_owned());
        }
        ("derived", Value::Bool(value)) => kind.derived = *value,
        ("convergent_encryption", Value::Bool(value)) => kind.convergent = *value,
        ("exportable", Value::Bool(value)) => kind.exportable = *value,
        ("allow_plaintext_backup", Value::Bool(value)) => kind.allow_plaintext_backup = *value,
        ("auto_rotate_period", value) => {
            kind.auto_rotate_period_s = json::number(value).unwrap_or(0);
        }
        ("min_available_version", value) => kind.min_available_version = small(value),
        ("soft_deleted", Value::Bool(value)) => kind.soft_deleted = *value,
        ("supports_derivation", Value::Bool(value)) => kind.supports_derivation = *value,
        ("supports_encryption", Value::Bool(value)) => kind.supports_encryption = *value,
        ("supports_signing", Value::Bool(value)) => kind.supports_signing = *value,
        _ => {}
    }
}

fn small(value: &Value<'_>) -> u32 {
    let number = json::number(value).unwrap_or(0);
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// `keys`: number to Unix time, or to an object with a time, for keys that have a public half.
fn versions(raw: &[u8], name: &str, state: KeyState) -> Option<Vec<KeyVersion>> {
    let mut versions = Vec::new();
    let mut all = true;
    let read = json::members(raw, |number, value| {
        let (created, created_unix_s) = match &value {
            Value::Number(digits) => ((*digits).to_owned(), digits.parse().unwrap_or(0)),
            Value::Object(raw) => {
                let text = creation_time(raw);
                let unix_s = unix_s(&text).unwrap_or(0);
                (text, unix_s)
            }
            _ => (String::new(), 0),
        };
        match number.parse() {
            Ok(number) if number > 0 => versions.push(KeyVersion {
                number,
                object: object_id(name, number, &created),
                created_unix_s,
                state,
            }),
            _ => all = false,
        }
    });
    versions.sort_by_key(|version| version.number);
    (read.is_ok() && all).then_some(versions)
}

fn creation_time(raw: &[u8]) -> String {
    let mut time = String::new();
    let read = json::members(raw, |name, value| {
        if name == "creation_time" {
            time = json::owned(&value).unwrap_or_default();
        }
    });
    read.map(|()| time).unwrap_or_default()
}

/// Seconds since 1970 of an RFC 3339 time in UTC.
fn unix_s(text: &str) -> Option<u64> {
    let (date, time) = text.split_once('T')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<u64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time
        .get(..8)?
        .splitn(3, ':')
        .map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    // Years that begin in March, so that a leap day is a year's last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year.checked_sub(1)?, month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day;
    let days = days.checked_sub(719_469)?;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const KEY: &str = r#"{"request_id":"x","data":{"allow_plaintext_backup":false,"auto_rotate_period":0,"convergent_encryption":true,"convergent_encryption_version":-1,"deletion_allowed":true,"derived":true,"exportable":false,"imported_key":false,"kdf":"hkdf_sha256","keys":{"2":1795458713,"10":1795458714},"latest_version":10,"min_available_version":0,"min_decryption_version":2,"min_encryption_version":10,"name":"k","soft_deleted":false,"supports_decryption":true,"supports_derivation":true,"supports_encryption":true,"supports_signing":false,"type":"aes256-gcm96"},"wrap_info":null,"warnings":null,"auth":null}"#;

    #[test]
    fn a_key_is_read_whole() {
        let record = read(KEY.as_bytes(), &"k".into()).unwrap().unwrap();
        let versions: Vec<_> = record
            .versions
            .iter()
            .map(|version| (version.number, version.created_unix_s))
            .collect();
        assert_eq!(versions, [(2, 1_795_458_713), (10, 1_795_458_714)]);
        assert_eq!(record.versions[0].object, object_id("k", 2, "1795458713"));
        assert_eq!(
            (record.min_decryption_version, record.min_encryption_version),
            (2, 10)
        );
        assert!(record.deletion_allowed && record.kind.derived && record.kind.convergent);
        assert_eq!(record.kind.name, "aes256-gcm96");
    }

    #[test]
    fn what_is_no_key_is_told_apart() {
        for (name, body, want) in [
            ("no data", r#"{"data":null}"#, "Ok(None)"),
            ("another key", &KEY.replace("\"k\"", "\"l\""), "Protocol"),
            ("no versions", r#"{"data":{"name":"k"}}"#, "only signs"),
            (
                "odd versions",
                r#"{"data":{"name":"k","keys":{"x":1}}}"#,
                "Protocol",
            ),
            ("cut", r#"{"data":{"name":"k""#, "Protocol"),
            ("no JSON", "x", "Protocol"),
            (
                "public keys",
                r#"{"data":{"name":"k","keys":{"1":{"creation_time":"2026-11-23T18:31:55.999613601Z"}}}}"#,
                "created_unix_s: 1795458715",
            ),
            (
                "soft-deleted",
                r#"{"data":{"name":"k","soft_deleted":true,"keys":{"1":5}}}"#,
                "state: Deactivated",
            ),
        ] {
            let got = format!("{:?}", read(body.as_bytes(), &"k".into()));
            assert!(got.contains(want), "{name}: {got}");
        }
    }

    #[test]
    fn times_are_read_by_the_calendar() {
        for (text, want) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T00:00:00Z", Some(951_782_400)),
            ("2026-11-23T18:38:11.754192434Z", Some(1_795_459_091)),
            ("2100-03-01T00:00:00Z", Some(4_107_542_400)),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(unix_s(text), want, "{text}");
        }
    }
}
