//! The client's direction: requests to bytes, answers to borrowed values.

use super::super::json::{JsonError, Reader, Text, Value, put_string};
use super::super::{Out, put_decimal};
use super::Verb;

/// One item of a request that we send. Texts are base64 or a whole ciphertext.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct ClientItem<'a> {
    /// `plaintext` or `ciphertext`.
    pub text: &'a str,
    pub associated_data: Option<&'a str>,
    pub context: Option<&'a str>,
    /// 0 is not sent.
    pub key_version: u32,
    pub reference: Option<&'a str>,
}

/// Writes the body of an encrypt or decrypt: a batch unless `batch` is false and there is one item.
pub fn put_crypt_request<O: Out + ?Sized>(
    out: &mut O,
    verb: Verb,
    items: &[ClientItem<'_>],
    batch: bool,
) {
    if let ([item], false) = (items, batch) {
        return put_item(out, verb, item);
    }
    let mut before: &[u8] = b"{\"batch_input\":[";
    for item in items {
        out.put(before);
        put_item(out, verb, item);
        before = b",";
    }
    out.put(if items.is_empty() {
        b"{\"batch_input\":[]}"
    } else {
        b"]}"
    });
}

fn put_item<O: Out + ?Sized>(out: &mut O, verb: Verb, item: &ClientItem<'_>) {
    out.put(b"{\"");
    out.put(verb.field().as_bytes());
    out.put(b"\":");
    put_string(out, item.text);
    let texts = [
        ("associated_data", item.associated_data),
        ("context", item.context),
        ("reference", item.reference),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            for part in [",\"", name, "\":"] {
                out.put(part.as_bytes());
            }
            put_string(out, text);
        }
    }
    if item.key_version != 0 {
        out.put(b",\"key_version\":");
        put_decimal(out, item.key_version.into());
    }
    out.put(b"}");
}

/// What an answer says of one item.
#[derive(Debug, Default)]
pub struct AnswerItem<'a> {
    /// `plaintext` or `ciphertext`; meaningless beside an error.
    pub text: Option<Text<'a>>,
    /// `error`.
    pub error: Option<Text<'a>>,
    /// `reference`.
    pub reference: Option<Text<'a>>,
    /// `key_version`.
    pub key_version: Option<u32>,
}

/// What an answer says.
#[derive(Debug, Default)]
pub struct Answer<'a> {
    /// `data` of a single operation, or its `batch_results`.
    pub items: Vec<AnswerItem<'a>>,
    /// Whether `batch_results` was there.
    pub batch: bool,
    /// `errors`.
    pub errors: Vec<Text<'a>>,
}

/// Reads an answer to an encrypt or decrypt, whatever its status: a batch comes with 400 too.
pub fn parse_answer(verb: Verb, body: &[u8]) -> Result<Answer<'_>, JsonError> {
    let mut answer = Answer::default();
    // Answers to large batches hold more strings than a request may.
    let mut counted = Reader::new(body);
    if body.trim_ascii_start().first() != Some(&b'{') {
        counted.open()?;
        return Ok(answer);
    }
    let start = body.len() - body.trim_ascii_start().len();
    let mut reader = Reader::nested(body.get(start..).unwrap_or_default());
    while let Some(name) = reader.name()? {
        match (name.as_str(), reader.value()?) {
            ("data", Value::Object(raw)) => data(verb, raw, &mut answer)?,
            ("errors", Value::Array(raw)) => {
                let mut errors = Reader::nested(raw);
                while let Some(value) = errors.element()? {
                    if let Value::Text(text) = value {
                        answer.errors.push(text);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(answer)
}

fn data<'a>(verb: Verb, raw: &'a [u8], answer: &mut Answer<'a>) -> Result<(), JsonError> {
    let mut single = AnswerItem::default();
    let mut reader = Reader::nested(raw);
    while let Some(name) = reader.name()? {
        match (name.as_str(), reader.value()?) {
            ("batch_results", Value::Array(raw)) => {
                answer.batch = true;
                let mut results = Reader::nested(raw);
                while let Some(value) = results.element()? {
                    let mut item = AnswerItem::default();
                    if let Value::Object(raw) = value {
                        let mut fields = Reader::nested(raw);
                        while let Some(name) = fields.name()? {
                            member(verb, name.as_str(), fields.value()?, &mut item);
                        }
                    }
                    answer.items.push(item);
                }
            }
            (name, value) => member(verb, name, value, &mut single),
        }
    }
    if !answer.batch {
        answer.items.push(single);
    }
    Ok(())
}

fn member<'a>(verb: Verb, name: &str, value: Value<'a>, item: &mut AnswerItem<'a>) {
    match (name, value) {
        (name, Value::Text(text)) if name == verb.result_field() => item.text = Some(text),
        ("error", Value::Text(text)) => item.error = Some(text),
        ("reference", Value::Text(text)) => item.reference = Some(text),
        ("key_version", Value::Number(digits)) => item.key_version = digits.parse().ok(),
        _ => {}
    }
}
