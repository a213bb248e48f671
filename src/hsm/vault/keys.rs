//! What is asked about keys: Transit's `keys` endpoints, one request a job, or two.
//!
//! Must never be true: a request sent again that may have rotated, changed or deleted a key. Called by
//! `session`.

use std::sync::Arc;
use std::time::Instant;

use super::super::{Answer, HsmError, KeyChange, KeyRecord, KeySpec, Request};
use super::fault::{Fault, of_text, of_whole};
use super::session::{Ask, Session};
use super::{json, record};
use crate::wire::Out;
use crate::wire::json::{Reader, Value, put_string};

/// Bytes of a key's description; one with public keys has about 700 a version.
const KEY_BYTES_MAX: usize = 1 << 20;
/// Bytes of a list of names.
const LIST_BYTES_MAX: usize = 8 << 20;

/// Why a job of this room was not done.
pub(super) struct Stop {
    pub(super) fault: Fault,
    /// Something was sent that changes a key, and is not the same when done twice.
    has_changed: bool,
}

impl Stop {
    /// Whether the job may be asked again.
    pub(super) fn is_repeatable(&self) -> bool {
        self.fault.is_undone() || (!self.has_changed && self.fault.is_repeatable())
    }
}

/// Serves whatever is no encrypt or decrypt.
pub(super) fn serve(
    session: &mut Session,
    request: &Request,
    deadline: Instant,
) -> Result<Answer, Stop> {
    let mut work = Work { session, deadline };
    let answer = match request {
        Request::Find { name } => work.find(name).map(Answer::Key),
        Request::Create { name } => work.create(name, &KeySpec::default()),
        Request::CreateAs { name, spec } => work.create(name, spec),
        Request::Rotate { name } => work.rotate(name).map(Answer::Key),
        Request::Configure { name, change } => work.configure(name, change).map(Answer::Key),
        Request::Delete { name } => work.delete(name).map(|()| Answer::Key(None)),
        Request::List => work.list().map(Answer::Names),
        Request::Random { .. } | Request::Encrypt { .. } | Request::Decrypt { .. } => {
            Err(HsmError::Unsupported("no operation of a Vault's keys").into())
        }
    };
    let has_changed = matches!(
        request,
        Request::Rotate { .. } | Request::Configure { .. } | Request::Delete { .. }
    );
    answer.map_err(|fault| Stop { fault, has_changed })
}

type Found = Option<Arc<KeyRecord>>;

struct Work<'s> {
    session: &'s mut Session,
    deadline: Instant,
}

