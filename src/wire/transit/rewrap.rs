//! `batch_input` of rewrap, which OpenBao decodes by another library than the batches of encrypt and
//! decrypt: names in any case, numbers as text, no item refused for want of a ciphertext.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::super::json::{Reader, Text, Value};
use super::batch::{FAULTS_BYTES_MAX, mixed_context, refusal};
use super::fields::go_type;
use super::{Item, Refusal};
use crate::limits;

/// The fields of an item.
const NAMES: [&str; 6] = [
    "context",
    "ciphertext",
    "plaintext",
    "key_version",
    "associated_data",
    "reference",
];

/// Refuses what is no array.
#[cold]
pub fn not_an_array(value: &Value<'_>) -> Refusal {
    let got = go_kind(value);
    refusal(&format!(
        "'' source data must be an array or slice, got {got}"
    ))
}

/// Reads the items of the raw array: the first, and the further ones.
pub fn items(raw: &[u8]) -> Result<(Item<'_>, Vec<Item<'_>>), Refusal> {
    let mut faults = String::new();
    let mut first = None;
    let mut rest = Vec::new();
    let mut reader = Reader::nested(raw);
    let mut index = 0;
    while let Some(element) = reader.element()? {
        let item = item(index, &element, &mut faults)?;
        if first.is_none() {
            first = Some(item);
        } else if rest.len() + 1 < limits::BATCH_ITEMS_MAX {
            rest.push(item);
        }
        index += 1;
    }
    if !faults.is_empty() {
        return Err(refusal(&format!(
            "decoding failed due to the following error(s):\n\n{faults}"
        )));
    }
    let first = first.ok_or(Refusal::bad_request("missing batch input to process"))?;
    mixed_context(&first, &rest)?;
    Ok((first, rest))
}

/// Reads one item; `null` is one without fields.
fn item<'a>(index: usize, element: &Value<'a>, faults: &mut String) -> Result<Item<'a>, Refusal> {
    let fields = match element {
        Value::Object(fields) => *fields,
        Value::Null => b"{}",
        other => {
            let got = go_kind(other);
            add(
                faults,
                format_args!("'[{index}]' expected a map or struct, got \"{got}\""),
            );
            b"{}"
        }
    };
    let mut raw: [Option<Value<'a>>; 6] = [const { None }; 6];
    let mut exact = [false; 6];
    let mut reader = Reader::nested(fields);
    while let Some(name) = reader.name()? {
        let value = reader.value()?;
        let name = name.as_str();
        let places = NAMES.iter().zip(&mut raw).zip(&mut exact);
        for ((known, place), exact) in places {
            // The exact name wins over one in other letters.
            if name == *known || (!*exact && name.eq_ignore_ascii_case(known)) {
                *exact = name == *known;
                *place = Some(value);
                break;
            }
        }
    }
    let [context, ciphertext, plaintext, version, data, reference] = raw;
    let context = text(index, "context", context, faults);
    text(index, "plaintext", plaintext, faults);
    let ciphertext = text(index, "ciphertext", ciphertext, faults);
    let key_version = int(index, version, faults);
    // Checked and not used: rewrap knows no associated data.
    text(index, "associated_data", data, faults);
    let reference = match text(index, "reference", reference, faults) {
        None => Cow::Borrowed(""),
        Some(Text::Borrowed(text)) => Cow::Borrowed(text),
        Some(Text::Unescaped(text)) => Cow::Owned(text.to_string()),
    };
    Ok(Item {
        text: ciphertext.unwrap_or(Text::Borrowed("")),
        associated_data: None,
        context: context.filter(|text| !text.as_str().is_empty()),
        key_version,
        reference,
    })
}

#[cold]
fn add(faults: &mut String, what: std::fmt::Arguments<'_>) {
    if faults.len() > FAULTS_BYTES_MAX {
        return;
    }
    if !faults.is_empty() {
        faults.push('\n');
    }
    // Writing to a String cannot fail.
    let _ = faults.write_fmt(what);
}

fn text<'a>(
    index: usize,
    name: &str,
    value: Option<Value<'a>>,
    faults: &mut String,
) -> Option<Text<'a>> {
    match value? {
        Value::Text(text) => Some(text),
        Value::Number(digits) => Some(Text::Borrowed(digits)),
        Value::Null => None,
        other => {
            let got = go_type(&other);
            add(
                faults,
                format_args!(
                    "'[{index}].{name}' expected type 'string', got unconvertible type '{got}'"
                ),
            );
            None
        }
    }
}

fn int(index: usize, value: Option<Value<'_>>, faults: &mut String) -> i64 {
    match value {
        None | Some(Value::Null) => 0,
        Some(Value::Number(digits)) => digits.parse().unwrap_or_else(|_| {
            let why = if digits.contains(['.', 'e', 'E']) {
                "invalid syntax"
            } else {
                "value out of range"
            };
            add(
                faults,
                format_args!(
                    "'[{index}].key_version' cannot parse value as 'int': strconv.ParseInt: parsing \
                     \"{digits}\": {why}"
                ),
            );
            0
        }),
        Some(other) => {
            let got = go_type(&other);
            add(
                faults,
                format_args!(
                    "'[{index}].key_version' expected type 'int', got unconvertible type '{got}'"
                ),
            );
            0
        }
    }
}

/// Go's kind of a value, which is coarser than its type.
fn go_kind(value: &Value<'_>) -> &'static str {
    match value {
        Value::Null => "invalid",
        Value::Bool(_) => "bool",
        Value::Number(_) | Value::Text(_) => "string",
        Value::Array(_) => "slice",
        Value::Object(_) => "map",
    }
}
