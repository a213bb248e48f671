//! `/v1/transit/keys`, `/v1/transit/keys/:key`, `/v1/transit/keys/:key/{rotate,config}`.

use crate::wire::http::Request;
use crate::wire::transit::{config_body, ignored_body, key_body, key_form, list_range};

use super::{Command, Fault};

pub(super) fn create<'a>(key: &'a str, request: &Request<'a>) -> Result<Command<'a>, Fault> {
    let decode = if request.head.form {
        key_form
    } else {
        key_body
    };
    let body = decode(request.body)?;
    Ok(Command::CreateKey { key, body })
}

pub(super) fn list<'a>(request: &Request<'a>) -> Result<Command<'a>, Fault> {
    let (after, limit) = list_range(request.head.query.unwrap_or_default())?;
    Ok(Command::ListKeys { after, limit })
}

pub(super) fn rotate<'a>(key: &'a str, request: &Request<'a>) -> Result<Command<'a>, Fault> {
    let body = ignored_body(request.body, request.head.form, &[])?;
    Ok(Command::RotateKey { key, body })
}

pub(super) fn config<'a>(key: &'a str, request: &Request<'a>) -> Result<Command<'a>, Fault> {
    let body = config_body(request.body, request.head.form)?;
    Ok(Command::ConfigKey { key, body })
}
