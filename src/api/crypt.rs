//! `POST|PUT /v1/transit/{encrypt,decrypt}/:key`.

use crate::wire::http::Request;
use crate::wire::transit::{CryptBody, Verb, crypt_body, crypt_form};

use super::{Command, Fault};

pub(super) fn encrypt<'a>(key: &'a str, request: &Request<'a>) -> Result<Command<'a>, Fault> {
    Ok(Command::Encrypt {
        key,
        body: body(Verb::Encrypt, request)?,
    })
}

pub(super) fn decrypt<'a>(key: &'a str, request: &Request<'a>) -> Result<Command<'a>, Fault> {
    Ok(Command::Decrypt {
        key,
        body: body(Verb::Decrypt, request)?,
    })
}

fn body<'a>(verb: Verb, request: &Request<'a>) -> Result<CryptBody<'a>, Fault> {
    let decode = if request.head.form {
        crypt_form
    } else {
        crypt_body
    };
    Ok(decode(verb, request.body)?)
}
