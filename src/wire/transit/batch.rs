//! `batch_input`: strict where single fields are lenient, and a 500 for the whole batch.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::super::json::{Reader, Text, Value};
use super::fields::go_type;
use super::{Item, Refusal, Verb};
use crate::limits;

/// Bytes of fault texts after which no more are collected: empty items cost a client three bytes each.
pub const FAULTS_BYTES_MAX: usize = 64 * 1024;

/// Bytes of the shortest item that does something.
const ITEM_BYTES: usize = 64;

/// A batch that could not be read.
#[cold]
pub fn refusal(what: &str) -> Refusal {
    Refusal::internal(&format!("failed to parse batch input: {what}"))
}

/// Reads the items of the raw array. The first apart, so that a single request needs no vector.
pub fn items(verb: Verb, raw: &[u8]) -> Result<(Item<'_>, Vec<Item<'_>>), Refusal> {
    let mut faults = String::new();
    let mut first = None;
    // An item of a ciphertext is longer than this, so that it is seldom too little and never much too much.
    let mut rest = Vec::with_capacity((raw.len() / ITEM_BYTES).min(limits::BATCH_ITEMS_MAX));
    let mut reader = Reader::nested(raw);
    let mut index = 0;
    while let Some(element) = reader.element()? {
        let Value::Object(fields) = element else {
            return Err(refusal(&format!(
                "[{index}] expected a map, got '{}'",
                go_type(&element)
            )));
        };
        let item = item(verb, index, fields, &mut faults)?;
        if first.is_none() {
            first = Some(item);
        } else if rest.len() + 1 < limits::BATCH_ITEMS_MAX {
            rest.push(item);
        }
        index += 1;
    }
    if !faults.is_empty() {
        return Err(refusal(&faults));
    }
    let first = first.ok_or(Refusal::bad_request("missing batch input to process"))?;
    mixed_context(&first, &rest)?;
    Ok((first, rest))
}

/// Refuses a batch of which some items have a context and some have none.
pub fn mixed_context(first: &Item<'_>, rest: &[Item<'_>]) -> Result<(), Refusal> {
    let mixed = rest
        .iter()
        .any(|item| item.context.is_some() != first.context.is_some());
    if mixed {
        return Err(Refusal::bad_request(
            "context should be set either in all the request blocks or in none",
        ));
    }
    Ok(())
}

/// The fields of one item as sent.
#[derive(Default)]
struct Raw<'a> {
    context: Option<Value<'a>>,
    ciphertext: Option<Value<'a>>,
    plaintext: Option<Value<'a>>,
    key_version: Option<Value<'a>>,
    associated_data: Option<Value<'a>>,
    reference: Option<Value<'a>>,
}

/// Reads one item; what is wrong with it is added to `faults`, in OpenBao's order.
fn item<'a>(
    verb: Verb,
    index: usize,
    fields: &'a [u8],
    faults: &mut String,
) -> Result<Item<'a>, Refusal> {
    let mut raw = Raw::default();
    let mut reader = Reader::nested(fields);
    while let Some(name) = reader.name()? {
        let value = Some(reader.value()?);
        match name.as_str() {
            "context" => raw.context = value,
            "ciphertext" => raw.ciphertext = value,
            "plaintext" => raw.plaintext = value,
            "key_version" => raw.key_version = value,
            "associated_data" => raw.associated_data = value,
            "reference" => raw.reference = value,
            _ => {}
        }
    }
    let mut faults = Faults {
        index,
        texts: faults,
    };
    let context = faults.nullable("context", raw.context);
    let missing = verb == Verb::Decrypt && raw.ciphertext.is_none();
    let ciphertext = faults.nullable("ciphertext", raw.ciphertext);
    faults.missing(missing, Verb::Decrypt);
    let missing = verb == Verb::Encrypt && raw.plaintext.is_none();
    let plaintext = faults.text("plaintext", raw.plaintext);
    faults.missing(missing, Verb::Encrypt);
    let key_version = faults.int("key_version", raw.key_version);
    let associated_data = faults.nullable("associated_data", raw.associated_data);
    let reference = match faults.nullable("reference", raw.reference) {
        None => Cow::Borrowed(""),
        Some(Text::Borrowed(text)) => Cow::Borrowed(text),
        Some(Text::Unescaped(text)) => Cow::Owned(text.to_string()),
    };
    let text = if verb == Verb::Encrypt {
        plaintext
    } else {
        ciphertext
    };
    let filled = |text: Option<Text<'a>>| text.filter(|text| !text.as_str().is_empty());
    Ok(Item {
        text: text.unwrap_or(Text::Borrowed("")),
        associated_data: filled(associated_data),
        context: filled(context),
        key_version,
        reference,
    })
}

/// Collects what is wrong with the item `index`.
struct Faults<'f> {
    index: usize,
    texts: &'f mut String,
}

impl Faults<'_> {
    #[cold]
    fn add(&mut self, what: &std::fmt::Arguments<'_>) {
        if self.texts.len() > FAULTS_BYTES_MAX {
            return;
        }
        if !self.texts.is_empty() {
            self.texts.push('\n');
        }
        // Writing to a String cannot fail.
        let _ = self.texts.write_fmt(*what);
    }

    fn missing(&mut self, missing: bool, verb: Verb) {
        if missing {
            let index = self.index;
            self.add(&format_args!(
                "'[{index}].{}' {}",
                verb.field(),
                verb.missing()
            ));
        }
    }

    fn unconvertible(&mut self, name: &str, wanted: &str, value: &Value<'_>) {
        let (index, got) = (self.index, go_type(value));
        self.add(&format_args!(
            "'[{index}].{name}' expected type '{wanted}', got unconvertible type '{got}'"
        ));
    }

    fn text<'a>(&mut self, name: &str, value: Option<Value<'a>>) -> Option<Text<'a>> {
        match value? {
            Value::Text(text) => Some(text),
            other => {
                self.unconvertible(name, "string", &other);
                None
            }
        }
    }

    fn nullable<'a>(&mut self, name: &str, value: Option<Value<'a>>) -> Option<Text<'a>> {
        self.text(name, value.filter(|value| !matches!(value, Value::Null)))
    }

    fn int(&mut self, name: &str, value: Option<Value<'_>>) -> i64 {
        match value {
            None | Some(Value::Null) => 0,
            Some(Value::Number(digits)) => digits.parse().unwrap_or_else(|_| {
                let index = self.index;
                self.add(&format_args!(
                    "error decoding json.Number into [{index}].{name}: strconv.ParseInt: parsing \"{digits}\": \
                     invalid syntax"
                ));
                0
            }),
            Some(other) => {
                self.unconvertible(name, "int", &other);
                0
            }
        }
    }
}
