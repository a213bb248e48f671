//! The query of a request: which GET is a list, and the range it asks for.

use std::borrow::Cow;

use super::super::http::percent_decode;
use super::super::json::{Text, Value};
use super::Refusal;
use super::fields::{Slot, VALIDATED};

/// The values of `name`, decoded. Pairs that Go cannot read are left out, as Go does.
fn values<'a>(query: &'a str, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
    query
        .split('&')
        .filter(|pair| !pair.contains(';'))
        .filter_map(move |pair| {
            let (given, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(given)? == name).then(|| decode(value)).flatten()
        })
}

fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(Cow::Borrowed(text));
    }
    let bytes = percent_decode(text.replace('+', " ").as_bytes())?;
    Some(Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Whether the query turns a GET into a list. Anything but a truth value is refused, without a text.
pub fn wants_list(query: &str) -> Result<bool, Refusal> {
    match values(query, "list").next().as_deref() {
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        None | Some("" | "0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(_) => Err(Refusal::bad_request("")),
    }
}

/// `after` and `limit` of a list. A limit of 0 or less is none.
pub fn list_range(query: &str) -> Result<(Cow<'_, str>, Option<usize>), Refusal> {
    let after = single(query, "after", "string")?.unwrap_or_default();
    let Some(limit) = single(query, "limit", "int")? else {
        return Ok((after, None));
    };
    let mut slot = Slot {
        name: "limit",
        value: Some(Value::Text(Text::Borrowed(&limit))),
    };
    let limit = VALIDATED.int(&mut slot)?.unwrap_or(0);
    let limit = usize::try_from(limit).ok().filter(|&limit| limit > 0);
    Ok((after, limit))
}

/// The only value of `name`.
fn single<'a>(query: &'a str, name: &str, wanted: &str) -> Result<Option<Cow<'a, str>>, Refusal> {
    let mut values = values(query, name);
    let first = values.next();
    if values.next().is_some() {
        let what = format!("'' expected type '{wanted}', got unconvertible type '[]string'");
        return Err(VALIDATED.refusal(name, &what));
    }
    Ok(first)
}
