#![allow(clippy::unwrap_used)]
use super::*;
use crate::load::prepared::Origin;

const NS: Option<&str> = None;

fn requests(token: Option<&str>, namespace: Option<&str>) -> Requests {
    let mut prepared = Prepared::plan(Origin::new("s", b"", "transit", "demo"), 1, 3, 32);
    for text in ["vault:v1:a", "vault:v1:b", "vault:v1:c"] {
        prepared.push(text).unwrap();
    }
    let address = Address {
        host: "h:1".into(),
        mount: "transit".into(),
        transit_key: "demo".into(),
        token: token.map(|token| SecretString::new(token.to_owned())),
        namespace: namespace.map(str::to_owned),
    };
    Requests::new(address, Arc::new(prepared), 1)
}

/// `$0` and so on stand for plaintexts.
fn with_plaintexts(text: &str, prepared: &Prepared) -> String {
    (0..3).fold(text.to_owned(), |text, number| {
        let plaintext = std::str::from_utf8(prepared.plaintext(number)).unwrap();
        text.replace(&format!("${number}"), plaintext)
    })
}

const ONE: Kind = Kind {
    operation: Operation::Decrypt,
    items: 1,
};
const TWO: Kind = Kind {
    operation: Operation::Decrypt,
    items: 2,
};
const WRAP: Kind = Kind {
    operation: Operation::Encrypt,
    items: 1,
};
const DATA_KEY: Kind = Kind {
    operation: Operation::DataKey,
    items: 1,
};

const REWRAP: Kind = Kind {
    operation: Operation::Rewrap,
    items: 1,
};
const WRAP_TWO: Kind = Kind {
    operation: Operation::Encrypt,
    items: 2,
};

