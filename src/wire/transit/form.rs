//! Bodies sent as `application/x-www-form-urlencoded`: every value is a text.

use zeroize::Zeroizing;

use super::super::json::{Text, Value};
use super::Refusal;
use super::fields::{Slot, Strangers};
use crate::limits;

/// Whether the body is JSON whatever its content type says.
pub fn is_json(body: &[u8]) -> bool {
    matches!(body.trim_ascii_start().first(), Some(b'{' | b'['))
}

/// Reads the pairs into `slots`; a field given several times has its values joined by commas.
pub fn read(body: &[u8], slots: &mut [Slot<'_>]) -> Result<Strangers, Refusal> {
    let bad = || Refusal::bad_request("error parsing form data");
    let mut strangers = Strangers::default();
    let mut pairs = 0;
    for pair in body
        .split(|&byte| byte == b'&')
        .filter(|pair| !pair.is_empty())
    {
        pairs += 1;
        if pairs > limits::JSON_STRINGS_MAX || pair.contains(&b';') {
            return Err(bad());
        }
        let equals = pair
            .iter()
            .position(|&byte| byte == b'=')
            .unwrap_or(pair.len());
        let name = unescape(pair.get(..equals).unwrap_or_default()).ok_or_else(bad)?;
        let value = unescape(pair.get(equals + 1..).unwrap_or_default()).ok_or_else(bad)?;
        let Some(slot) = slots.iter_mut().find(|slot| slot.name == name.as_str()) else {
            strangers.note(&name);
            continue;
        };
        let value = match slot.value.take() {
            Some(Value::Text(before)) => {
                let before = before.as_str();
                let mut joined =
                    Zeroizing::new(String::with_capacity(before.len() + 1 + value.len()));
                joined.push_str(before);
                joined.push(',');
                joined.push_str(&value);
                joined
            }
            _ => value,
        };
        slot.value = Some(Value::Text(Text::Unescaped(value)));
    }
    Ok(strangers)
}

/// Percent and plus decoding; bytes that are no UTF-8 become U+FFFD.
fn unescape(text: &[u8]) -> Option<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (&[high, low], after) = tail.split_first_chunk::<2>()?;
                rest = after;
                let digit = |byte: u8| {
                    char::from(byte)
                        .to_digit(16)
                        .and_then(|digit| u8::try_from(digit).ok())
                };
                digit(high)? << 4 | digit(low)?
            }
            other => other,
        });
    }
    let mut decoded = Zeroizing::new(String::with_capacity(bytes.len() * 3));
    for chunk in bytes.utf8_chunks() {
        decoded.push_str(chunk.valid());
        for _ in chunk.invalid() {
            decoded.push('\u{fffd}');
        }
    }
    Some(decoded)
}
