//! Rewrap's bodies, which are not decoded as those of encrypt and decrypt are.

use super::*;

const ITEM: &str = "batch=false code=400";
const IGNORED: &str = "Endpoint ignored these unrecognized parameters:";

#[test]
fn rewrap_bodies_that_are_read() {
    for (body, want) in [
        (r#"{"ciphertext":"c"}"#, format!("{ITEM} [c - - 0 ]")),
        (
            r#"{"ciphertext":"c","key_version":"2","context":"aGk="}"#,
            format!("{ITEM} [c - aGk= 2 ]"),
        ),
        (r#"{"ciphertext":5}"#, format!("{ITEM} [5 - - 0 ]")),
        (
            r#"{"ciphertext":"c","batch_input":null}"#,
            format!("{ITEM} [c - - 0 ]"),
        ),
        (
            r#"{"ciphertext":"c","partial_failure_response_code":200}"#,
            format!("{ITEM} [c - - 0 ] !{IGNORED} [partial_failure_response_code]"),
        ),
        (
            r#"{"ciphertext":"c","associated_data":{},"nonce":5,"type":"x","convergent_encryption":1}"#,
            format!(
                "{ITEM} [c - - 0 ] !{IGNORED} [associated_data convergent_encryption nonce type]"
            ),
        ),
        (
            r#"{"ciphertext":"c","foo":1,"name":"x","plaintext":"x"}"#,
            format!("{ITEM} [c - - 0 ] !{IGNORED} [foo plaintext] !{NAMED}"),
        ),
    ] {
        let read = show(crypt_body(Verb::Rewrap, body.as_bytes()));
        assert_eq!(read, Ok(want), "{body}");
    }
    let form = crypt_form(Verb::Rewrap, b"ciphertext=vault%3Av1%3AAA&key_version=1");
    assert_eq!(show(form), Ok(format!("{ITEM} [vault:v1:AA - - 1 ]")));
}

#[test]
fn rewrap_batches_that_are_read() {
    for (items, want) in [
        (r#"{"ciphertext":"c","reference":"r"}"#, "[c - - 0 r]"),
        (r#"{"ciphertext":"c","key_version":-1}"#, "[c - - -1 ]"),
        (r#"{"CipherText":"c","KEY_VERSION":2}"#, "[c - - 2 ]"),
        (r#"{"ciphertext":"c","CIPHERTEXT":true}"#, "[c - - 0 ]"),
        (r#"{"CIPHERTEXT":true,"ciphertext":"c"}"#, "[c - - 0 ]"),
        (r#"{"ciphertext":5,"reference":1.5}"#, "[5 - - 0 1.5]"),
        (r#"{"ciphertext":"c","associated_data":"!!"}"#, "[c - - 0 ]"),
        (
            r#"{"ciphertext":"c","plaintext":5,"nonce":{},"zzz":[]}"#,
            "[c - - 0 ]",
        ),
        // Each of these fails as an item only, for want of a ciphertext.
        ("{}", "[ - - 0 ]"),
        ("null", "[ - - 0 ]"),
        (r#"{"ciphertext":"","reference":"r"}"#, "[ - - 0 r]"),
        (r#"{"ciphertext":null,"key_version":null}"#, "[ - - 0 ]"),
        (
            r#"{"ciphertext":"a"},{"ciphertext":"b"}"#,
            "[a - - 0 ] [b - - 0 ]",
        ),
        (
            r#"{"ciphertext":"a","context":"!!"},{"context":"aGk="}"#,
            "[a - !! 0 ] [ - aGk= 0 ]",
        ),
    ] {
        let body = format!(r#"{{"ciphertext":"lost","batch_input":[{items}],"key_version":9}}"#);
        let read = show(crypt_body(Verb::Rewrap, body.as_bytes()));
        assert_eq!(read, Ok(format!("batch=true code=400 {want}")), "{items}");
    }
}

/// Body, status, text.
const REFUSED: &[(&str, u16, &str)] = &[
    ("", 400, "missing ciphertext to decrypt"),
    ("null", 400, "missing ciphertext to decrypt"),
    (
        r#"{"ciphertext":null}"#,
        400,
        "missing ciphertext to decrypt",
    ),
    (r#"{"ciphertext":""}"#, 400, "missing ciphertext to decrypt"),
    (
        r#"{"batch_input":null}"#,
        400,
        "missing ciphertext to decrypt",
    ),
    (
        r#"{"batch_input":[]}"#,
        400,
        "missing batch input to process",
    ),
    (
        r#"{"batch_input":[{"context":"aGk="},{}]}"#,
        400,
        "context should be set either in all the request blocks or in none",
    ),
    (
        r#"{"ciphertext":{}}"#,
        400,
        "Field validation failed: error converting input for field \"ciphertext\": '' expected type \
         'string', got unconvertible type 'map[string]interface {}'",
    ),
    (
        r#"{"ciphertext":"c","key_version":"x"}"#,
        400,
        "Field validation failed: error converting input for field \"key_version\": '' cannot parse \
         value as 'int': strconv.ParseInt: invalid syntax",
    ),
];

/// `batch_input`, what follows `failed to parse batch input: `.
const BATCHES: &[(&str, &str)] = &[
    ("{}", "'' source data must be an array or slice, got map"),
    (
        r#""abc""#,
        "'' source data must be an array or slice, got string",
    ),
    ("5", "'' source data must be an array or slice, got string"),
    ("true", "'' source data must be an array or slice, got bool"),
];

/// Items, the faults.
const ITEMS: &[(&str, &str)] = &[
    (r#""abc""#, "'[0]' expected a map or struct, got \"string\""),
    ("null,5", "'[1]' expected a map or struct, got \"string\""),
    ("[{}]", "'[0]' expected a map or struct, got \"slice\""),
    (
        r#"{"ciphertext":true}"#,
        "'[0].ciphertext' expected type 'string', got unconvertible type 'bool'",
    ),
    (
        r#"{"key_version":""}"#,
        "'[0].key_version' expected type 'int', got unconvertible type 'string'",
    ),
    (
        r#"{"key_version":1.5}"#,
        "'[0].key_version' cannot parse value as 'int': strconv.ParseInt: parsing \"1.5\": invalid syntax",
    ),
    (
        r#"{"key_version":99999999999999999999}"#,
        "'[0].key_version' cannot parse value as 'int': strconv.ParseInt: parsing \
         \"99999999999999999999\": value out of range",
    ),
    (
        r#"{"key_version":"x","ciphertext":true,"context":[],"plaintext":true}"#,
        "'[0].context' expected type 'string', got unconvertible type '[]interface {}'\n\
         '[0].plaintext' expected type 'string', got unconvertible type 'bool'\n\
         '[0].ciphertext' expected type 'string', got unconvertible type 'bool'\n\
         '[0].key_version' expected type 'int', got unconvertible type 'string'",
    ),
    (
        r#"true,{"key_version":"x"},{"associated_data":{}},{"reference":true}"#,
        "'[0]' expected a map or struct, got \"bool\"\n\
         '[1].key_version' expected type 'int', got unconvertible type 'string'\n\
         '[2].associated_data' expected type 'string', got unconvertible type 'map[string]interface {}'\n\
         '[3].reference' expected type 'string', got unconvertible type 'bool'",
    ),
];

#[test]
fn rewrap_bodies_that_are_refused() {
    let refused = |body: &str| show(crypt_body(Verb::Rewrap, body.as_bytes())).err();
    for (body, status, text) in REFUSED {
        assert_eq!(refused(body), Some((*status, (*text).to_owned())), "{body}");
    }
    let framed = |what: &str| {
        let text = format!("1 error occurred:\n\t* failed to parse batch input: {what}\n\n");
        Some((500, text))
    };
    for (batch, what) in BATCHES {
        let body = format!(r#"{{"batch_input":{batch}}}"#);
        assert_eq!(refused(&body), framed(what), "{batch}");
    }
    for (items, faults) in ITEMS {
        let body = format!(r#"{{"batch_input":[{items}]}}"#);
        let what = format!("decoding failed due to the following error(s):\n\n{faults}");
        assert_eq!(refused(&body), framed(&what), "{items}");
    }
}
