//! The client API to the letter: statuses, texts, envelopes, headers (openbao-transit.md 2 to 5).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod service_support;

use service_support::client::{Answer, Client};
use service_support::{Running, until};

const ENVELOPE: &str = r#"","lease_id":"","renewable":false,"lease_duration":0,"data":"#;

/// A node with the key `k1`, and a client that may do everything but is no creator by accident.
fn site() -> (Running, Client) {
    let running = Running::embedded("");
    let mut backend = running.backend();
    assert_eq!(backend.post("/v1/transit/keys/k1", "").status, 200);
    (running, backend)
}

/// `data` and `warnings` of an envelope whose other members are as they must be.
fn data_of<'a>(name: &str, answer: &'a Answer) -> (&'a str, &'a str) {
    let body = answer.body.strip_suffix('\n').unwrap_or(&answer.body);
    let rest = body
        .strip_prefix("{\"request_id\":\"")
        .unwrap_or_else(|| panic!("{name}: {body}"));
    let (id, rest) = rest.split_at(36);
    let shape: String = id
        .chars()
        .map(|c| {
            if c.is_ascii_hexdigit() && !c.is_uppercase() {
                'x'
            } else {
                c
            }
        })
        .collect();
    assert_eq!(shape, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", "{name}");
    let rest = rest
        .strip_prefix(ENVELOPE)
        .unwrap_or_else(|| panic!("{name}: {body}"));
    let rest = rest
        .strip_suffix(",\"auth\":null}")
        .unwrap_or_else(|| panic!("{name}: {body}"));
    rest.rsplit_once(",\"wrap_info\":null,\"warnings\":")
        .unwrap_or_else(|| panic!("{name}: {body}"))
}

fn ciphertext_of(data: &str) -> String {
    let (_, rest) = data.split_once("\"ciphertext\":\"").expect("a ciphertext");
    rest.split('"').next().unwrap().to_owned()
}

fn encrypt(client: &mut Client, body: &str) -> String {
    let answer = client.post("/v1/transit/encrypt/k1", body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    ciphertext_of(data_of(body, &answer).0)
}

fn errors(text: &str) -> String {
    if text.is_empty() {
        "{\"errors\":[]}\n".to_owned()
    } else {
        format!("{{\"errors\":[\"{text}\"]}}\n")
    }
}

#[test]
fn every_answer_has_openbaos_headers_and_no_others() {
    let (running, mut client) = site();
    for (name, method, path, body) in [
        (
            "success",
            "POST",
            "/v1/transit/encrypt/k1",
            r#"{"plaintext":"aGk="}"#,
        ),
        ("read", "GET", "/v1/transit/keys/k1", ""),
        ("refusal", "POST", "/v1/transit/decrypt/k1", "{}"),
        ("nothing there", "GET", "/v1/transit/keys/nope", ""),
        (
            "batch with failures",
            "POST",
            "/v1/transit/encrypt/k1",
            r#"{"batch_input":[{"plaintext":"!"}]}"#,
        ),
    ] {
        client.ask(method, path, body);
        let answer = client.answer();
        let names: Vec<&str> = answer
            .headers
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        let want = [
            "Cache-Control",
            "Content-Type",
            "Strict-Transport-Security",
            "Date",
            "Content-Length",
        ];
        assert_eq!(names, want, "{name}");
        assert_eq!(answer.header("Cache-Control"), Some("no-store"), "{name}");
        assert_eq!(
            answer.header("Content-Type"),
            Some("application/json"),
            "{name}"
        );
        let hsts = answer.header("Strict-Transport-Security");
        assert_eq!(hsts, Some("max-age=31536000; includeSubDomains"), "{name}");
        let date = answer.header("Date").unwrap();
        assert!(date.len() == 29 && date.ends_with(" GMT"), "{name}: {date}");
    }
    running.stop();
}

#[test]
fn wrapping_and_unwrapping_succeed() {
    let (running, mut client) = site();
    for (name, wrap, extra, want, warnings) in [
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
    ] {
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

#[test]
fn batches_keep_order_references_and_shapes() {
    let (running, mut client) = site();
    let wrapped = client.post(
        "/v1/transit/encrypt/k1",
        r#"{"batch_input":[{"plaintext":"aGVsbG8=","reference":"r1"},{"plaintext":"d29ybGQ="}]}"#,
    );
    assert_eq!(
        (wrapped.status, wrapped.body.ends_with("}\n")),
        (200, true),
        "{}",
        wrapped.body
    );
    let (data, _) = data_of("wrap", &wrapped);
    let mut texts = data
        .split("\"ciphertext\":\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().to_owned());
    let (one, two) = (texts.next().unwrap(), texts.next().unwrap());
    let item = |text: &str, more: &str| format!("{{\"ciphertext\":\"{text}\"{more}}}");
    assert_eq!(
        data,
        format!(
            "{{\"batch_results\":[{{\"ciphertext\":\"{one}\",\"key_version\":1,\"reference\":\"r1\"}},{{\"ciphertext\":\"{two}\",\"key_version\":1,\"reference\":\"\"}}]}}"
        )
    );
    let both = format!("{},{}", item(&one, ",\"reference\":\"r1\""), item(&two, ""));
    let bad = r#"{"plaintext":"","error":"invalid ciphertext: no prefix","reference":"r2"}"#;
    let hello = r#"{"plaintext":"aGVsbG8=","reference":"r1"}"#;
    let world = r#"{"plaintext":"d29ybGQ=","reference":""}"#;
    let junk = item("junk", ",\"reference\":\"r2\"");
    let ad = "unable to get associated_data/additional_data from factory[0]: illegal base64 data at input byte 0";
    for (name, items, more, status, newline, want) in [
        (
            "all good",
            both.clone(),
            "",
            200,
            true,
            format!("{hello},{world}"),
        ),
        (
            "the batch wins",
            both.clone(),
            r#","ciphertext":null"#,
            200,
            true,
            format!("{hello},{world}"),
        ),
        (
            "the same twice",
            format!("{0},{0}", item(&two, "")),
            "",
            200,
            true,
            format!("{world},{world}"),
        ),
        (
            "unknown field",
            item(&two, ",\"zzz\":1"),
            "",
            200,
            true,
            world.to_owned(),
        ),
        (
            "partial",
            format!("{both},{junk}"),
            "",
            400,
            false,
            format!("{hello},{world},{bad}"),
        ),
        (
            "207",
            format!("{both},{junk}"),
            r#","partial_failure_response_code":207"#,
            207,
            false,
            format!("{hello},{world},{bad}"),
        ),
        (
            "200 as string",
            format!("{junk},{both}"),
            r#","partial_failure_response_code":"200""#,
            200,
            false,
            format!("{bad},{hello},{world}"),
        ),
        (
            "all fail",
            junk.clone(),
            r#","partial_failure_response_code":200"#,
            400,
            false,
            bad.to_owned(),
        ),
        (
            "too new",
            format!(
                "{},{}",
                item(&one.replacen("v1", "v9", 1), ""),
                item(&two, "")
            ),
            "",
            400,
            false,
            format!(
                "{{\"plaintext\":\"\",\"error\":\"invalid ciphertext: version is too new\",\"reference\":\"\"}},{world}"
            ),
        ),
        (
            "associated data",
            format!(
                "{},{}",
                item(&one, ",\"associated_data\":\"!!\""),
                item(&two, "")
            ),
            "",
            500,
            false,
            format!("{{\"plaintext\":\"\",\"error\":\"{ad}\",\"reference\":\"\"}},{world}"),
        ),
    ] {
        let answer = client.post(
            "/v1/transit/decrypt/k1",
            &format!("{{\"batch_input\":[{items}]{more}}}"),
        );
        assert_eq!(
            (answer.status, answer.body.ends_with('\n')),
            (status, newline),
            "{name}: {}",
            answer.body
        );
        assert_eq!(
            data_of(name, &answer).0,
            format!("{{\"batch_results\":[{want}]}}"),
            "{name}"
        );
    }
    let answer = client.post(
        "/v1/transit/encrypt/k1",
        r#"{"batch_input":[{"plaintext":"!!","reference":"r2"},{"plaintext":"aGk=","key_version":99},{"plaintext":"aGk=","associated_data":"!!"}]}"#,
    );
    assert_eq!(answer.status, 500);
    assert_eq!(
        data_of("failed wraps", &answer).0,
        format!(
            "{{\"batch_results\":[{{\"error\":\"illegal base64 data at input byte 0\",\"reference\":\"r2\"}},\
             {{\"error\":\"requested version for encryption is higher than the latest key version\",\"reference\":\"\"}},\
             {{\"error\":\"{ad}\",\"reference\":\"\"}}]}}"
        )
    );
    running.stop();
}

#[test]
fn keys_are_created_and_read() {
    let (running, mut client) = site();
    for (name, method, path, body) in [
        ("create", "POST", "/v1/transit/keys/new", ""),
        ("again", "PUT", "/v1/transit/keys/new", "null"),
        (
            "again with a type",
            "POST",
            "/v1/transit/keys/new",
            r#"{"type":"aes256-gcm96"}"#,
        ),
        ("read", "GET", "/v1/transit/keys/new", ""),
    ] {
        client.ask(method, path, body);
        let answer = client.answer();
        assert_eq!(answer.status, 200, "{name}: {}", answer.body);
        let (data, warnings) = data_of(name, &answer);
        let (front, rest) = data.split_once("\"keys\":{\"1\":").unwrap();
        let (_, back) = rest.split_once('}').unwrap();
        assert_eq!(
            front,
            r#"{"allow_plaintext_backup":false,"auto_rotate_period":0,"deletion_allowed":false,"derived":false,"exportable":false,"imported_key":false,"#,
            "{name}"
        );
        assert!(back.starts_with(r#","latest_version":1,"min_available_version":0,"min_decryption_version":1,"min_encryption_version":0,"name":"new","soft_deleted":false,"supports_decryption":true,"#), "{name}: {back}");
        assert_eq!(warnings, "null", "{name}");
    }
    client.ask("GET", "/v1/transit/keys/nope", "");
    let answer = client.answer();
    assert_eq!((answer.status, answer.body), (404, errors("")));
    let mut device = running.device();
    let denied = "1 error occurred:\\n\\t* permission denied\\n\\n";
    for (name, method, path, body) in [
        (
            "a device creates nothing",
            "POST",
            "/v1/transit/keys/mine",
            "",
        ),
        (
            "nor by wrapping",
            "POST",
            "/v1/transit/encrypt/mine",
            r#"{"plaintext":"aGk="}"#,
        ),
    ] {
        device.ask(method, path, body);
        let answer = device.answer();
        assert_eq!(
            (answer.status, answer.body),
            (403, errors(denied)),
            "{name}"
        );
    }
    assert_eq!(
        client
            .post("/v1/transit/encrypt/upserted", r#"{"plaintext":"aGk="}"#)
            .status,
        200,
        "a creator does"
    );
    running.stop();
}

#[test]
fn methods_and_paths_are_refused_as_openbao_does() {
    let (running, mut client) = site();
    let (operation, path) = (
        "1 error occurred:\\n\\t* unsupported operation\\n\\n",
        "1 error occurred:\\n\\t* unsupported path\\n\\n",
    );
    for (method, target, status, text) in [
        ("GET", "/v1/transit/decrypt/k1", 405, operation),
        ("DELETE", "/v1/transit/encrypt/k1", 405, operation),
        (
            "PATCH",
            "/v1/transit/encrypt/k1",
            400,
            "mime: no media type",
        ),
        (
            "OPTIONS",
            "/v1/transit/encrypt/k1",
            400,
            "cannot handle internal-only request operation",
        ),
        ("FOO", "/v1/transit/encrypt/k1", 405, ""),
        ("LIST", "/v1/transit/encrypt/k1", 404, path),
        ("POST", "/v1/transit/foo/k1", 404, path),
        ("POST", "/v1/transit/decrypt/a/b", 404, path),
        ("POST", "/v1/transit/decrypt", 404, path),
        (
            "POST",
            "/v1/transit/decrypt/k1/",
            400,
            "cannot write to a path ending in '/'",
        ),
        (
            "POST",
            "/v1/nomount/decrypt/k1",
            404,
            "no handler for route \\\"nomount/decrypt/k1\\\". route entry not found.",
        ),
        ("POST", "/transit/decrypt/k1", 404, ""),
        ("POST", "/v2/transit/decrypt/k1", 404, ""),
        ("GET", "/v1", 404, ""),
        (
            "GET",
            "/v1/",
            404,
            "no handler for route \\\"\\\". route entry not found.",
        ),
        ("POST", "/v1/transit/decrypt/a%20b", 404, path),
    ] {
        client.ask(method, target, "{}");
        let answer = client.answer();
        assert_eq!(
            (answer.status, answer.body),
            (status, errors(text)),
            "{method} {target}"
        );
    }
    client.ask("HEAD", "/v1/transit/encrypt/k1", "");
    assert_eq!(
        client.try_answer_to("HEAD").unwrap().status,
        405,
        "HEAD has no body"
    );
    client.ask("HEAD", "/v1/sys/health", "");
    assert_eq!(client.try_answer_to("HEAD").unwrap().status, 200);
    client.ask("GET", "/v1/sys/health", "");
    let health = client.answer();
    assert!(
        health
            .body
            .starts_with("{\"initialized\":true,\"sealed\":false,"),
        "{}",
        health.body
    );
    running.stop();
}

#[test]
fn requests_may_be_framed_in_every_legal_way() {
    let (running, mut client) = site();
    let body = r#"{"plaintext":"aGk="}"#;
    let len = body.len();
    let target = "/v1/transit/encrypt/k1";
    for (name, request) in [
        ("1.0 with keep-alive", format!("POST {target} HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: {len}\r\n\r\n{body}")),
        ("lower-case names", format!("POST {target} HTTP/1.1\r\nhost: h\r\ncontent-length: {len}\r\n\r\n{body}")),
        ("a token is ignored", format!("PUT {target} HTTP/1.1\r\nHost: h\r\nX-Vault-Token: bogus\r\nContent-Length: {len}\r\n\r\n{body}")),
        ("whole URL", format!("POST https://h{target} HTTP/1.1\r\nHost: h\r\nContent-Length: {len}\r\n\r\n{body}")),
        ("form", format!("POST {target} HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 18\r\n\r\nplaintext=aGVsbG8%3D").replace("18", "20")),
        ("query", format!("POST {target}?a=b HTTP/1.1\r\nHost: h\r\nContent-Length: {len}\r\n\r\n{body}")),
    ] {
        client.send(&request);
        let answer = client.answer();
        assert_eq!(answer.status, 200, "{name}: {}", answer.body);
    }
    client.send(format!("POST {target} HTTP/1.1\r\nHost: h\r\nX-Vault-Wrap-TTL: 60s\r\nContent-Length: {len}\r\n\r\n{body}"));
    assert_eq!(client.answer().status, 400, "wrapping of answers");
    client.send(format!(
        "POST {target} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: {len}\r\n\r\n"
    ));
    assert_eq!(client.answer().status, 100);
    client.send(body);
    assert_eq!(client.answer().status, 200, "after the 100");
    // A byte a record.
    for byte in service_support::client::request("POST", target, body).bytes() {
        client.send([byte]);
    }
    assert_eq!(client.answer().status, 200, "byte by byte");
    client.send(format!(
        "POST {target} HTTP/1.0\r\nContent-Length: {len}\r\n\r\n{body}"
    ));
    let answer = client.answer();
    assert_eq!(
        (answer.status, answer.header("Connection")),
        (200, Some("close")),
        "1.0"
    );
    assert!(client.end());
    until("gone", || running.node.shared().connections() == 0);
    running.stop();
}
