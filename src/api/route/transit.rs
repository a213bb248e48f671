//! The paths of a Transit mount.

use crate::limits::KEY_NAME_BYTES_MAX;

use super::super::Fault;
use super::{Action, Datakey, Endpoint, left_out};

/// `LIST` and `SCAN`: only the keys are a folder.
pub(super) fn list(action: Action, rest: &str) -> Result<Endpoint<'_>, Fault> {
    match rest {
        "keys" | "keys/" if action == Action::List => Ok(Endpoint::ListKeys),
        "keys" | "keys/" => Err(Fault::unsupported_operation()),
        _ => Err(Fault::unsupported_path()),
    }
}

/// Every other method. `rest` is what follows `transit/`.
pub(super) fn serve(action: Action, rest: &str) -> Result<Endpoint<'_>, Fault> {
    let (endpoint, served) = match rest.split_once('/').unwrap_or((rest, "")) {
        ("decrypt", name) => (Endpoint::Decrypt(key_name(name)?), Action::Write),
        ("encrypt", name) => (Endpoint::Encrypt(key_name(name)?), Action::Write),
        ("rewrap", name) => (Endpoint::Rewrap(key_name(name)?), Action::Write),
        ("datakey", tail) => (datakey(tail)?, Action::Write),
        ("keys", "") => return Err(Fault::unsupported_operation()),
        ("keys", tail) => return keys(action, rest, tail),
        _ => return Err(left_out::refuse(action, rest)),
    };
    if action == served {
        Ok(endpoint)
    } else {
        Err(Fault::unsupported_operation())
    }
}

/// `datakey/:kind/:name`. OpenBao takes any word for the kind and refuses it after the fields.
fn datakey(tail: &str) -> Result<Endpoint<'_>, Fault> {
    let (kind, name) = tail.split_once('/').ok_or_else(Fault::unsupported_path)?;
    let name = key_name(key_name(kind).and(Ok(name))?)?;
    let kind = match kind {
        "plaintext" => Some(Datakey::Plaintext),
        "wrapped" => Some(Datakey::Wrapped),
        _ => None,
    };
    Ok(Endpoint::Datakey(kind, name))
}

/// `keys/:name`, `keys/:name/rotate`, `keys/:name/config`.
fn keys<'a>(action: Action, rest: &'a str, tail: &'a str) -> Result<Endpoint<'a>, Fault> {
    let Some((name, what)) = tail.split_once('/') else {
        let name = key_name(tail)?;
        return match action {
            Action::Write => Ok(Endpoint::CreateKey(name)),
            Action::Read => Ok(Endpoint::ReadKey(name)),
            Action::Delete => Ok(Endpoint::DeleteKey(name)),
            _ => Err(Fault::unsupported_operation()),
        };
    };
    let name = key_name(name)?;
    let endpoint = match what {
        "rotate" => Endpoint::RotateKey(name),
        "config" => Endpoint::ConfigKey(name),
        _ => return Err(left_out::refuse(action, rest)),
    };
    if action == Action::Write {
        Ok(endpoint)
    } else {
        Err(Fault::unsupported_operation())
    }
}

/// Transit's rule: `\w(([\w-.]+)?\w)?`, ASCII. Transit has no limit to the length; we have.
pub(super) fn key_name(name: &str) -> Result<&str, Fault> {
    if !is_key_name(name) {
        return Err(Fault::unsupported_path());
    }
    if name.len() > KEY_NAME_BYTES_MAX {
        return Err(Fault::new(
            400,
            format!(
                "the key name is {} bytes long: at most {KEY_NAME_BYTES_MAX} are served",
                name.len()
            ),
        ));
    }
    Ok(name)
}

pub(super) fn is_key_name(name: &str) -> bool {
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let bytes = name.as_bytes();
    bytes.first().is_some_and(word)
        && bytes.last().is_some_and(word)
        && bytes
            .iter()
            .all(|byte| word(byte) || matches!(byte, b'-' | b'.'))
}
