//! Conversations that are in order.

use kms::wire::transit;

use crate::toy_hsm;

/// A sealed `plaintext` as clients hold it.
pub fn ciphertext(key: &str, version: u32, plaintext: &[u8], associated_data: &[u8]) -> String {
    let mut text = Vec::new();
    let sealed = toy_hsm::seal(&toy_hsm::object(key, version), plaintext, associated_data);
    transit::put_ciphertext(&mut text, version, &sealed);
    String::from_utf8(text).expect("text")
}

fn post(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /v1/transit/{path} HTTP/1.1\r\nHost: k\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    )
}

/// An unwrap whose body comes in two chunks.
fn in_chunks(text: &str) -> String {
    let chunks = format!(
        "{:x}\r\n{{\"ciphertext\":\r\n{:x}\r\n\"{text}\"}}\r\n0\r\n\r\n",
        14,
        text.len() + 3
    );
    format!(
        "POST /v1/transit/decrypt/demo HTTP/1.1\r\nHost: k\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
    )
}

/// Conversations that are in order.
pub fn seeds() -> Vec<Vec<u8>> {
    let [one, two] = [(1, b"first secret key"), (2, b"other secret key")]
        .map(|(v, key)| ciphertext("demo", v, key, b""));
    let bound = ciphertext("demo2", 2, b"bound to its data", b"ad");
    let warm = post("decrypt/demo", "", &format!(r#"{{"ciphertext":"{one}"}}"#));
    let batch = format!(
        r#"{{"batch_input":[{{"ciphertext":"{one}","reference":"r"}},{{"ciphertext":"{two}"}},{{"ciphertext":"{bound}"}},{{"ciphertext":"{one}"}}]}}"#
    );
    let chunked = in_chunks(&two);
    let health = "GET /v1/sys/health HTTP/1.1\r\nHost: k\r\n\r\n".to_owned();
    let texts = [
        format!("{warm}{warm}{health}"),
        post("decrypt/demo", "", &batch),
        format!("{chunked}{warm}"),
        post(
            "decrypt/demo2",
            "",
            &format!(r#"{{"ciphertext":"{bound}","associated_data":"YWQ="}}"#),
        ),
        post(
            "decrypt/demo",
            "Expect: 100-continue\r\n",
            &format!(r#"{{"ciphertext":"{two}"}}"#),
        ),
        post(
            "encrypt/demo",
            "",
            r#"{"batch_input":[{"plaintext":"aGVsbG8="},{"plaintext":"!","key_version":1}]}"#,
        ),
        format!(
            "{}{}",
            post("keys/newkey", "", "{}"),
            post("encrypt/newkey", "", r#"{"plaintext":"YWJj"}"#)
        ),
        format!(
            "GET /v1/transit/keys/demo HTTP/1.1\r\nHost: k\r\n\r\nHEAD{}",
            &health[3..]
        ),
        format!(
            "{}{health}",
            post(
                "decrypt/secret",
                "",
                &format!(r#"{{"ciphertext":"{one}"}}"#)
            )
        ),
        post(
            "decrypt/demo",
            "Content-Type: application/x-www-form-urlencoded\r\n",
            "ciphertext=vault%3Av1%3AAAAA",
        ),
    ];
    let controls = [0, 5, 2, 0x24, 8, 0, 1, 3, 0xa0, 0];
    texts
        .iter()
        .zip(controls)
        .map(|(text, control)| [&[control], text.as_bytes()].concat())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::run;
    use super::*;

    #[test]
    fn the_seeds_reach_the_far_end() {
        let seeds = seeds();
        for (at, want) in [
            (0, vec![200, 200, 200]),
            (1, vec![400]),
            (2, vec![200, 200]),
            (3, vec![200]),
            (4, vec![200]),
            (5, vec![400]),
            (6, vec![200, 200]),
            (7, vec![200, 200]),
            (8, vec![403, 200]),
            (9, vec![400]),
        ] {
            for control in [0, 1, 2, 3, 4] {
                let answered = run(control, &seeds[at][1..]);
                let statuses: Vec<_> = answered.iter().map(|answered| answered.status).collect();
                assert_eq!(statuses, want, "seed {at}, control {control}: {answered:?}");
            }
        }
    }
}
