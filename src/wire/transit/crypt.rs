//! Bodies of encrypt, decrypt and rewrap.

use std::borrow::Cow;

use super::super::json::{Text, Value};
use super::fields::{PLAIN, Schema, Slot, Strangers, VALIDATED, go_type, read_json};
use super::{CryptBody, Item, Refusal, Verb, batch, form, rewrap};

/// The first item and the further ones.
type Items<'a> = (Item<'a>, Vec<Item<'a>>);

const fn slot<'a>(name: &'static str) -> Slot<'a> {
    Slot { name, value: None }
}

/// Decodes the JSON body of an encrypt, decrypt or rewrap. A body of one borrowed string allocates nothing.
#[inline]
pub fn crypt_body(verb: Verb, body: &[u8]) -> Result<CryptBody<'_>, Refusal> {
    decode(verb, |slots| read_json(body, slots))
}

/// As [`crypt_body`], for a body sent as `application/x-www-form-urlencoded`. JSON is taken there too.
pub fn crypt_form(verb: Verb, body: &[u8]) -> Result<CryptBody<'_>, Refusal> {
    if form::is_json(body) {
        return crypt_body(verb, body);
    }
    decode(verb, |slots| form::read(body, slots))
}

#[inline]
fn decode<'a>(
    verb: Verb,
    read: impl FnOnce(&mut [Slot<'a>]) -> Result<Strangers, Refusal>,
) -> Result<CryptBody<'a>, Refusal> {
    let mut slots = [
        slot("key_version"),
        slot(verb.field()),
        slot("batch_input"),
        slot("context"),
        slot("associated_data"),
        slot("partial_failure_response_code"),
        slot("convergent_encryption"),
        slot("type"),
    ];
    let (known, schema) = match verb {
        Verb::Encrypt => (0..8, PLAIN),
        Verb::Decrypt => (1..6, VALIDATED),
        Verb::Rewrap => (0..4, VALIDATED),
    };
    let strangers = read(slots.get_mut(known).unwrap_or_default())?;
    let [
        key_version,
        text,
        batch_input,
        context,
        associated_data,
        code,
        convergent,
        kind,
    ] = &mut slots;
    // In the order of their names, so that of several bad fields the same one is always reported.
    let associated_data = schema.filled(associated_data)?;
    let context = schema.filled(context)?;
    let convergent = schema.bool(convergent)?.unwrap_or(false);
    let key_version = schema.int(key_version)?.unwrap_or(0);
    let (code, code_invalid) = response_code(schema, code)?;
    let text = schema.text(text)?;
    let kind = schema.text(kind)?;
    let single = |text| Item {
        text,
        associated_data,
        context,
        key_version,
        reference: Cow::Borrowed(""),
    };
    let items = batched(verb, batch_input.value.take())?;
    let batch = items.is_some();
    let (first, rest) = match items {
        Some(items) => items,
        None => (single(required(verb, text)?), Vec::new()),
    };
    Ok(CryptBody {
        first,
        rest,
        batch,
        partial_failure_response_code: code,
        partial_failure_code_invalid: code_invalid,
        warnings: strangers.warnings(),
        kind,
        convergent,
    })
}

/// The items of `batch_input`; `None` when it is absent or `null`.
#[inline]
fn batched(verb: Verb, value: Option<Value<'_>>) -> Result<Option<Items<'_>>, Refusal> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(raw)) if verb == Verb::Rewrap => rewrap::items(raw).map(Some),
        Some(Value::Array(raw)) => batch::items(verb, raw).map(Some),
        Some(other) if verb == Verb::Rewrap => Err(rewrap::not_an_array(&other)),
        Some(other) => {
            let got = go_type(&other);
            let what = format!("source data must be an array or slice, got {got}");
            Err(batch::refusal(&what))
        }
    }
}

/// The text, which must be there; a ciphertext must also hold something.
#[inline]
fn required(verb: Verb, text: Option<Text<'_>>) -> Result<Text<'_>, Refusal> {
    text.filter(|text| verb == Verb::Encrypt || !text.as_str().is_empty())
        .ok_or(Refusal {
            status: 400,
            text: Cow::Borrowed(verb.missing()),
        })
}

/// The code, and whether one was given that is no status of an answer with a body.
#[inline]
fn response_code(schema: Schema, slot: &mut Slot<'_>) -> Result<(Option<u16>, bool), Refusal> {
    let Some(code) = schema.int(slot)? else {
        return Ok((None, false));
    };
    match u16::try_from(code) {
        Ok(code @ (200..=203 | 205..=303 | 305..=599)) => Ok((Some(code), false)),
        _ => Ok((None, true)),
    }
}
