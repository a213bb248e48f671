//! JSON, Transit's bodies and answers, ciphertext texts and base64.

use kms::wire::base64;
use kms::wire::json::{JsonError, Reader, Value, put_string};
use kms::wire::transit::{
    self, ClientItem, CryptBody, Refusal, Verb, config_body, crypt_body, crypt_form, datakey_body,
    decode_ciphertext, ignored_body, key_body, key_form, key_query, list_query, parse_answer,
    parse_ciphertext, put_ciphertext, put_crypt_request, token_body,
};
use serde_json::Value as Theirs;

/// One body; what another reader accepts, ours accepts and reads alike.
pub fn json(data: &[u8]) {
    let ours = members(data);
    let Ok(Theirs::Object(theirs)) = serde_json::from_slice::<Theirs>(data) else {
        return;
    };
    let ours = match ours {
        Ok(ours) => ours,
        Err(JsonError::TooDeep | JsonError::TooManyStrings) => return,
        Err(error) => panic!("refused what is JSON: {error}"),
    };
    for (name, value) in &theirs {
        let Theirs::String(text) = value else {
            continue;
        };
        // Of a name given twice both keep the last.
        let last = ours.iter().rev().find(|(found, _)| found == name);
        assert_eq!(
            last.and_then(|(_, text)| text.as_ref()),
            Some(text),
            "member {name:?}"
        );
    }
}

type Members = Vec<(String, Option<String>)>;

/// Names, and the values that are texts.
fn members(data: &[u8]) -> Result<Members, JsonError> {
    let mut all = Members::new();
    let mut reader = Reader::new(data);
    if reader.open()? {
        while let Some(name) = reader.name()? {
            let value = reader.value()?;
            descend(&value);
            let text = if let Value::Text(text) = &value {
                Some(text.as_str().to_owned())
            } else {
                None
            };
            if let Some(text) = &text {
                text_round_trip(text);
            }
            all.push((name.as_str().to_owned(), text));
        }
        reader.close()?;
    }
    Ok(all)
}

/// What was skipped as sound must read as sound.
fn descend(value: &Value<'_>) {
    match value {
        Value::Array(raw) => {
            let mut reader = Reader::nested(raw);
            while reader.element().expect("checked before").is_some() {}
        }
        Value::Object(raw) => {
            let mut reader = Reader::nested(raw);
            while reader.name().expect("checked before").is_some() {
                reader.value().expect("checked before");
            }
        }
        _ => {}
    }
}

fn text_round_trip(text: &str) {
    let mut written = b"[".to_vec();
    put_string(&mut written, text);
    written.push(b']');
    let Ok(Some(Value::Text(again))) = Reader::nested(&written).element() else {
        panic!("our own string is refused: {text:?}");
    };
    assert_eq!(again.as_str(), text);
}

/// Bodies of every endpoint, as JSON and as a form; queries of lists.
pub fn transit_body(data: &[u8]) {
    for verb in [Verb::Encrypt, Verb::Decrypt, Verb::Rewrap] {
        for decoded in [crypt_body(verb, data), crypt_form(verb, data)] {
            match decoded {
                Ok(body) => body_round_trip(verb, &body),
                Err(refusal) => check_refusal(&refusal),
            }
        }
    }
    for decoded in [key_body(data), key_form(data)] {
        decoded.map_or_else(|refusal| check_refusal(&refusal), drop);
    }
    for form in [false, true] {
        datakey_body(data, form).map_or_else(|refusal| check_refusal(&refusal), drop);
        config_body(data, form).map_or_else(|refusal| check_refusal(&refusal), drop);
        token_body(data, form, &["increment", "token"])
            .map_or_else(|refusal| check_refusal(&refusal), drop);
        ignored_body(data, form, &["bits"]).map_or_else(|refusal| check_refusal(&refusal), drop);
    }
    if let Ok(query) = std::str::from_utf8(data) {
        list_query(query, data.len().is_multiple_of(2))
            .map_or_else(|refusal| check_refusal(&refusal), drop);
        key_query(query).map_or_else(|refusal| check_refusal(&refusal), drop);
    }
}

fn check_refusal(refusal: &Refusal) {
    assert!(
        (400..=599).contains(&refusal.status) && !refusal.text.is_empty(),
        "{refusal:?}"
    );
}

fn body_round_trip(verb: Verb, body: &CryptBody<'_>) {
    assert_eq!(body.items().count(), body.len());
    let items: Vec<ClientItem<'_>> = body
        .items()
        .map(|item| ClientItem {
            text: item.text.as_str(),
            associated_data: item.associated_data.as_ref().map(transit::Text::as_str),
            context: item.context.as_ref().map(transit::Text::as_str),
            key_version: u32::try_from(item.key_version).unwrap_or(0),
            reference: body.batch.then_some(&*item.reference),
        })
        .collect();
    let mut written = Vec::new();
    put_crypt_request(&mut written, verb, &items, body.batch);
    let again = match crypt_body(verb, &written) {
        Ok(again) => again,
        // Names spelt out for each item count as strings.
        Err(refusal) if refusal.text.contains("maximum number of strings") => return,
        Err(refusal) => panic!("our own body is refused: {}", refusal.text),
    };
    assert_eq!((again.len(), again.batch), (body.len(), body.batch));
    for (ours, item) in again.items().zip(body.items()) {
        let texts =
            |text: &Option<transit::Text<'_>>| text.as_ref().map(|text| text.as_str().to_owned());
        assert_eq!(ours.text.as_str(), item.text.as_str());
        assert_eq!(texts(&ours.associated_data), texts(&item.associated_data));
        assert_eq!(texts(&ours.context), texts(&item.context));
        assert_eq!(ours.reference, item.reference);
    }
}

