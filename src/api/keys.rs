//! `POST|PUT|GET /v1/transit/keys/:key`.

use crate::wire::http::{Method, Request};
use crate::wire::transit::key_body;

use super::{Command, Fault};

pub(super) fn key<'a>(key: &'a str, request: &Request<'a>) -> Result<Command<'a>, Fault> {
    if request.head.method == Method::Get {
        return Ok(Command::ReadKey { key });
    }
    let body = key_body(request.body)?;
    Ok(Command::CreateKey { key, body })
}
