#![allow(clippy::unwrap_used, clippy::expect_used, clippy::format_push_string)]

use proptest::prelude::*;

use super::*;

mod answers;
mod bodies;
mod forms_and_keys;
mod rewrap;

/// The body's items in one line each, or the refusal.
fn show(result: Result<CryptBody<'_>, Refusal>) -> Result<String, (u16, String)> {
    let body = result.map_err(|refusal| (refusal.status, refusal.text.into_owned()))?;
    let mut shown = format!(
        "batch={} code={}",
        body.batch,
        body.partial_failure_response_code.unwrap_or(400)
    );
    for item in body.items() {
        let text = |text: &Option<Text<'_>>| {
            text.as_ref()
                .map_or("-".to_owned(), |text| text.as_str().to_owned())
        };
        let (data, context) = (text(&item.associated_data), text(&item.context));
        shown += &format!(
            " [{} {data} {context} {} {}]",
            item.text.as_str(),
            item.key_version,
            item.reference
        );
    }
    for warning in &body.warnings {
        shown += &format!(" !{warning}");
    }
    Ok(shown)
}

const NAMED: &str = "Endpoint replaced the value of these parameters with the values captured from the endpoint's path: [name]";

/// Body, what is read.
const ENCRYPT_READ: &[(&str, &str)] = &[
    (
        r#"{"plaintext":"aGk="}"#,
        "batch=false code=400 [aGk= - - 0 ]",
    ),
    (r#"{"plaintext":""}"#, "batch=false code=400 [ - - 0 ]"),
    (r#"{"plaintext":null}"#, "batch=false code=400 [ - - 0 ]"),
    (
        r#"{"plaintext":1234}"#,
        "batch=false code=400 [1234 - - 0 ]",
    ),
    (r#"{"plaintext":true}"#, "batch=false code=400 [1 - - 0 ]"),
    (
        r#"{"plaintext":"!!","plaintext":"aGk="}"#,
        "batch=false code=400 [aGk= - - 0 ]",
    ),
    (
        r#"{"plaintext":"a","associated_data":"YQ==","context":"Yg=="}"#,
        "batch=false code=400 [a YQ== Yg== 0 ]",
    ),
    (
        r#"{"plaintext":"a","associated_data":null,"context":""}"#,
        "batch=false code=400 [a - - 0 ]",
    ),
    (
        r#"{"plaintext":"a","key_version":"1"}"#,
        "batch=false code=400 [a - - 1 ]",
    ),
    (
        r#"{"plaintext":"a","key_version":-1}"#,
        "batch=false code=400 [a - - -1 ]",
    ),
    (
        r#"{"plaintext":"a","key_version":"0x1f"}"#,
        "batch=false code=400 [a - - 31 ]",
    ),
    (
        r#"{"plaintext":"a","key_version":"+1_0"}"#,
        "batch=false code=400 [a - - 10 ]",
    ),
    (
        r#"{"plaintext":"a","key_version":null}"#,
        "batch=false code=400 [a - - 0 ]",
    ),
    (
        r#"{"plaintext":"a","key_version":true}"#,
        "batch=false code=400 [a - - 1 ]",
    ),
    (
        r#"{"plaintext":"a","batch_input":null}"#,
        "batch=false code=400 [a - - 0 ]",
    ),
    (
        r#"{"plaintext":"a","reference":{},"nonce":5}"#,
        "batch=false code=400 [a - - 0 ] !Endpoint ignored these unrecognized parameters: [nonce reference]",
    ),
    (
        r#"{"plaintext":"a","b":1,"a":2,"a":3}"#,
        "batch=false code=400 [a - - 0 ] !Endpoint ignored these unrecognized parameters: [a b]",
    ),
    (
        r#"{"plaintext":null,"batch_input":[{"plaintext":"a","reference":"r"},{"plaintext":"","zzz":1}]}"#,
        "batch=true code=400 [a - - 0 r] [ - - 0 ]",
    ),
    (
        r#"{"batch_input":[{"plaintext":"a","key_version":2,"context":"Yg=="}],"partial_failure_response_code":"207"}"#,
        "batch=true code=207 [a - Yg== 2 ]",
    ),
];

#[test]
fn encrypt_bodies_that_are_read() {
    for (body, want) in ENCRYPT_READ {
        assert_eq!(
            show(crypt_body(Verb::Encrypt, body.as_bytes())),
            Ok((*want).to_owned()),
            "{body}"
        );
    }
    let body = br#"{"plaintext":"a","name":"x","z":1}"#;
    let want = format!(
        "batch=false code=400 [a - - 0 ] !Endpoint ignored these unrecognized parameters: [z] !{NAMED}"
    );
    assert_eq!(show(crypt_body(Verb::Encrypt, body)), Ok(want));
}

const INT: &str = "error converting input for field \"key_version\": '' cannot parse value as 'int': strconv.ParseInt:";
const MAP: &str = "expected type 'string', got unconvertible type 'map[string]interface {}'";

#[test]
fn encrypt_bodies_that_are_refused() {
    for (body, status, want) in [
        ("", 400, "missing plaintext to encrypt".to_owned()),
        ("null", 400, "missing plaintext to encrypt".to_owned()),
        (r#"{"Plaintext":"aGk=","context":"!!"}"#, 400, "missing plaintext to encrypt".to_owned()),
        ("hello", 400, "failed to decode JSON input: invalid character 'h' looking for beginning of value".to_owned()),
        (r#"{"plaintext":{"a":1}}"#, 400, format!("error converting input for field \"plaintext\": '' {MAP}")),
        (r#"{"plaintext":["a"]}"#, 400,
         "error converting input for field \"plaintext\": '' expected type 'string', got unconvertible type '[]interface {}'".to_owned()),
        (r#"{"plaintext":"a","associated_data":{}}"#, 400, format!("error converting input for field \"associated_data\": '' {MAP}")),
        (r#"{"plaintext":"a","key_version":"abc"}"#, 400, format!("{INT} invalid syntax")),
        (r#"{"plaintext":"a","key_version":1.0}"#, 400, format!("{INT} invalid syntax")),
        (r#"{"plaintext":"a","key_version":" 1"}"#, 400, format!("{INT} invalid syntax")),
        (r#"{"plaintext":"a","key_version":"1__0"}"#, 400, format!("{INT} invalid syntax")),
        (r#"{"plaintext":"a","key_version":99999999999999999999}"#, 400, format!("{INT} value out of range")),
        (r#"{"plaintext":"a","key_version":[1]}"#, 400,
         "error converting input for field \"key_version\": '' expected type 'int', got unconvertible type '[]interface {}'".to_owned()),
        (r#"{"batch_input":[],"key_version":"abc"}"#, 400, format!("{INT} invalid syntax")),
        (r#"{"batch_input":[]}"#, 400, "missing batch input to process".to_owned()),
        (r#"{"batch_input":[{"plaintext":"a","context":"Yg=="},{"plaintext":"a"}]}"#, 400,
         "context should be set either in all the request blocks or in none".to_owned()),
    ] {
        assert_eq!(show(crypt_body(Verb::Encrypt, body.as_bytes())), Err((status, want)), "{body}");
    }
}

#[test]
fn decrypt_bodies() {
    let missing = "missing ciphertext to decrypt";
    for (body, want) in [
        (
            r#"{"ciphertext":"vault:v1:AA"}"#,
            Ok("batch=false code=400 [vault:v1:AA - - 0 ]"),
        ),
        (
            r#"{"ciphertext":12}"#,
            Ok("batch=false code=400 [12 - - 0 ]"),
        ),
        (
            r#"{"ciphertext":"x","key_version":"abc"}"#,
            Ok(
                "batch=false code=400 [x - - 0 ] !Endpoint ignored these unrecognized parameters: [key_version]",
            ),
        ),
        (
            r#"{"batch_input":[{"ciphertext":null}]}"#,
            Ok("batch=true code=400 [ - - 0 ]"),
        ),
        ("{}", Err(missing)),
        (r#"{"ciphertext":""}"#, Err(missing)),
        (r#"{"ciphertext":null}"#, Err(missing)),
        (r#"{"batch_input":null}"#, Err(missing)),
        (
            r#"{"ciphertext":"x","partial_failure_response_code":"abc"}"#,
            Err(
                "Field validation failed: error converting input for field \"partial_failure_response_code\": '' cannot parse value as 'int': strconv.ParseInt: invalid syntax",
            ),
        ),
        (
            r#"{"ciphertext":"x","associated_data":[]}"#,
            Err(
                "Field validation failed: error converting input for field \"associated_data\": '' expected type 'string', got unconvertible type '[]interface {}'",
            ),
        ),
    ] {
        let want = want
            .map(str::to_owned)
            .map_err(|text| (400, text.to_owned()));
        assert_eq!(
            show(crypt_body(Verb::Decrypt, body.as_bytes())),
            want,
            "{body}"
        );
    }
}

/// Verb, `batch_input`, what is said.
const BATCHES_REFUSED: &[(Verb, &str, &str)] = &[
    (
        Verb::Decrypt,
        r#"{"ciphertext":"x"}"#,
        "source data must be an array or slice, got map[string]interface {}",
    ),
    (
        Verb::Decrypt,
        r#""abc""#,
        "source data must be an array or slice, got string",
    ),
    (
        Verb::Encrypt,
        "5",
        "source data must be an array or slice, got json.Number",
    ),
    (
        Verb::Encrypt,
        "true",
        "source data must be an array or slice, got bool",
    ),
    (
        Verb::Encrypt,
        r#"["abc",5]"#,
        "[0] expected a map, got 'string'",
    ),
    (Verb::Encrypt, "[null]", "[0] expected a map, got '<nil>'"),
    (
        Verb::Encrypt,
        "[[]]",
        "[0] expected a map, got '[]interface {}'",
    ),
    (
        Verb::Encrypt,
        r#"[{"x":1},{"plaintext":5},"abc"]"#,
        "[2] expected a map, got 'string'",
    ),
    (
        Verb::Decrypt,
        r#"[{"ciphertext":5}]"#,
        "'[0].ciphertext' expected type 'string', got unconvertible type 'json.Number'",
    ),
    (
        Verb::Encrypt,
        r#"[{"plaintext":null}]"#,
        "'[0].plaintext' expected type 'string', got unconvertible type '<nil>'",
    ),
    (
        Verb::Encrypt,
        r#"[{"plaintext":"a"},{"reference":"x"}]"#,
        "'[1].plaintext' missing plaintext to encrypt",
    ),
    (
        Verb::Decrypt,
        r#"[{"ciphertext":"a"},{"reference":"x"}]"#,
        "'[1].ciphertext' missing ciphertext to decrypt",
    ),
    (
        Verb::Encrypt,
        r#"[{"plaintext":"a","ciphertext":5}]"#,
        "'[0].ciphertext' expected type 'string', got unconvertible type 'json.Number'",
    ),
    (
        Verb::Encrypt,
        r#"[{"plaintext":5},{"x":1}]"#,
        "'[0].plaintext' expected type 'string', got unconvertible type 'json.Number'\n'[1].plaintext' missing plaintext to encrypt",
    ),
    (
        Verb::Encrypt,
        r#"[{"key_version":"abc","plaintext":true,"associated_data":5}]"#,
        "'[0].plaintext' expected type 'string', got unconvertible type 'bool'\n'[0].key_version' expected type 'int', got unconvertible type 'string'\n'[0].associated_data' expected type 'string', got unconvertible type 'json.Number'",
    ),
    (
        Verb::Encrypt,
        r#"[{"plaintext":"a","key_version":1.5}]"#,
        "error decoding json.Number into [0].key_version: strconv.ParseInt: parsing \"1.5\": invalid syntax",
    ),
];

#[test]
fn batches_that_are_refused_whole() {
    for &(verb, batch, want) in BATCHES_REFUSED {
        let body = format!("{{\"batch_input\":{batch}}}");
        let want = format!("1 error occurred:\n\t* failed to parse batch input: {want}\n\n");
        assert_eq!(
            show(crypt_body(verb, body.as_bytes())),
            Err((500, want)),
            "{body}"
        );
    }
}

#[test]
fn response_codes_that_are_none_fall_back() {
    for (code, want, invalid) in [
        ("207", Some(207), false),
        ("\"200\"", Some(200), false),
        ("299", Some(299), false),
        ("0", None, true),
        ("null", None, true),
        ("1", None, true),
        ("99", None, true),
        ("204", None, true),
        ("1000", None, true),
        ("-1", None, true),
    ] {
        let body = format!("{{\"plaintext\":\"a\",\"partial_failure_response_code\":{code}}}");
        let body = crypt_body(Verb::Encrypt, body.as_bytes()).unwrap();
        assert_eq!(
            (
                body.partial_failure_response_code,
                body.partial_failure_code_invalid
            ),
            (want, invalid),
            "{code}"
        );
    }
}

#[test]
fn a_plain_decrypt_borrows() {
    let body = crypt_body(Verb::Decrypt, br#"{"ciphertext":"vault:v1:AA"}"#).unwrap();
    assert!(matches!(body.first().text, Text::Borrowed("vault:v1:AA")));
    assert_eq!(
        (body.len(), body.rest.capacity(), body.warnings.capacity()),
        (1, 0, 0)
    );
}

proptest! {
    #[test]
    fn what_the_client_writes_is_read(
        texts in proptest::collection::vec((".{1,40}", proptest::option::of(".{1,9}"), ".{0,9}"), 1..9),
        version in 0u32..9,
    ) {
        let items: Vec<_> = texts.iter().map(|(text, data, reference)| ClientItem {
            text, associated_data: data.as_deref(), key_version: version, reference: Some(reference), context: None,
        }).collect();
        let mut body = Vec::new();
        put_crypt_request(&mut body, Verb::Encrypt, &items, true);
        let read = crypt_body(Verb::Encrypt, &body).unwrap();
        prop_assert_eq!(read.len(), items.len());
        for (item, sent) in read.items().zip(&items) {
            prop_assert_eq!(item.text.as_str(), sent.text);
            prop_assert_eq!(item.associated_data.as_ref().map(Text::as_str), sent.associated_data);
            prop_assert_eq!(&item.reference, sent.reference.unwrap());
            prop_assert_eq!(item.key_version, i64::from(version));
        }
        for len in 0..body.len() {
            prop_assert!(crypt_body(Verb::Encrypt, &body[..len]).is_err());
        }
    }

    #[test]
    fn mutated_bodies_never_panic(at in 0usize..80, byte in any::<u8>()) {
        let mut body = br#"{"batch_input":[{"plaintext":"a\u0062","key_version":1}],"key_version":"1_0","x":-1}"#.to_vec();
        body[at] = byte;
        let _ = crypt_body(Verb::Encrypt, &body);
        let _ = crypt_form(Verb::Decrypt, &body);
        let _ = crypt_body(Verb::Rewrap, &body);
        let _ = (datakey_body(&body, true), config_body(&body, false));
        let _ = key_form(&body);
        let _ = parse_answer(Verb::Encrypt, &body);
    }
}
