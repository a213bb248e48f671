//! Answers, held against bodies that OpenBao gave.

use super::*;

const ID: [u8; 16] = [
    0xd0, 0x56, 0x7c, 0x4d, 0xad, 0xab, 0x4e, 0x72, 0xfd, 0x9f, 0xdf, 0xbb, 0x3b, 0x6d, 0x69, 0x91,
];

fn enveloped(warnings: &[&str], newline: bool, data: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    envelope_open(&mut out, &ID);
    data(&mut out);
    envelope_close(&mut out, warnings, newline);
    String::from_utf8(out).unwrap()
}

#[test]
fn single_answers() {
    let want = "{\"request_id\":\"d0567c4d-adab-4e72-fd9f-dfbb3b6d6991\",\"lease_id\":\"\",\"renewable\":false,\
        \"lease_duration\":0,\"data\":{\"plaintext\":\"aGVsbG8=\"},\"wrap_info\":null,\"warnings\":null,\"auth\":null}\n";
    assert_eq!(
        enveloped(&[], true, |out| put_decrypted(out, b"hello")),
        want
    );
    let got = enveloped(&["a\"b"], true, |out| put_encrypted(out, 7, b"hi"));
    let data = "\"data\":{\"ciphertext\":\"vault:v7:aGk=\",\"key_version\":7},\"wrap_info\":null,\"warnings\":[\"a\\\"b\"],\"auth\":null}\n";
    assert!(got.ends_with(data), "{got}");
}

#[test]
fn batch_answers_are_read_back() {
    let encrypted = enveloped(&[], false, |out| {
        put_batch_open(out);
        put_encrypted_item(out, 1, b"hi", "r1");
        out.push(b',');
        put_failed_encrypt_item(out, "illegal base64 data at input byte 0", "r2");
        put_batch_close(out);
    });
    assert!(encrypted.contains(
        "\"data\":{\"batch_results\":[{\"ciphertext\":\"vault:v1:aGk=\",\"key_version\":1,\"reference\":\"r1\"},\
         {\"error\":\"illegal base64 data at input byte 0\",\"reference\":\"r2\"}]},\"wrap_info\""
    ));
    assert!(encrypted.ends_with("\"auth\":null}"));
    let answer = parse_answer(Verb::Encrypt, encrypted.as_bytes()).unwrap();
    assert!(answer.batch && answer.errors.is_empty());
    assert_eq!(
        answer.items[0].text.as_ref().unwrap().as_str(),
        "vault:v1:aGk="
    );
    assert_eq!(answer.items[0].key_version, Some(1));
    assert_eq!(
        answer.items[1].error.as_ref().unwrap().as_str(),
        "illegal base64 data at input byte 0"
    );
    assert_eq!(answer.items[1].reference.as_ref().unwrap().as_str(), "r2");
    let mut out = Vec::new();
    put_decrypted_item(&mut out, b"hi", "r");
    put_failed_decrypt_item(&mut out, "invalid ciphertext: no prefix", "");
    let want = "{\"plaintext\":\"aGk=\",\"reference\":\"r\"}\
                {\"plaintext\":\"\",\"error\":\"invalid ciphertext: no prefix\",\"reference\":\"\"}";
    assert_eq!(String::from_utf8(out).unwrap(), want);
}

#[test]
fn errors_are_read_back() {
    let mut out = Vec::new();
    error_body(&mut out, "1 error occurred:\n\t* permission denied\n\n");
    assert_eq!(
        out,
        b"{\"errors\":[\"1 error occurred:\\n\\t* permission denied\\n\\n\"]}\n"
    );
    let answer = parse_answer(Verb::Decrypt, &out).unwrap();
    assert_eq!(
        answer.errors[0].as_str(),
        "1 error occurred:\n\t* permission denied\n\n"
    );
    out.clear();
    no_errors_body(&mut out);
    assert_eq!(out, b"{\"errors\":[]}\n");
    assert!(parse_answer(Verb::Decrypt, &out).unwrap().items.is_empty());
    assert!(parse_answer(Verb::Decrypt, b"<html>").is_err());
    assert!(parse_answer(Verb::Decrypt, b"{\"data\":{").is_err());
}

#[test]
fn key_data() {
    let mut key = KeyData {
        name: "k1",
        kind: "aes256-gcm96",
        allow_plaintext_backup: false,
        auto_rotate_period_s: 0,
        convergent_encryption: false,
        deletion_allowed: false,
        derived: false,
        exportable: false,
        versions: &[(1, 1_795_458_514)],
        latest_version: 1,
        min_available_version: 0,
        min_decryption_version: 1,
        min_encryption_version: 0,
        soft_deleted: false,
        supports_derivation: true,
        supports_encryption: true,
        supports_signing: false,
    };
    let put = |key: &KeyData<'_>| {
        let mut out = Vec::new();
        put_key_data(&mut out, key);
        String::from_utf8(out).unwrap()
    };
    let want = "{\"allow_plaintext_backup\":false,\"auto_rotate_period\":0,\"deletion_allowed\":false,\"derived\":false,\
        \"exportable\":false,\"imported_key\":false,\"keys\":{\"1\":1795458514},\"latest_version\":1,\
        \"min_available_version\":0,\"min_decryption_version\":1,\"min_encryption_version\":0,\"name\":\"k1\",\
        \"soft_deleted\":false,\"supports_decryption\":true,\"supports_derivation\":true,\"supports_encryption\":true,\
        \"supports_signing\":false,\"type\":\"aes256-gcm96\"}";
    assert_eq!(put(&key), want);
    (key.derived, key.convergent_encryption, key.versions) = (true, true, &[(2, 5), (10, 6)]);
    let got = put(&key);
    assert!(got.contains("\"auto_rotate_period\":0,\"convergent_encryption\":true,\"convergent_encryption_version\":-1,\"deletion_allowed\""));
    assert!(got.contains("\"imported_key\":false,\"kdf\":\"hkdf_sha256\",\"keys\":{\"10\":6,\"2\":5},\"latest_version\""));
    let mut out = Vec::new();
    put_key_list(&mut out, &["k1", "k2"]);
    assert_eq!(out, b"{\"keys\":[\"k1\",\"k2\"]}");
}

#[test]
fn health() {
    let mut out = Vec::new();
    put_health(
        &mut out,
        &Health {
            sealed: false,
            server_time_s: 1_795_458_055,
            version: "0.1.0",
            cluster: ("c", "i"),
        },
    );
    let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(read["performance_standby"], false);
    assert_eq!(read["server_time_utc"], 1_795_458_055);
    assert_eq!(
        (&read["version"], &read["cluster_id"]),
        (&"0.1.0".into(), &"i".into())
    );
}
