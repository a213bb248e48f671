//! The query of a request: which GET is a list, the range it asks for, and what it names in vain.

use std::borrow::Cow;

use super::super::http::percent_decode;
use super::super::json::{Text, Value};
use super::Refusal;
use super::fields::{Slot, Strangers, VALIDATED};

/// A list's query.
#[derive(Debug, Default)]
pub struct ListQuery<'a> {
    /// `after`: only names behind it; empty: all.
    pub after: Cow<'a, str>,
    /// `limit`; one of 0 or less is none.
    pub limit: Option<usize>,
    /// Ready texts for `warnings`.
    pub warnings: Vec<String>,
}

/// The pairs, decoded. Those that Go cannot read are left out, as Go does.
fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.contains(';'))
        .filter_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name)?, decode(value)?))
        })
}

fn values<'a>(query: &'a str, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
    pairs(query).filter_map(move |(given, value)| (given == name).then_some(value))
}

/// Reads the query into `slots`, as [`super::fields::read`] a body.
pub fn read<'a>(query: &'a str, slots: &mut [Slot<'a>]) -> Strangers {
    let mut strangers = Strangers::default();
    for (name, value) in pairs(query) {
        match slots.iter_mut().find(|slot| slot.name == name) {
            Some(slot) => {
                slot.value = Some(Value::Text(match value {
                    Cow::Borrowed(text) => Text::Borrowed(text),
                    Cow::Owned(text) => Text::Unescaped(text.into()),
                }));
            }
            None => strangers.note(&name),
        }
    }
    strangers
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

/// Reads a list's query. `asked_by_query`: the request is a GET, and only `list` made it a list.
pub fn list_query(query: &str, asked_by_query: bool) -> Result<ListQuery<'_>, Refusal> {
    let after = single(query, "after", "string")?.unwrap_or_default();
    let limit = match single(query, "limit", "int")? {
        None => 0,
        Some(limit) => {
            let mut slot = Slot {
                name: "limit",
                value: Some(Value::Text(Text::Borrowed(&limit))),
            };
            VALIDATED.int(&mut slot)?.unwrap_or(0)
        }
    };
    let mut strangers = Strangers::default();
    for (name, _) in pairs(query) {
        let known = matches!(&*name, "after" | "limit") || (asked_by_query && name == "list");
        if !known {
            strangers.note_unknown(&name);
        }
    }
    Ok(ListQuery {
        after,
        limit: usize::try_from(limit).ok().filter(|&limit| limit > 0),
        warnings: strangers.warnings(),
    })
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