impl Work<'_> {
    fn ask(&mut self, method: &'static str, below: &str, bytes_max: usize) -> Result<u16, Fault> {
        let path = self.session.path(below);
        self.session.ask(&Ask {
            method,
            path: &path,
            has_body: method == "POST",
            bytes_max,
            is_secret: false,
            items: 0,
            deadline: self.deadline,
        })
    }

    fn said(&self) -> String {
        let errors = json::errors(self.session.client.body());
        errors.unwrap_or_default().join("; ")
    }

    fn find(&mut self, name: &Arc<str>) -> Result<Found, Fault> {
        if !is_key_name(name) {
            return Ok(None);
        }
        match self.ask("GET", &format!("keys/{name}"), KEY_BYTES_MAX)? {
            200 => {
                let found = record::read(self.session.client.body(), name)?;
                let empty = || HsmError::Protocol("its answer describes no key").into();
                found.ok_or_else(empty).map(Some)
            }
            404 => Ok(None),
            status => Err(of_whole(status, &self.said()).into()),
        }
    }

    /// The description that a change was answered with; older Vaults answer none and are asked for it.
    fn changed(&mut self, status: u16, name: &Arc<str>) -> Result<Found, Fault> {
        let told = match status {
            204 => None,
            _ => record::read(self.session.client.body(), name)?,
        };
        match told {
            Some(record) => Ok(Some(record)),
            None => self.find(name),
        }
    }

    fn post(&mut self, below: &str) -> Result<u16, Fault> {
        self.ask("POST", below, KEY_BYTES_MAX)
    }

    fn create(&mut self, name: &Arc<str>, spec: &KeySpec) -> Result<Answer, Fault> {
        check_name(name)?;
        self.session.out.clear();
        put_spec(&mut self.session.out, spec);
        match self.post(&format!("keys/{name}"))? {
            status @ (200 | 204) => self.changed(status, name).map(Answer::Key),
            status => Err(of_whole(status, &self.said()).into()),
        }
    }

    fn rotate(&mut self, name: &Arc<str>) -> Result<Found, Fault> {
        check_name(name)?;
        self.session.out.clear();
        self.session.out.put(b"{}");
        match self.post(&format!("keys/{name}/rotate"))? {
            status @ (200 | 204) => self.changed(status, name),
            400 if self.said() == "key not found" => Ok(None),
            status => Err(of_whole(status, &self.said()).into()),
        }
    }

    fn configure(&mut self, name: &Arc<str>, change: &KeyChange) -> Result<Found, Fault> {
        check_name(name)?;
        self.session.out.clear();
        put_change(&mut self.session.out, change);
        match self.post(&format!("keys/{name}/config"))? {
            status @ (200 | 204) => self.changed(status, name),
            400 if self.said().starts_with("no existing key named") => Ok(None),
            status => Err(of_whole(status, &self.said()).into()),
        }
    }

    fn delete(&mut self, name: &Arc<str>) -> Result<(), Fault> {
        check_name(name)?;
        let status = self.ask("DELETE", &format!("keys/{name}"), KEY_BYTES_MAX)?;
        let said = self.said();
        // The engine says whose deletion failed.
        let why = said.rsplit(": ").next().unwrap_or_default();
        Err(match status {
            200 | 204 => return Ok(()),
            400 if why == "could not delete key; not found" => HsmError::ObjectNotFound.into(),
            400 => of_text(why).into(),
            status => of_whole(status, &said).into(),
        })
    }

    fn list(&mut self) -> Result<Arc<[Arc<str>]>, Fault> {
        match self.ask("GET", "keys?list=true", LIST_BYTES_MAX)? {
            200 => {
                let names = names(self.session.client.body());
                let broken = Fault::Protocol("its list of keys cannot be read");
                names.ok_or(broken)
            }
            404 => Ok(Arc::new([])),
            status => Err(of_whole(status, &self.said()).into()),
        }
    }
}

/// A path of its own would be another request; the API lets no such name through.
fn is_key_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let word =
        |byte: Option<u8>| byte.is_some_and(|byte| legal(byte) && byte != b'.' && byte != b'-');
    name.bytes().all(legal) && word(name.bytes().next()) && word(name.bytes().next_back())
}

fn check_name(name: &str) -> Result<(), HsmError> {
    if is_key_name(name) {
        Ok(())
    } else {
        Err(HsmError::Unsupported("a Vault has no keys of such names"))
    }
}

/// The names in an answer to a list, without the folders that a Vault mixes in.
pub(super) fn names(body: &[u8]) -> Option<Arc<[Arc<str>]>> {
    let mut names: Vec<Arc<str>> = Vec::new();
    let mut keys: &[u8] = b"[]";
    let read = json::members(json::member(body, "data")?, |name, value| {
        if let ("keys", Value::Array(raw)) = (name, value) {
            keys = raw;
        }
    });
    read.ok()?;
    let mut reader = Reader::nested(keys);
    while let Some(value) = reader.element().ok()? {
        let name = json::text(value)?;
        if !name.as_str().ends_with('/') {
            names.push(name.as_str().into());
        }
    }
    names.sort_unstable();
    names.dedup();
    Some(names.into())
}

enum Field<'a> {
    Flag(Option<bool>),
    Number(Option<u64>),
    Text(Option<&'a str>),
}

