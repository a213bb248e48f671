//! `POST|PUT /v1/transit/{encrypt,decrypt}/:key`.

use crate::wire::http::Request;
use crate::wire::transit::{Verb, crypt_body};

use super::{Command, Fault};

pub(super) fn encrypt<'a>(key: &'a str, request: &Request<'a>) -> Result<Command<'a>, Fault> {
    let body = crypt_body(Verb::Encrypt, request.body, request.head.form)?;
    Ok(Command::Encrypt { key, body })
}

pub(super) fn decrypt<'a>(key: &'a str, request: &Request<'a>) -> Result<Command<'a>, Fault> {
    let body = crypt_body(Verb::Decrypt, request.body, request.head.form)?;
    Ok(Command::Decrypt { key, body })
}
