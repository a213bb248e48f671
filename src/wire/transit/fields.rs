//! Top-level fields of a body, converted as leniently as OpenBao's field schema does.

use super::super::json::{Reader, Text, Value};
use super::{Refusal, form};

/// A field that the endpoint knows: its name, and where its value goes.
pub struct Slot<'a> {
    /// The field's name.
    pub name: &'static str,
    /// The last value given.
    pub value: Option<Value<'a>>,
}

/// Whether field errors carry OpenBao's `Field validation failed: `; encrypt's come from another check.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Schema {
    /// What stands before a field error.
    pub prefix: &'static str,
}

/// The schema of most endpoints.
pub const VALIDATED: Schema = Schema {
    prefix: "Field validation failed: ",
};
/// The schema of encrypt.
pub const PLAIN: Schema = Schema { prefix: "" };

/// What was given beyond the known fields.
#[derive(Debug, Default)]
pub struct Strangers {
    unknown: Vec<String>,
    named: bool,
    /// `plaintext` was given where it is the kind in a datakey's path.
    pub kind_given: bool,
}

impl Strangers {
    /// Notes a field outside the schema.
    #[cold]
    pub fn note(&mut self, name: &str) {
        if name == "name" {
            self.named = true;
        } else {
            self.note_unknown(name);
        }
    }

    /// As [`Strangers::note`], where no part of the path is called `name`.
    #[cold]
    pub fn note_unknown(&mut self, name: &str) {
        if !self.unknown.iter().any(|known| known == name) {
            self.unknown.push(name.to_owned());
        }
    }

    /// The texts for `warnings`.
    #[inline]
    pub fn warnings(self) -> Vec<String> {
        if self.unknown.is_empty() && !self.named && !self.kind_given {
            Vec::new()
        } else {
            self.texts()
        }
    }

    #[cold]
    fn texts(mut self) -> Vec<String> {
        let mut texts = Vec::new();
        if !self.unknown.is_empty() {
            self.unknown.sort_unstable();
            texts.push(format!(
                "Endpoint ignored these unrecognized parameters: [{}]",
                self.unknown.join(" ")
            ));
        }
        let captured = match (self.kind_given, self.named) {
            (true, true) => "plaintext name",
            (true, false) => "plaintext",
            (false, true) => "name",
            (false, false) => return texts,
        };
        texts.push(format!(
            "Endpoint replaced the value of these parameters with the values captured from the endpoint's \
             path: [{captured}]"
        ));
        texts
    }
}

/// Reads a JSON body into `slots`; a field given twice keeps its last value.
#[inline]
pub fn read_json<'a>(body: &'a [u8], slots: &mut [Slot<'a>]) -> Result<Strangers, Refusal> {
    let mut strangers = Strangers::default();
    let mut reader = Reader::new(body);
    if reader.open()? {
        while let Some(name) = reader.name()? {
            let value = reader.value()?;
            match slots.iter_mut().find(|slot| slot.name == name.as_str()) {
                Some(slot) => slot.value = Some(value),
                None => strangers.note(name.as_str()),
            }
        }
        reader.close()?;
    }
    Ok(strangers)
}

/// Reads a body into `slots`: JSON, or a form where `form` says so and the body does not look like JSON.
pub fn read<'a>(body: &'a [u8], form: bool, slots: &mut [Slot<'a>]) -> Result<Strangers, Refusal> {
    if form && !form::is_json(body) {
        form::read(body, slots)
    } else {
        read_json(body, slots)
    }
}

