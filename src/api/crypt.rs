//! `POST|PUT /v1/transit/{encrypt,decrypt,rewrap}/:key`, `/v1/transit/datakey/:kind/:key`.

use crate::wire::base64;
use crate::wire::http::Request;
use crate::wire::transit::{CryptBody, Verb, crypt_body, crypt_form, datakey_body};

use super::route::Datakey;
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

pub(super) fn rewrap<'a>(key: &'a str, request: &Request<'a>) -> Result<Command<'a>, Fault> {
    Ok(Command::Rewrap {
        key,
        body: body(Verb::Rewrap, request)?,
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

/// In OpenBao's order: the fields, the kind, the context; then the engine looks for the key.
pub(super) fn datakey<'a>(
    kind: Option<Datakey>,
    key: &'a str,
    request: &Request<'a>,
) -> Result<Command<'a>, Fault> {
    let body = datakey_body(request.body, request.head.form)?;
    let Some(kind) = kind else {
        return Err(Fault::new(
            400,
            "Invalid path, must be 'plaintext' or 'wrapped'",
        ));
    };
    if let Some(context) = &body.context {
        let context = context.as_str().as_bytes();
        let mut decoded = vec![0; base64::decoded_len_max(context.len())];
        if base64::decode(context, &mut decoded).is_err() {
            return Err(Fault::new(400, "failed to base64-decode context"));
        }
    }
    Ok(Command::Datakey {
        key,
        plaintext: kind == Datakey::Plaintext,
        body,
    })
}