/// Answers, as our clients read them.
pub fn transit_answer(data: &[u8]) {
    for verb in [Verb::Encrypt, Verb::Decrypt] {
        if let Ok(answer) = parse_answer(verb, data) {
            assert!(answer.batch || answer.items.len() <= data.len());
        }
    }
}

/// `vault:v1:...`, to bytes and back.
pub fn ciphertext_text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (version, encoded) = match parse_ciphertext(text) {
        Ok(parts) => parts,
        Err(why) => return assert!(!why.is_empty()),
    };
    assert!(version > 0 && text.ends_with(encoded));
    let mut out = vec![0; base64::decoded_len_max(encoded.len())];
    let Ok(len) = decode_ciphertext(encoded, &mut out, 28) else {
        return;
    };
    assert!((28..=out.len()).contains(&len));
    let mut written = Vec::new();
    put_ciphertext(&mut written, version, &out[..len]);
    let written = String::from_utf8(written).expect("text");
    let (again, encoded) = parse_ciphertext(&written).expect("our own text");
    let mut bytes = vec![0; base64::decoded_len_max(encoded.len())];
    assert_eq!(decode_ciphertext(encoded, &mut bytes, 28), Ok(len));
    assert_eq!((again, &bytes[..len]), (version, &out[..len]));
}

/// Both ways.
pub fn base64(data: &[u8]) {
    let mut text = Vec::new();
    base64::put(&mut text, data);
    assert_eq!(text.len(), base64::encoded_len(data.len()));
    assert_eq!(decoded(&text).as_deref(), Some(data));
    let Some(bytes) = decoded(data) else { return };
    let mut again = Vec::new();
    base64::put(&mut again, &bytes);
    // The last character may have held left-over bits, and line ends were skipped.
    let kept: Vec<u8> = data
        .iter()
        .copied()
        .filter(|byte| !b"\r\n".contains(byte))
        .collect();
    assert_eq!(again.len(), kept.len());
    let sure = kept.len().saturating_sub(4);
    assert_eq!(again[..sure], kept[..sure]);
}

fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = vec![0; base64::decoded_len_max(text.len())];
    let len = match base64::decode(text, &mut out) {
        Ok(len) => len,
        Err(base64::DecodeError::Corrupt(at)) => {
            assert!(at <= text.len());
            return None;
        }
        Err(error) => panic!("{error}, with as much room as promised to suffice"),
    };
    out.truncate(len);
    Some(out)
}

fn owned(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Bodies that are in order.
pub fn body_seeds() -> Vec<Vec<u8>> {
    owned(&[
        r#"{"ciphertext":"vault:v1:AAAA","associated_data":"YQ==","context":"Yg=="}"#,
        r#"{"plaintext":"aGVsbG8=","key_version":2,"type":"aes256-gcm96","convergent_encryption":false}"#,
        r#"{"batch_input":[{"ciphertext":"vault:v1:AAAA","reference":"a"},{"ciphertext":"x"}],"partial_failure_response_code":207}"#,
        r#"{"batch_input":[{"plaintext":"YQ==","key_version":1},{"plaintext":"","reference":"\u00e9\ud83d\ude00"}],"strange":[1,{"b":null}]}"#,
        r#"{"type":"aes256-gcm96","derived":false,"exportable":true,"auto_rotate_period":"24h","key_size":0}"#,
        r#"{"batch_input":[{"Ciphertext":5,"key_version":1},null,{"ciphertext":true}],"key_version":"1"}"#,
        r#"{"bits":"512","key_version":1,"plaintext":"x","name":"y"}"#,
        r#"{"min_decryption_version":"2","deletion_allowed":1,"auto_rotate_period":null}"#,
        "plaintext=aGVsbG8%3D&key_version=1",
        "list=true&after=a%2Bb&limit=0x10",
        "{}",
        "null",
    ])
}

/// Answers that are in order.
pub fn answer_seeds() -> Vec<Vec<u8>> {
    owned(&[
        r#"{"request_id":"0","data":{"plaintext":"YQ=="},"warnings":null}"#,
        r#"{"data":{"batch_results":[{"ciphertext":"vault:v1:AA==","key_version":1},{"error":"no","reference":"r"}]}}"#,
        r#"{"errors":["1 error occurred:\n\t* invalid request\n\n"]}"#,
    ])
}

/// Texts that are in order.
pub fn ciphertext_seeds() -> Vec<Vec<u8>> {
    let mut long = Vec::new();
    put_ciphertext(&mut long, 12, &[7; 60]);
    let mut all = owned(&[
        "vault:v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==",
        "vault:v0:",
        "vault:v4294967296:AAAA",
    ]);
    all.push(long);
    all
}

/// Texts that are in order.
pub fn base64_seeds() -> Vec<Vec<u8>> {
    owned(&["aGVsbG8gd29ybGQh", "YQ==", "YWI=", "YWJj\r\nZGVm\n", ""])
}

/// Words of the language.
pub const TOKENS: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"\\n",
    b"null",
    b"true",
    b"1e9",
    b"-1",
    b"\"batch_input\":[",
    b"\"ciphertext\":",
    b"\"plaintext\":",
    b"\"key_version\":",
    b"\"reference\":",
    b"\xff",
    b"\xe2\x82",
    b"&",
    b"=",
    b"%",
    b"+",
    b"vault:v",
    b"\r\n",
    b"9223372036854775807",
    b"[[[[[[[[[[[[[[[[",
];
