//! The harness itself: masks hide only what they should, and every kind of difference is found.

use super::compare::{compare, run};
use super::differences::{Difference, Rule};
use super::exchange::{Answer, Framing, exchange};
use super::mask::{mask, shape};
use super::peers::Peer;
use super::record::{Differs, Kept, Row, read};

const ID: &str = "d0567c4d-adab-4e72-fd9f-dfbb3b6d6991";

fn answer(status: u16, body: &str) -> Answer {
    Answer {
        interim: Vec::new(),
        status,
        headers: vec![
            ("Date".into(), "Mon, 23 Nov 2026 18:28:34 GMT".into()),
            ("Content-Type".into(), "application/json".into()),
        ],
        framing: Framing::Body,
        body: body.into(),
    }
}

#[test]
fn masks_hide_what_changes_and_nothing_else() {
    for (name, text, want) in [
        (
            "ciphertext",
            r#"{"ciphertext":"vault:v12:AAAA"}"#,
            r#"{"ciphertext":"vault:v12:<3 bytes>"}"#,
        ),
        (
            "no base64",
            r#"{"ciphertext":"vault:v1:A"}"#,
            r#"{"ciphertext":"vault:v1:A"}"#,
        ),
        (
            "plaintext",
            r#"{"plaintext":"AAAA"}"#,
            r#"{"plaintext":"AAAA"}"#,
        ),
        ("named", r#"{"other":"AAAA"}"#, r#"{"other":"<3 bytes>"}"#),
        (
            "times",
            r#"{"keys":{"1":1795458514}}"#,
            r#"{"keys":{"1":<time>}}"#,
        ),
        ("no time", r#"{"keys":{"1":17}}"#, r#"{"keys":{"1":17}}"#),
        ("list", r#"{"keys":["k1"]}"#, r#"{"keys":["k1"]}"#),
        ("no id", r#"{"request_id":"x"}"#, r#"{"request_id":"x"}"#),
        ("null", r#"{"expire_time":null}"#, r#"{"expire_time":null}"#),
        (
            "inside a text",
            r#"{"a":"\"version\":\"1\""}"#,
            r#"{"a":"\"version\":\"1\""}"#,
        ),
        ("no JSON", "<a href=\"/ui/\">", "<a href=\"/ui/\">"),
        ("cut", "{\"a\":\"", "{\"a\":\""),
    ] {
        assert_eq!(mask(text, &["other".into()]), want, "{name}");
    }
    let envelope = format!("{{\"request_id\":\"{ID}\",\"data\":[]}}\n");
    assert_eq!(
        mask(&envelope, &[]),
        "{\"request_id\":\"<request_id>\",\"data\":[]}\n"
    );
    let text = r#"{"a":{"b":[1,"x",true]},"c":null}"#;
    assert_eq!(
        shape(text),
        r#"{"a":{"b":[<number>,<string>,<bool>]},"c":null}"#
    );
}

type Change = fn(&mut Answer);

#[test]
fn every_kind_of_difference_is_found() {
    let row = Row::default();
    let whole = answer(200, "{\"a\":1,\"b\":2}\n");
    let change = |what: fn(&mut Answer)| {
        let mut other = whole.clone();
        what(&mut other);
        compare(&row, &whole, &other, &[], &mut Vec::new())
    };
    assert_eq!(change(|_| {}), Ok(()));
    assert_eq!(change(|other| other.headers.reverse()), Ok(()));
    let tables: [(&str, Change); 8] = [
        ("status", |other| other.status = 201),
        ("interim", |other| other.interim.push(100)),
        ("headers", |other| _ = other.headers.pop()),
        ("headers", |other| other.headers[0].1 = "yesterday".into()),
        ("headers", |other| {
            other.headers.push(("Connection".into(), "close".into()))
        }),
        ("framing", |other| other.framing = Framing::Unsaid),
        ("body at byte 13", |other| _ = other.body.pop()),
        ("body at byte 2", |other| {
            other.body = b"{\"b\":2,\"a\":1}\n".to_vec()
        }),
    ];
    for (what, make) in tables {
        let found = change(make).expect_err(what);
        assert!(found.starts_with(what), "{what}: {found}");
    }
}

/// Gives the same answer always.
struct Fixed(Answer);

impl Peer for Fixed {
    fn name(&self) -> &'static str {
        "fixed"
    }

    fn ask(&mut self, _: &[u8], _: bool) -> Result<Answer, String> {
        Ok(self.0.clone())
    }
}

const TWO: [Difference; 2] = [
    Difference {
        id: "row",
        reason: "",
        rule: Rule::OfRow,
    },
    Difference {
        id: "word",
        reason: "",
        rule: Rule::Everywhere {
            ours: "our",
            theirs: "their",
        },
    },
];

fn marked(id: &str, status: u16, part: &str) -> Option<Differs> {
    Some(Differs {
        id: id.into(),
        status,
        part: part.into(),
    })
}

fn with(differs: Option<Differs>) -> Row {
    Row {
        differs,
        ..Row::default()
    }
}

#[test]
fn documented_differences_explain_only_what_they_state() {
    for (name, differs, status, body, unexplained, met) in [
        ("equal", None, 200, "their", 0, vec![]),
        ("a rule", None, 200, "our", 0, vec!["word"]),
        ("not marked", None, 400, "no", 1, vec![]),
        (
            "marked",
            marked("row", 400, "no"),
            400,
            "no!",
            0,
            vec!["row"],
        ),
        (
            "marked, but equal",
            marked("row", 200, ""),
            200,
            "their",
            1,
            vec![],
        ),
        (
            "other status",
            marked("row", 400, "no"),
            404,
            "no",
            1,
            vec![],
        ),
        (
            "other text",
            marked("row", 400, "no"),
            400,
            "yes",
            1,
            vec![],
        ),
        (
            "unknown mark",
            marked("what", 400, "no"),
            400,
            "no",
            1,
            vec![],
        ),
    ] {
        let row = with(differs);
        let (mut theirs, mut ours) = (Fixed(answer(200, "their")), Fixed(answer(status, body)));
        let report = run(&[row], &mut theirs, &mut ours, &TWO);
        assert_eq!(
            report.unexplained.len(),
            unexplained,
            "{name}: {:?}",
            report.unexplained
        );
        assert_eq!(
            report.explained.keys().copied().collect::<Vec<_>>(),
            met,
            "{name}"
        );
    }
}

#[test]
fn blocks_become_requests() {
    let text = "### one\nPOST /a<<x:2562>>\nGET /b HTTP/1.0\nX-Vault-Token: t\n@notoken\n> <<2*ab|,>>\n\
                > <<k:tampered>><<k:body>>\n### all\n* /c\n### raw\n@raw\n> X<<crlf>>\n";
    let rows = read("f", text);
    assert_eq!(rows.len(), 4 + 10 + 1);
    let kept = Kept::from([("k".to_owned(), "vault:v1:AAAABBBBCCCC".to_owned())]);
    let sent = |at: usize| String::from_utf8(rows[at].request(&kept)).unwrap();
    let head = "Host: localhost\r\nX-Vault-Token: t\r\nContent-Length: ";
    assert_eq!(
        sent(0),
        format!("POST /a%b HTTP/1.1\r\n{head}5\r\n\r\nab,ab")
    );
    let tampered = "vault:v1:AAAAABBBCCCCAAAABBBBCCCC";
    assert_eq!(
        sent(3),
        format!("GET /b HTTP/1.0\r\n{head}33\r\n\r\n{tampered}")
    );
    assert_eq!(
        sent(4),
        "GET /c HTTP/1.1\r\nHost: localhost\r\nX-Vault-Token: root\r\n\r\n"
    );
    assert_eq!(sent(14), "X\r\n");
}

/// Reads from a text, forgets what is written.
struct Canned(&'static [u8]);

impl std::io::Read for Canned {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(&mut into[..1])
    }
}

impl std::io::Write for Canned {
    fn write(&mut self, from: &[u8]) -> std::io::Result<usize> {
        Ok(from.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn answers_are_read_however_framed() {
    for (text, framing, body, interim) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc",
            Framing::Body,
            "ab",
            0,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nabc",
            Framing::Empty,
            "",
            0,
        ),
        ("HTTP/1.1 204 No\r\n\r\nabc", Framing::Unsaid, "", 0),
        ("HTTP/1.0 200 OK\r\n\r\nabc", Framing::Unsaid, "abc", 0),
        (
            "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
            Framing::Body,
            "ab",
            1,
        ),
    ] {
        let answer = exchange(&mut Canned(text.as_bytes()), b"x", false, |_| false).unwrap();
        assert_eq!(
            (answer.framing, answer.body.as_slice()),
            (framing, body.as_bytes()),
            "{text}"
        );
        assert_eq!(answer.interim.len(), interim, "{text}");
    }
    for text in ["", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"] {
        assert!(
            exchange(&mut Canned(text.as_bytes()), b"x", false, |_| false).is_err(),
            "{text}"
        );
    }
}