/// A name, what is asked, its path and its body.
#[rustfmt::skip]
const REQUESTS: [(&str, Kind, &[u32], &str, &str); 6] = [
    ("decrypt", ONE, &[1], "decrypt", r#"{"ciphertext":"vault:v1:b"}"#),
    ("encrypt", WRAP, &[2], "encrypt", r#"{"plaintext":"$2"}"#),
    ("rewrap", REWRAP, &[0], "rewrap", r#"{"ciphertext":"vault:v1:a"}"#),
    ("data key", DATA_KEY, &[0], "datakey/plaintext", "{}"),
    ("batch", TWO, &[2, 0], "decrypt", r#"{"batch_input":[{"ciphertext":"vault:v1:c"},{"ciphertext":"vault:v1:a"}]}"#),
    ("batch of plaintexts", WRAP_TWO, &[0, 0], "encrypt", r#"{"batch_input":[{"plaintext":"$0"},{"plaintext":"$0"}]}"#),
];

#[test]
fn requests_are_those_of_transit() {
    for (name, kind, items, path, body) in REQUESTS {
        for (token, namespace, more) in [
            (None, NS, ""),
            (Some("t"), None, "X-Vault-Token: t\r\n"),
            (None, Some("n"), "X-Vault-Namespace: n\r\n"),
            (
                Some("t"),
                Some("n"),
                "X-Vault-Token: t\r\nX-Vault-Namespace: n\r\n",
            ),
        ] {
            let mut requests = requests(token, namespace);
            let body = with_plaintexts(body, &requests.prepared.clone());
            let want = format!(
                "POST /v1/transit/{path}/demo HTTP/1.1\r\nHost: h:1\r\nContent-Type: application/json\r\n{more}\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let got = requests.compose(kind, items).to_vec();
            assert_eq!(String::from_utf8(got).unwrap(), want, "{name}");
        }
    }
}

/// A name, what was asked, the answer's body, what to make of it.
#[rustfmt::skip]
const ANSWERS: [(&str, Kind, &[u32], &str, Content); 19] = [
    ("right", ONE, &[1], r#"{"request_id":"x","data":{"plaintext":"$1"}}"#, Content::Right),
    ("another's", ONE, &[1], r#"{"data":{"plaintext":"$2"}}"#, Content::Wrong),
    ("longer", ONE, &[1], r#"{"data":{"plaintext":"$1="}}"#, Content::Wrong),
    ("spaced", ONE, &[1], r#"{ "data" : { "plaintext" : "$1" } }"#, Content::Right),
    ("escaped", ONE, &[1], r#"{"data":{"plaintext":"\u0041"}}"#, Content::Wrong),
    ("none", ONE, &[1], r#"{"data":{}}"#, Content::Malformed),
    ("no data", ONE, &[1], r#"{"errors":["no"]}"#, Content::Malformed),
    ("no JSON", ONE, &[1], "plaintext", Content::Malformed),
    ("cut", ONE, &[1], r#"{"data":{"plaintext":"$1"#, Content::Malformed),
    ("two for one", ONE, &[1], r#"{"data":{"batch_results":[{"plaintext":"$1"},{"plaintext":"$1"}]}}"#, Content::Malformed),
    ("batch", TWO, &[0, 2], r#"{"data":{"batch_results":[{"plaintext":"$0","reference":""},{"plaintext":"$2"}]}}"#, Content::Right),
    ("out of order", TWO, &[0, 2], r#"{"data":{"batch_results":[{"plaintext":"$2"},{"plaintext":"$0"}]}}"#, Content::Wrong),
    ("one missing", TWO, &[0, 2], r#"{"data":{"batch_results":[{"plaintext":"$0"}]}}"#, Content::Malformed),
    ("one failed", TWO, &[0, 2], r#"{"data":{"batch_results":[{"plaintext":"$0"},{"error":"no"}]}}"#, Content::Malformed),
    ("too many", TWO, &[0, 2], r#"{"data":{"batch_results":[{"plaintext":"$0"},{"plaintext":"$2"},{"plaintext":"$1"}]}}"#, Content::Malformed),
    ("encrypt", WRAP, &[0], r#"{"data":{"ciphertext":"vault:v1:x","key_version":1}}"#, Content::Right),
    ("no ciphertext", WRAP, &[0], r#"{"data":{"ciphertext":"x"}}"#, Content::Malformed),
    ("data key", DATA_KEY, &[0], r#"{"data":{"ciphertext":"vault:v1:x","plaintext":"YQ=="}}"#, Content::Right),
    ("data key without", DATA_KEY, &[0], r#"{"data":{"ciphertext":"vault:v1:x"}}"#, Content::Malformed),
];

#[test]
fn answers_are_compared() {
    for (name, kind, items, body, want) in ANSWERS {
        let mut requests = requests(None, NS);
        let body = with_plaintexts(body, &requests.prepared.clone());
        assert_eq!(requests.check(kind, items, body.as_bytes()), want, "{name}");
    }
}

#[test]
fn the_place_of_the_last_answer_is_only_a_hint() {
    let mut requests = requests(None, NS);
    let prepared = requests.prepared.clone();
    for (name, body, want) in [
        ("first", r#"{"data":{"plaintext":"$1"}}"#, Content::Right),
        (
            "same place, another's",
            r#"{"data":{"plaintext":"$0"}}"#,
            Content::Wrong,
        ),
        (
            "moved",
            r#"{"more":1,"data":{"plaintext":"$1"}}"#,
            Content::Right,
        ),
        ("shorter than the hint", "{}", Content::Malformed),
        (
            "moved back",
            r#"{"data":{"plaintext":"$1"}}"#,
            Content::Right,
        ),
    ] {
        let body = with_plaintexts(body, &prepared);
        let one = ONE;
        assert_eq!(requests.check(one, &[1], body.as_bytes()), want, "{name}");
    }
}

#[test]
fn a_sample_of_ciphertexts_is_kept_whatever_their_number() {
    let mut requests = requests(None, NS);
    let kind = WRAP_TWO;
    for number in 0..5000 {
        let body = format!(
            r#"{{"data":{{"batch_results":[{{"ciphertext":"vault:v1:{number}-0"}},{{"ciphertext":"vault:v1:{number}-2"}}]}}}}"#
        );
        assert_eq!(
            requests.check(kind, &[0, 2], body.as_bytes()),
            Content::Right
        );
    }
    let prepared = requests.prepared.clone();
    let samples = requests.take_samples();
    assert_eq!(samples.len(), SAMPLES_MAX);
    let mut late = 0;
    for sample in &samples {
        let (number, item) = sample.ciphertext["vault:v1:".len()..]
            .split_once('-')
            .unwrap();
        assert_eq!(
            sample.plaintext.as_bytes(),
            prepared.plaintext(item.parse().unwrap())
        );
        late += usize::from(number.parse::<u32>().unwrap() >= 2500);
    }
    assert!(
        (90..166).contains(&late),
        "equally likely: {late} of the second half"
    );
}
