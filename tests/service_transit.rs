//! Wrapping and unwrapping to the letter: data, warnings, refusals (openbao-transit.md 2.7, 4, 5.3).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod service_support;

use service_support::transit::{ciphertext_of, data_of, encrypt, errors, site};

/// Name, request to wrap, what the unwrap adds to its request, plaintext, warnings.
const WRAPS: &[(&str, &str, &str, &str, &str)] = &[
    (
        "text",
        r#"{"plaintext":"aGVsbG8="}"#,
        "",
        "aGVsbG8=",
        "null",
    ),
    ("empty", r#"{"plaintext":""}"#, "", "", "null"),
    ("null is empty", r#"{"plaintext":null}"#, "", "", "null"),
    (
        "a number is a string",
        r#"{"plaintext":1234}"#,
        "",
        "1234",
        "null",
    ),
    (
        "line feed in base64",
        r#"{"plaintext":"aGVs\nbG8="}"#,
        "",
        "aGVsbG8=",
        "null",
    ),
    (
        "version 0 is the latest",
        r#"{"plaintext":"aGk=","key_version":0}"#,
        "",
        "aGk=",
        "null",
    ),
    (
        "version as string",
        r#"{"plaintext":"aGk=","key_version":"1"}"#,
        "",
        "aGk=",
        "null",
    ),
    (
        "context is ignored",
        r#"{"plaintext":"aGk=","context":"aGk="}"#,
        "",
        "aGk=",
        "null",
    ),
    (
        "associated data",
        r#"{"plaintext":"aGk=","associated_data":"YWFk"}"#,
        r#","associated_data":"YWFk""#,
        "aGk=",
        "null",
    ),
    (
        "nonce is ignored, with a warning",
        r#"{"plaintext":"aGk=","nonce":"AAAAAAAAAAAAAAAA"}"#,
        "",
        "aGk=",
        r#"["Endpoint ignored these unrecognized parameters: [nonce]"]"#,
    ),
    (
        "unknown field",
        r#"{"plaintext":"aGk=","foo":"bar"}"#,
        "",
        "aGk=",
        r#"["Endpoint ignored these unrecognized parameters: [foo]"]"#,
    ),
    (
        "name in the body",
        r#"{"plaintext":"aGk=","name":"k1"}"#,
        "",
        "aGk=",
        r#"["Endpoint replaced the value of these parameters with the values captured from the endpoint's path: [name]"]"#,
    ),
    (
        "the last of two wins",
        r#"{"plaintext":"!!","plaintext":"aGk="}"#,
        "",
        "aGk=",
        "null",
    ),
    (
        "two objects",
        r#"{"plaintext":"aGk="}{"plaintext":"aGk="}"#,
        "",
        "aGk=",
        "null",
    ),
];

#[test]
fn wrapping_and_unwrapping_succeed() {
    let (running, mut client) = site();
    for &(name, wrap, extra, want, warnings) in WRAPS {
        let wrapped = client.post("/v1/transit/encrypt/k1", wrap);
        assert_eq!(wrapped.status, 200, "{name}: {}", wrapped.body);
        assert!(wrapped.body.ends_with("}\n"), "{name}: line feed");
        let (data, told) = data_of(name, &wrapped);
        assert_eq!(told, warnings, "{name}");
        let ciphertext = ciphertext_of(data);
        assert_eq!(
            data,
            format!("{{\"ciphertext\":\"{ciphertext}\",\"key_version\":1}}"),
            "{name}"
        );
        for round in ["cold", "warm"] {
            for text in [
                ciphertext.clone(),
                ciphertext.replacen("v1", "v0", 1),
                format!("{ciphertext}\\n"),
            ] {
                let body = format!("{{\"ciphertext\":\"{text}\"{extra}}}");
                let answer = client.post("/v1/transit/decrypt/k1", &body);
                assert_eq!(answer.status, 200, "{name}, {round}: {}", answer.body);
                assert!(answer.body.ends_with("}\n"), "{name}: line feed");
                assert_eq!(
                    data_of(name, &answer),
                    (format!("{{\"plaintext\":\"{want}\"}}").as_str(), "null"),
                    "{name}"
                );
            }
        }
    }
    running.stop();
}

#[test]
fn wrapping_is_refused_as_openbao_does() {
    let (running, mut client) = site();
    let json = |text: &str| format!("failed to decode JSON input: {text}");
    let convert = |field: &str, what: &str| {
        format!(
            "error converting input for field \\\"{field}\\\": '' expected type 'string', got unconvertible type '{what}'"
        )
    };
    for (name, body, status, text) in [
        ("truncated", r#"{"plaintext":"#, 400, json("unexpected EOF")),
        ("not JSON", "hello", 400, json("invalid character 'h' looking for beginning of value")),
        ("array", "[1]", 400, json("json: cannot unmarshal array into Go value of type map[string]interface {}")),
        ("string", "\"x\"", 400, json("json: cannot unmarshal string into Go value of type map[string]interface {}")),
        ("null", "null", 400, "missing plaintext to encrypt".to_owned()),
        ("garbage behind", r#"{"plaintext":"aGk="}xyz"#, 400, json("invalid character 'x' looking for beginning of value")),
        ("case", r#"{"Plaintext":"aGk="}"#, 400, "missing plaintext to encrypt".to_owned()),
        ("mark", "\u{feff}{\"plaintext\":\"aGk=\"}", 400, json("invalid character '\\\\ufeff' looking for beginning of value")),
        ("nothing", "", 400, "missing plaintext to encrypt".to_owned()),
        ("no plaintext", "{}", 400, "missing plaintext to encrypt".to_owned()),
        ("bad base64", r#"{"plaintext":"not base64!!"}"#, 400, "illegal base64 data at input byte 3".to_owned()),
        ("no padding", r#"{"plaintext":"aGVsbG8"}"#, 400, "illegal base64 data at input byte 4".to_owned()),
        ("url-safe", r#"{"plaintext":"_-8="}"#, 400, "illegal base64 data at input byte 0".to_owned()),
        ("object", r#"{"plaintext":{"a":1}}"#, 400, convert("plaintext", "map[string]interface {}")),
        ("array inside", r#"{"plaintext":["aGk="]}"#, 400, convert("plaintext", "[]interface {}")),
        ("version too high", r#"{"plaintext":"aGk=","key_version":99}"#, 400, "requested version for encryption is higher than the latest key version".to_owned()),
        ("version negative", r#"{"plaintext":"aGk=","key_version":-1}"#, 400, "requested version for encryption is negative".to_owned()),
        ("version no number", r#"{"plaintext":"aGk=","key_version":"abc"}"#, 400, "error converting input for field \\\"key_version\\\": '' cannot parse value as 'int': strconv.ParseInt: invalid syntax".to_owned()),
        ("bad context", r#"{"plaintext":"aGk=","context":"!!"}"#, 400, "illegal base64 data at input byte 0".to_owned()),
        ("associated data not base64", r#"{"plaintext":"aGk=","associated_data":"!!"}"#, 500, "1 error occurred:\\n\\t* unable to get associated_data/additional_data from factory[0]: illegal base64 data at input byte 0\\n\\n".to_owned()),
        ("associated data object", r#"{"plaintext":"aGk=","associated_data":{"a":"b"}}"#, 400, convert("associated_data", "map[string]interface {}")),
        ("empty batch", r#"{"batch_input":[]}"#, 400, "missing batch input to process".to_owned()),
        ("item without plaintext", r#"{"batch_input":[{"plaintext":"aGVsbG8="},{"reference":"x"}]}"#, 500, "1 error occurred:\\n\\t* failed to parse batch input: '[1].plaintext' missing plaintext to encrypt\\n\\n".to_owned()),
        ("context in some", r#"{"batch_input":[{"plaintext":"aGk=","context":"Y3R4"},{"plaintext":"aGk="}]}"#, 400, "context should be set either in all the request blocks or in none".to_owned()),
    ] {
        let answer = client.post("/v1/transit/encrypt/k1", body);
        assert_eq!((answer.status, answer.body), (status, errors(&text)), "{name}");
    }
    running.stop();
}

#[test]
fn unwrapping_is_refused_as_openbao_does() {
    let (running, mut client) = site();
    assert_eq!(client.post("/v1/transit/keys/k2", "{}").status, 200);
    let good = encrypt(&mut client, r#"{"plaintext":"aGVsbG8="}"#);
    let with_data = encrypt(
        &mut client,
        r#"{"plaintext":"aGk=","associated_data":"YWFk"}"#,
    );
    let base64 = good.strip_prefix("vault:v1:").unwrap();
    let mut tampered = good.clone();
    let last = tampered.len() - 4;
    tampered.replace_range(
        last..last + 1,
        if good[last..].starts_with('A') {
            "B"
        } else {
            "A"
        },
    );
    let one = |text: &str| format!("{{\"ciphertext\":\"{text}\"}}");
    let failed = "cipher: message authentication failed";
    let too_old = "ciphertext or signature version is disallowed by policy (too old)";
    let batch =
        |text: &str| format!("1 error occurred:\\n\\t* failed to parse batch input: {text}\\n\\n");
    for (name, path, body, status, text) in [
        ("nothing", "k1", "{}".to_owned(), 400, "missing ciphertext to decrypt".to_owned()),
        ("empty", "k1", one(""), 400, "missing ciphertext to decrypt".to_owned()),
        ("no prefix", "k1", one("hello"), 400, "invalid ciphertext: no prefix".to_owned()),
        ("only vault:", "k1", one("vault:"), 400, "invalid ciphertext: no prefix".to_owned()),
        ("no v", "k1", one(&format!("vault:1:{base64}")), 400, "invalid ciphertext: no prefix".to_owned()),
        ("capital", "k1", one(&good.replace('v', "V")), 400, "invalid ciphertext: no prefix".to_owned()),
        ("leading space", "k1", one(&format!(" {good}")), 400, "invalid ciphertext: no prefix".to_owned()),
        ("number", "k1", "{\"ciphertext\":12}".to_owned(), 400, "invalid ciphertext: no prefix".to_owned()),
        ("version x", "k1", one(&format!("vault:vx:{base64}")), 400, "invalid ciphertext: version number could not be decoded".to_owned()),
        ("bad base64", "k1", one("vault:v1:!!"), 400, "invalid ciphertext: could not decode base64".to_owned()),
        ("more behind", "k1", one(&format!("{good}:x")), 400, "invalid ciphertext: could not decode base64".to_owned()),
        ("nothing behind", "k1", one("vault:v1:"), 400, "invalid ciphertext length".to_owned()),
        ("too short", "k1", one("vault:v1:AAAA"), 400, "invalid ciphertext length".to_owned()),
        ("too new", "k1", one(&format!("vault:v2:{base64}")), 400, "invalid ciphertext: version is too new".to_owned()),
        ("negative", "k1", one(&format!("vault:v-1:{base64}")), 400, too_old.to_owned()),
        ("tampered", "k1", one(&tampered), 400, failed.to_owned()),
        ("tampered, again", "k1", one(&tampered), 400, failed.to_owned()),
        ("another key", "k2", one(&good), 400, failed.to_owned()),
        ("data missing", "k1", one(&with_data), 400, failed.to_owned()),
        ("data wrong", "k1", format!("{{\"ciphertext\":\"{with_data}\",\"associated_data\":\"YWFl\"}}"), 400, failed.to_owned()),
        ("data no base64", "k1", format!("{{\"ciphertext\":\"{with_data}\",\"associated_data\":\"!!\"}}"), 500, "1 error occurred:\\n\\t* unable to get associated_data/additional_data from factory[0]: illegal base64 data at input byte 0\\n\\n".to_owned()),
        ("unknown key", "nope", one(&good), 400, "encryption key not found".to_owned()),
        ("case of the name", "K1", one(&good), 400, "encryption key not found".to_owned()),
        ("empty batch", "k1", "{\"batch_input\":[]}".to_owned(), 400, "missing batch input to process".to_owned()),
        ("null batch", "k1", "{\"batch_input\":null}".to_owned(), 400, "missing ciphertext to decrypt".to_owned()),
        ("batch object", "k1", "{\"batch_input\":{\"ciphertext\":\"x\"}}".to_owned(), 500, batch("source data must be an array or slice, got map[string]interface {}")),
        ("batch string", "k1", "{\"batch_input\":\"abc\"}".to_owned(), 500, batch("source data must be an array or slice, got string")),
        ("item string", "k1", "{\"batch_input\":[\"abc\"]}".to_owned(), 500, batch("[0] expected a map, got 'string'")),
        ("item number", "k1", "{\"batch_input\":[{\"ciphertext\":5}]}".to_owned(), 500, batch("'[0].ciphertext' expected type 'string', got unconvertible type 'json.Number'")),
        ("item without", "k1", format!("{{\"batch_input\":[{},{{\"reference\":\"a\"}}]}}", one(&good)), 500, batch("'[1].ciphertext' missing ciphertext to decrypt")),
        ("batch, unknown key", "nope", format!("{{\"batch_input\":[{}]}}", one(&good)), 400, "encryption key not found".to_owned()),
    ] {
        let answer = client.post(&format!("/v1/transit/decrypt/{path}"), &body);
        assert_eq!((answer.status, answer.body), (status, errors(&text)), "{name}");
    }
    running.stop();
}
