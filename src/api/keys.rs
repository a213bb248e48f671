//! `/v1/transit/keys`, `/v1/transit/keys/:key`, `/v1/transit/keys/:key/{rotate,config}`.

use crate::wire::http::{Method, Request};
use crate::wire::transit::{config_body, ignored_body, key_body, key_form, key_query, list_query};

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
    let by_query = request.head.method == Method::Get;
    let query = list_query(request.head.query.unwrap_or_default(), by_query)?;
    Ok(Command::ListKeys(query))
}

pub(super) fn read<'a>(key: &'a str, request: &Request<'a>) -> Result<Command<'a>, Fault> {
    let warnings = key_query(request.head.query.unwrap_or_default())?;
    Ok(Command::ReadKey { key, warnings })
}

pub(super) fn rotate<'a>(key: &'a str, request: &Request<'a>) -> Result<Command<'a>, Fault> {
    let body = ignored_body(request.body, request.head.form, &[])?;
    Ok(Command::RotateKey { key, body })
}

pub(super) fn config<'a>(key: &'a str, request: &Request<'a>) -> Result<Command<'a>, Fault> {
    let body = config_body(request.body, request.head.form)?;
    Ok(Command::ConfigKey { key, body })
}
