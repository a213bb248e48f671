//! What differs between two runs of the same server, replaced by a word that tells its kind.
//!
//! Works on the text, not on parsed JSON, so that member order, spacing, escapes and the last line
//! feed are compared too. What does not look as it should is left as it is, and then differs.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Members that are ids, times or names of one installation, wherever they stand.
const OF_THIS_RUN: [&str; 18] = [
    "random_bytes",
    "public_key",
    "hmac",
    "token",
    "id",
    "request_id",
    "server_time_utc",
    "cluster_name",
    "cluster_id",
    "version",
    "commit_date",
    "accessor",
    "client_token",
    "creation_time",
    "expire_time",
    "issue_time",
    "last_renewal",
    "last_renewal_time",
];

/// A member: its name, the name of the object or array it stands in, and where its scalar value is.
struct Member {
    name: String,
    parent: String,
    value: Range<usize>,
}

/// The body with the values of this run masked, and the values of `more` by their length.
pub fn mask(body: &str, more: &[String]) -> String {
    let mut out = String::new();
    let mut at = 0;
    for member in members(body) {
        let value = &body[member.value.clone()];
        if let Some(word) = word(&member, value, more) {
            out.push_str(&body[at..member.value.start]);
            out.push_str(&word);
            at = member.value.end;
        }
    }
    out + &body[at..]
}

fn word(member: &Member, value: &str, more: &[String]) -> Option<String> {
    let name = member.name.as_str();
    let text = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'));
    if name == "ciphertext" {
        let (version, sealed) = text?.strip_prefix("vault:v")?.split_once(':')?;
        let _: u32 = version.parse().ok()?;
        return Some(format!("\"vault:v{version}:<{} bytes>\"", decoded(sealed)?));
    }
    if more.iter().any(|held| held == name) {
        return Some(format!("\"<{} bytes>\"", decoded(text?)?));
    }
    if member.parent == "keys" {
        let seconds: u64 = value.parse().ok()?;
        return (1_700_000_000..4_000_000_000)
            .contains(&seconds)
            .then(|| "<time>".into());
    }
    if name == "request_id" && !is_uuid(text?) {
        return None;
    }
    let known = OF_THIS_RUN.contains(&name) && value != "null" && value != "\"\"";
    known.then(|| {
        if text.is_some() {
            format!("\"<{name}>\"")
        } else {
            format!("<{name}>")
        }
    })
}

fn decoded(text: &str) -> Option<usize> {
    STANDARD.decode(text).ok().map(|bytes| bytes.len())
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').map(str::len).collect();
    let hex = |byte: u8| byte == b'-' || byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    parts == [8, 4, 4, 4, 12] && text.bytes().all(hex)
}

/// The text with every scalar value as its type: names, order and nesting stay.
pub fn shape(body: &str) -> String {
    let mut out = String::new();
    let mut at = 0;
    for member in members(body) {
        let kind = match body.as_bytes()[member.value.start] {
            b'"' => "<string>",
            b't' | b'f' => "<bool>",
            b'n' => "null",
            _ => "<number>",
        };
        out.push_str(&body[at..member.value.start]);
        out.push_str(kind);
        at = member.value.end;
    }
    out + &body[at..]
}

/// Every scalar of the text that is a member's value or an array's item, in order.
fn members(body: &str) -> Vec<Member> {
    let bytes = body.as_bytes();
    let mut found = Vec::new();
    // The name under which each open object or array stands, and the name just read in it.
    let mut open: Vec<(String, String)> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let end = scalar_end(bytes, at);
        match bytes[at] {
            b'{' | b'[' => {
                let name = open
                    .last()
                    .map(|(_, name)| name.clone())
                    .unwrap_or_default();
                open.push((name.clone(), name));
            }
            b'}' | b']' => _ = open.pop(),
            b'"' if bytes.get(end) == Some(&b':') => {
                if let Some((_, name)) = open.last_mut() {
                    body[at + 1..end - 1].clone_into(name);
                }
            }
            b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                if let Some((parent, name)) = open.last() {
                    found.push(Member {
                        name: name.clone(),
                        parent: parent.clone(),
                        value: at..end,
                    });
                }
            }
            _ => {}
        }
        at = end;
    }
    found
}

/// Where the token at `at` ends; at least one byte on.
fn scalar_end(bytes: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    if bytes[at] == b'"' {
        while end < bytes.len() && bytes[end] != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        return (end + 1).min(bytes.len());
    }
    if !bytes[at].is_ascii_alphanumeric() && bytes[at] != b'-' {
        return end;
    }
    while end < bytes.len() && (bytes[end].is_ascii_alphanumeric() || b"+-.".contains(&bytes[end]))
    {
        end += 1;
    }
    end
}
