//! Forms, ciphertexts and the bodies of key creation.

use super::*;

#[test]
fn forms() {
    for (body, want) in [
        ("plaintext=aGk%3D", Ok("batch=false code=400 [aGk= - - 0 ]")),
        (
            "&&plaintext=aGk=&",
            Ok("batch=false code=400 [aGk= - - 0 ]"),
        ),
        ("plaintext", Ok("batch=false code=400 [ - - 0 ]")),
        ("plaintext=aG+k", Ok("batch=false code=400 [aG k - - 0 ]")),
        (
            "plaintext=aGk%3D&plaintext=!!",
            Ok("batch=false code=400 [aGk=,!! - - 0 ]"),
        ),
        (
            "plaintext=%ff",
            Ok("batch=false code=400 [\u{fffd} - - 0 ]"),
        ),
        (
            "plaintext=a&key_version=1",
            Ok("batch=false code=400 [a - - 1 ]"),
        ),
        (
            " {\"plaintext\":\"a\"}",
            Ok("batch=false code=400 [a - - 0 ]"),
        ),
        (
            "plaintext=a&=5",
            Ok(
                "batch=false code=400 [a - - 0 ] !Endpoint ignored these unrecognized parameters: []",
            ),
        ),
        ("null", Err((400, "missing plaintext to encrypt"))),
        ("plaintext=a%zz", Err((400, "error parsing form data"))),
        ("plaintext=a%", Err((400, "error parsing form data"))),
        ("plaintext=a;a=b", Err((400, "error parsing form data"))),
        (
            "batch_input=",
            Err((
                500,
                "1 error occurred:\n\t* failed to parse batch input: source data must be an array or slice, got string\n\n",
            )),
        ),
    ] {
        let want = want
            .map(str::to_owned)
            .map_err(|(status, text)| (status, text.to_owned()));
        assert_eq!(
            show(crypt_form(Verb::Encrypt, body.as_bytes())),
            want,
            "{body}"
        );
    }
}

#[test]
fn ciphertexts() {
    for (text, want) in [
        ("vault:v1:AA", Ok((1, "AA"))),
        ("vault:v0:AA", Ok((1, "AA"))),
        ("vault:v-0:AA", Ok((1, "AA"))),
        ("vault:v+01:A:x", Ok((1, "A:x"))),
        ("vault:v99999999999:", Ok((u32::MAX, ""))),
        ("hello", Err("invalid ciphertext: no prefix")),
        ("vault:", Err("invalid ciphertext: no prefix")),
        ("vault:1:AA", Err("invalid ciphertext: no prefix")),
        ("Vault:v1:AA", Err("invalid ciphertext: no prefix")),
        (" vault:v1:AA", Err("invalid ciphertext: no prefix")),
        (
            "vault:v1",
            Err("invalid ciphertext: wrong number of fields"),
        ),
        (
            "vault:vx:AA",
            Err("invalid ciphertext: version number could not be decoded"),
        ),
        (
            "vault:v:AA",
            Err("invalid ciphertext: version number could not be decoded"),
        ),
        (
            "vault:v1_0:AA",
            Err("invalid ciphertext: version number could not be decoded"),
        ),
        (
            "vault:v99999999999999999999:AA",
            Err("invalid ciphertext: version number could not be decoded"),
        ),
        ("vault:v-1:!!", Err(VERSION_TOO_OLD_ERROR)),
    ] {
        assert_eq!(parse_ciphertext(text), want, "{text}");
    }
    let mut out = [0; 64];
    assert_eq!(
        decode_ciphertext("!!", &mut out, 28),
        Err("invalid ciphertext: could not decode base64")
    );
    assert_eq!(
        decode_ciphertext("AAAA:x", &mut out, 28),
        Err("invalid ciphertext: could not decode base64")
    );
    assert_eq!(
        decode_ciphertext("", &mut out, 28),
        Err(CIPHERTEXT_LENGTH_ERROR)
    );
    assert_eq!(decode_ciphertext("AAAA\n", &mut out, 3), Ok(3));
}

#[test]
fn key_bodies() {
    for body in ["", "null", "{}"] {
        let body = key_body(body.as_bytes()).unwrap();
        assert!(
            body.kind.is_none() && body.derived.is_none() && body.auto_rotate_period_s.is_none()
        );
    }
    let body =
        key_body(br#"{"type":5,"derived":"T","exportable":0,"foo":1,"key_size":"32"}"#).unwrap();
    assert_eq!(
        (body.derived, body.exportable, body.key_size),
        (Some(true), Some(false), Some(32))
    );
    assert_eq!(body.kind.unwrap().as_str(), "5");
    assert_eq!(
        body.warnings,
        ["Endpoint ignored these unrecognized parameters: [foo]"]
    );
}

#[test]
fn key_fields() {
    let refused = "Field validation failed: error converting input for field";
    for (field, value, want) in [
        ("auto_rotate_period", "\"1h30m\"", Ok(Some(5400))),
        ("auto_rotate_period", "\"1d\"", Ok(Some(86_400))),
        ("auto_rotate_period", "3600", Ok(Some(3600))),
        ("auto_rotate_period", "\"\"", Ok(Some(0))),
        (
            "auto_rotate_period",
            "-1",
            Err("cannot provide negative value '-1'"),
        ),
        (
            "auto_rotate_period",
            "\"x\"",
            Err("time: invalid duration \"x\""),
        ),
        (
            "auto_rotate_period",
            "7200.5",
            Err("time: missing unit in duration \"7200.5\""),
        ),
        (
            "auto_rotate_period",
            "true",
            Err("could not parse duration from input"),
        ),
        (
            "derived",
            "\"x\"",
            Err("'' cannot parse value as 'bool': strconv.ParseBool: invalid syntax"),
        ),
        (
            "derived",
            "{}",
            Err("'' expected type 'bool', got unconvertible type 'map[string]interface {}'"),
        ),
    ] {
        let body = format!("{{\"{field}\":{value}}}");
        let got = key_body(body.as_bytes())
            .map(|body| body.auto_rotate_period_s)
            .map_err(|r| r.text.into_owned());
        assert_eq!(
            got,
            want.map_err(|text| format!("{refused} \"{field}\": {text}")),
            "{body}"
        );
    }
}