fn put_fields<O: Out>(out: &mut O, fields: &[(&str, Field<'_>)]) {
    let mut before: &[u8] = b"{\"";
    for (name, field) in fields {
        let text;
        let value: &[u8] = match field {
            Field::Flag(None) | Field::Number(None) | Field::Text(None) => continue,
            Field::Flag(Some(true)) => b"true",
            Field::Flag(Some(false)) => b"false",
            Field::Number(Some(number)) => {
                text = number.to_string();
                text.as_bytes()
            }
            Field::Text(Some(_)) => b"",
        };
        out.put(before);
        out.put(name.as_bytes());
        out.put(b"\":");
        out.put(value);
        if let Field::Text(Some(text)) = field {
            put_string(out, text);
        }
        before = b",\"";
    }
    out.put(if before == b"{\"" { b"{}" } else { b"}" });
}

fn put_spec<O: Out>(out: &mut O, spec: &KeySpec) {
    put_fields(
        out,
        &[
            ("type", Field::Text(spec.kind.as_deref())),
            ("derived", Field::Flag(spec.derived)),
            ("convergent_encryption", Field::Flag(spec.convergent)),
            ("exportable", Field::Flag(spec.exportable)),
            (
                "allow_plaintext_backup",
                Field::Flag(spec.allow_plaintext_backup),
            ),
            (
                "auto_rotate_period",
                Field::Number(spec.auto_rotate_period_s),
            ),
            ("key_size", Field::Number(spec.key_size)),
        ],
    );
}

fn put_change<O: Out>(out: &mut O, change: &KeyChange) {
    put_fields(
        out,
        &[
            (
                "min_decryption_version",
                Field::Number(change.min_decryption_version.map(u64::from)),
            ),
            (
                "min_encryption_version",
                Field::Number(change.min_encryption_version.map(u64::from)),
            ),
            ("deletion_allowed", Field::Flag(change.deletion_allowed)),
            ("exportable", Field::Flag(change.exportable)),
            (
                "allow_plaintext_backup",
                Field::Flag(change.allow_plaintext_backup),
            ),
            (
                "auto_rotate_period",
                Field::Number(change.auto_rotate_period_s),
            ),
        ],
    );
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn bodies_hold_what_is_asked() {
        let mut out = Vec::new();
        put_spec(&mut out, &KeySpec::default());
        put_spec(
            &mut out,
            &KeySpec {
                kind: Some("aes128-gcm96".to_owned()),
                derived: Some(true),
                auto_rotate_period_s: Some(0),
                ..KeySpec::default()
            },
        );
        put_change(
            &mut out,
            &KeyChange {
                min_decryption_version: Some(2),
                deletion_allowed: Some(false),
                ..KeyChange::NONE
            },
        );
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{}{"type":"aes128-gcm96","derived":true,"auto_rotate_period":0}{"min_decryption_version":2,"deletion_allowed":false}"#
        );
    }

    #[test]
    fn names_are_sorted_and_no_folders() {
        for (body, want) in [
            (
                r#"{"data":{"keys":["b","import/","a","b"]}}"#,
                Some(vec!["a", "b"]),
            ),
            (r#"{"data":{"keys":[]}}"#, Some(vec![])),
            (r#"{"data":{"keys":[1]}}"#, None),
            ("x", None),
        ] {
            let got = names(body.as_bytes());
            let want = want.map(|names| names.into_iter().map(Arc::from).collect());
            assert_eq!(got, want, "{body}");
        }
    }

    #[test]
    fn names_are_no_paths() {
        for (name, want) in [
            ("k", true),
            ("a.b-c_d", true),
            ("", false),
            ("..", false),
            ("a/b", false),
            ("k?x", false),
            ("k%2f", false),
            ("k ", false),
        ] {
            assert_eq!(is_key_name(name), want, "{name}");
        }
    }
}
