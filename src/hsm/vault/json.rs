//! What the back end's JSON says, read in place.
//!
//! Called by the other parts of the Vault back end. Must never be true: a copy of a body that may hold a secret.

use crate::wire::json::{JsonError, Reader, Text, Value};

/// Hands each member of an object to `each`.
pub(super) fn members<'a>(
    raw: &'a [u8],
    mut each: impl FnMut(&str, Value<'a>),
) -> Result<(), JsonError> {
    let mut reader = Reader::nested(raw);
    while let Some(name) = reader.name()? {
        let value = reader.value()?;
        each(name.as_str(), value);
    }
    Ok(())
}

/// The object that a body is; `None`: it is none.
pub(super) fn object(body: &[u8]) -> Option<&[u8]> {
    let body = body.trim_ascii_start();
    (body.first() == Some(&b'{')).then_some(body)
}

/// The object that is the member `name` of the body's object; an empty one if that is absent or null.
/// `None`: the body is no JSON object.
pub(super) fn member<'a>(body: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut found: &[u8] = b"{}";
    let body = object(body)?;
    let read = members(body, |member, value| {
        if let (true, Value::Object(raw)) = (member == name, value) {
            found = raw;
        }
    });
    read.ok().map(|()| found)
}

/// The texts of the body's `errors`, without what Go puts around them; `None`: the body is no JSON object.
pub(super) fn errors(body: &[u8]) -> Option<Vec<String>> {
    let mut texts = Vec::new();
    let read = members(object(body)?, |name, value| {
        if let ("errors", Value::Array(raw)) = (name, value) {
            let mut reader = Reader::nested(raw);
            while let Ok(Some(value)) = reader.element() {
                if let Value::Text(text) = value {
                    texts.push(unframed(text.as_str()).to_owned());
                }
            }
        }
    });
    read.ok().map(|()| texts)
}

/// Go's `1 error occurred:\n\t* TEXT\n\n`.
fn unframed(text: &str) -> &str {
    let inner = text.strip_prefix("1 error occurred:").unwrap_or(text);
    inner.trim().trim_start_matches("* ")
}

/// A number, or digits in a text: Azure's metadata has those.
pub(super) fn number(value: &Value<'_>) -> Option<u64> {
    match value {
        Value::Number(digits) => digits.parse().ok(),
        Value::Text(text) => text.as_str().parse().ok(),
        _ => None,
    }
}

/// A text, taken out of the body: only for what is no secret.
pub(super) fn owned(value: &Value<'_>) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.as_str().to_owned()),
        _ => None,
    }
}

/// A text where it stands.
pub(super) fn text(value: Value<'_>) -> Option<Text<'_>> {
    match value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_lose_their_frame() {
        for (body, want) in [
            (
                r#"{"errors":["permission denied"]}"#,
                Some(vec!["permission denied"]),
            ),
            (
                r#" {"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#,
                Some(vec!["permission denied"]),
            ),
            (r#"{"errors":["a","b"],"x":{}}"#, Some(vec!["a", "b"])),
            (r#"{"errors":[]}"#, Some(vec![])),
            (r#"{"errors":null}"#, Some(vec![])),
            ("{}", Some(vec![])),
            ("<html>", None),
            ("", None),
            ("[]", None),
            (r#"{"errors":["a""#, None),
        ] {
            let got = errors(body.as_bytes());
            let want = want.map(|texts| texts.into_iter().map(str::to_owned).collect());
            assert_eq!(got, want, "{body}");
        }
    }

    #[test]
    fn members_are_found_where_they_are() {
        for (body, want) in [
            (r#"{"data":{"a":1},"b":2}"#, Some(r#"{"a":1}"#)),
            (r#"{"data":null}"#, Some("{}")),
            ("{}", Some("{}")),
            (r#"{"data":{"a":1}"#, None),
            ("x", None),
        ] {
            let got = member(body.as_bytes(), "data");
            assert_eq!(got, want.map(str::as_bytes), "{body}");
        }
    }
}
