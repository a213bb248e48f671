//! As much of JSON Schema as `docs/openapi.json` uses. A keyword that is not known is a failure, so
//! that none is written in vain.

use serde_json::Value;

/// Keywords that say nothing about validity, or (`pattern`, `maxLength`) are only told to people.
const SILENT: [&str; 3] = ["description", "pattern", "maxLength"];

/// Follows `$ref`, once: the document has no chains.
pub fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let Some(reference) = value["$ref"].as_str() else {
        return value;
    };
    let found = document.pointer(reference.trim_start_matches('#'));
    found.unwrap_or_else(|| panic!("{reference} leads nowhere"))
}

/// `Err` names the place and what is wrong there.
pub fn validate(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    check(document, schema, value, "")
}

fn check(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let schema = resolve(document, schema);
    let keywords = schema
        .as_object()
        .ok_or_else(|| format!("{at}: no schema"))?;
    for (keyword, rule) in keywords {
        match keyword.as_str() {
            "type" if !has_type(rule, value) => return Err(format!("{at}: not {rule}: {value}")),
            "enum" if !rule.as_array().is_some_and(|held| held.contains(value)) => {
                return Err(format!("{at}: {value} is none of {rule}"));
            }
            "required" => {
                for name in rule.as_array().into_iter().flatten() {
                    let name = name.as_str().unwrap_or_default();
                    if value.is_object() && value.get(name).is_none() {
                        return Err(format!("{at}: no {name}"));
                    }
                }
            }
            "properties" | "additionalProperties" => members(document, schema, value, at)?,
            "items" => {
                for (nth, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(document, rule, item, &format!("{at}/{nth}"))?;
                }
            }
            "anyOf" => any(document, rule, value, at)?,
            "type" | "enum" => {}
            silent if SILENT.contains(&silent) => {}
            unknown => return Err(format!("{at}: this test does not know {unknown:?}")),
        }
    }
    Ok(())
}

fn any(document: &Value, rule: &Value, value: &Value, at: &str) -> Result<(), String> {
    let mut why = Vec::new();
    for one in rule.as_array().into_iter().flatten() {
        match check(document, one, value, at) {
            Ok(()) => return Ok(()),
            Err(text) => why.push(text),
        }
    }
    Err(format!("none of: {}", why.join("; ")))
}

fn members(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    for (name, held) in value.as_object().into_iter().flatten() {
        let place = format!("{at}/{name}");
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Bool(false)) => {
                return Err(format!("{place}: not in the document"));
            }
            (Value::Null, Value::Null | Value::Bool(true)) => {}
            (Value::Null, others) => check(document, others, held, &place)?,
            (known, _) => check(document, known, held, &place)?,
        }
    }
    Ok(())
}

fn has_type(rule: &Value, value: &Value) -> bool {
    let is = |name: &Value| match name.as_str() {
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => false,
    };
    rule.as_array()
        .map_or_else(|| is(rule), |names| names.iter().any(is))
}

#[test]
fn what_does_not_fit_is_found() {
    use serde_json::json;
    let document = json!({"x": {"type": "string", "enum": ["a"]}});
    let schema = json!({"type": "object", "required": ["a"], "additionalProperties": false,
        "properties": {"a": {"$ref": "#/x"}, "b": {"type": ["array", "null"], "items": {"type": "integer"}},
            "c": {"type": "object", "additionalProperties": {"type": "boolean"}},
            "d": {"anyOf": [{"type": "null"}, {"type": "string"}]}, "e": {"minimum": 3}}});
    for (good, value) in [
        (
            true,
            json!({"a": "a", "b": [1], "c": {"z": true}, "d": null}),
        ),
        (true, json!({"a": "a", "b": null, "d": "x"})),
        (false, json!([])),
        (false, json!({})),
        (false, json!({"a": "b"})),
        (false, json!({"a": "a", "b": ["1"]})),
        (false, json!({"a": "a", "c": {"z": 1}})),
        (false, json!({"a": "a", "d": 1})),
        (false, json!({"a": "a", "e": 4})),
        (false, json!({"a": "a", "z": 1})),
    ] {
        assert_eq!(
            validate(&document, &schema, &value).is_ok(),
            good,
            "{value}"
        );
    }
}