/// Go's name of a value's type, where it was to become something else.
pub fn go_type(value: &Value<'_>) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(_) => "json.Number",
        Value::Text(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

impl Schema {
    /// A refusal about `field`.
    #[cold]
    pub fn refusal(self, field: &str, what: &str) -> Refusal {
        Refusal::bad_request(format!(
            "{}error converting input for field \"{field}\": {what}",
            self.prefix
        ))
    }

    fn unconvertible(self, slot: &Slot<'_>, value: &Value<'_>, wanted: &str) -> Refusal {
        let what = format!(
            "'' expected type '{wanted}', got unconvertible type '{}'",
            go_type(value)
        );
        self.refusal(slot.name, &what)
    }

    /// The field as text; `null` is empty.
    #[inline]
    pub fn text<'a>(self, slot: &mut Slot<'a>) -> Result<Option<Text<'a>>, Refusal> {
        match slot.value.take() {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(Value::Null) => Ok(Some(Text::Borrowed(""))),
            Some(Value::Number(digits)) => Ok(Some(Text::Borrowed(digits))),
            Some(Value::Bool(value)) => Ok(Some(Text::Borrowed(if value { "1" } else { "0" }))),
            Some(value) => Err(self.unconvertible(slot, &value, "string")),
        }
    }

    /// As [`Schema::text`], but empty is absent.
    #[inline]
    pub fn filled<'a>(self, slot: &mut Slot<'a>) -> Result<Option<Text<'a>>, Refusal> {
        Ok(self.text(slot)?.filter(|text| !text.as_str().is_empty()))
    }

    /// The field as a whole number; `null` and the empty text are 0.
    #[inline]
    pub fn int(self, slot: &mut Slot<'_>) -> Result<Option<i64>, Refusal> {
        let text = match slot.value.take() {
            None => return Ok(None),
            Some(Value::Null) => return Ok(Some(0)),
            Some(Value::Bool(value)) => return Ok(Some(i64::from(value))),
            Some(Value::Number(digits)) => Text::Borrowed(digits),
            Some(Value::Text(text)) => text,
            Some(value) => return Err(self.unconvertible(slot, &value, "int")),
        };
        if text.as_str().is_empty() {
            return Ok(Some(0));
        }
        parse_int(text.as_str()).map(Some).map_err(|why| {
            self.refusal(
                slot.name,
                &format!("'' cannot parse value as 'int': strconv.ParseInt: {why}"),
            )
        })
    }

    /// The field as a truth value; `null` and the empty text are false.
    pub fn bool(self, slot: &mut Slot<'_>) -> Result<Option<bool>, Refusal> {
        let text = match slot.value.take() {
            None => return Ok(None),
            Some(Value::Null) => return Ok(Some(false)),
            Some(Value::Bool(value)) => return Ok(Some(value)),
            Some(Value::Number(digits)) => Text::Borrowed(digits),
            Some(Value::Text(text)) => text,
            Some(value) => return Err(self.unconvertible(slot, &value, "bool")),
        };
        match text.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Some(true)),
            "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Some(false)),
            _ => Err(self.refusal(
                slot.name,
                "'' cannot parse value as 'bool': strconv.ParseBool: invalid syntax",
            )),
        }
    }
}

/// Go's `strconv.ParseInt` with base 0: sign, `0x`, `0o`, `0b` or `0` prefixes, underscores between digits.
fn parse_int(text: &str) -> Result<i64, &'static str> {
    const SYNTAX: &str = "invalid syntax";
    let negative = text.starts_with('-');
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text).as_bytes();
    let (base, digits, mut underscore) = match digits {
        [b'0', b'x' | b'X', rest @ ..] => (16, rest, true),
        [b'0', b'o' | b'O', rest @ ..] => (8, rest, true),
        [b'0', b'b' | b'B', rest @ ..] => (2, rest, true),
        [b'0', rest @ ..] if !rest.is_empty() => (8, rest, true),
        rest => (10, rest, false),
    };
    let mut value: i128 = 0;
    let mut last_is_digit = false;
    for &byte in digits {
        if byte == b'_' && underscore {
            (underscore, last_is_digit) = (false, false);
            continue;
        }
        let digit = char::from(byte).to_digit(base).ok_or(SYNTAX)?;
        value = value
            .saturating_mul(i128::from(base))
            .saturating_add(i128::from(digit));
        value = value.min(i128::from(u64::MAX));
        (underscore, last_is_digit) = (true, true);
    }
    if !last_is_digit {
        return Err(SYNTAX);
    }
    i64::try_from(if negative { -value } else { value }).map_err(|_| "value out of range")
}
