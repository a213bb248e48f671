//! `POST|PUT|GET /v1/transit/keys/:key`.

use crate::wire::http::{Method, Request};
use crate::wire::transit::{key_body, key_form};

use super::{Command, Fault};

pub(super) fn key<'a>(key: &'a str, request: &Request<'a>) -> Result<Command<'a>, Fault> {
    if request.head.method == Method::Get {
        return Ok(Command::ReadKey { key });
    }
    let decode = if request.head.form {
        key_form
    } else {
        key_body
    };
    let body = decode(request.body)?;
    Ok(Command::CreateKey { key, body })
}
