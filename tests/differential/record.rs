//! The recorded requests: text files read into rows.
//!
//! A block begins with `### name` and ends at the next one:
//!
//! - request lines, `METHOD target` with an optional ` HTTP/1.0` (no space in the target but as
//!   `<<x:20>>`); the method `*` stands for each of [`METHODS`];
//! - header lines, `Name: value`;
//! - bodies, one a line behind `> `. Every request line meets every body; without one there is neither
//!   a body nor a Content-Length;
//! - settings: `@save NAME [N]` keeps the Nth ciphertext of the answer, `@mask FIELD` hides a field's
//!   bytes, `@shape` compares names, order and types only, `@chunked`, `@notoken`, `@nohost`, `@raw`
//!   (the bodies are whole requests), `@differs ID` with `@ours STATUS [part of the body]`.
//!
//! In targets, headers and bodies `<<` ... `>>` is replaced: `<<NAME>>` by a kept ciphertext,
//! `<<NAME:body>>` by its base64, `<<NAME:tampered>>` by one with a changed tag, `<<x:EFBB>>` by these
//! bytes, `<<crlf>>`, `<<300*text>>` by repetitions, with a separator as in `<<3*text|,>>`.

use std::collections::HashMap;

/// Methods that each path is asked with where a request line says `*`.
const METHODS: [&str; 10] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "LIST", "SCAN", "FOO",
];

/// A documented difference that a row shows, and what our server answers instead.
#[derive(Clone, Debug, PartialEq)]
pub struct Differs {
    pub id: String,
    pub status: u16,
    /// Stands in our body.
    pub part: String,
}

/// One request and how its two answers are compared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    pub name: String,
    pub line: String,
    pub headers: Vec<String>,
    pub body: Option<String>,
    pub save: Vec<(String, usize)>,
    pub mask: Vec<String>,
    pub shape: bool,
    pub chunked: bool,
    pub token: bool,
    pub host: bool,
    pub raw: bool,
    pub differs: Option<Differs>,
}

/// Ciphertexts kept from one server's answers.
pub type Kept = HashMap<String, String>;

/// Reads a file of blocks; panics with what is wrong in it.
pub fn read(file: &str, text: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    for block in text.split("### ").skip(1) {
        let (name, rest) = block.split_once('\n').unwrap_or((block, ""));
        rows.extend(read_block(&format!("{file}: {}", name.trim()), rest));
    }
    assert!(!rows.is_empty(), "{file} has no rows");
    rows
}

fn read_block(name: &str, text: &str) -> Vec<Row> {
    let mut row = Row {
        token: true,
        host: true,
        ..Row::default()
    };
    let (mut lines, mut bodies) = (Vec::new(), Vec::new());
    for line in text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        if let Some(body) = line.strip_prefix('>') {
            bodies.push(Some(body.strip_prefix(' ').unwrap_or(body).to_owned()));
        } else if let Some(setting) = line.strip_prefix('@') {
            set(&mut row, name, setting);
        } else if line
            .split_once(": ")
            .is_some_and(|(name, _)| !name.contains(' '))
        {
            row.headers.push(line.to_owned());
        } else if let Some(target) = line.strip_prefix("* ") {
            lines.extend(METHODS.map(|method| format!("{method} {target}")));
        } else {
            lines.push(line.to_owned());
        }
    }
    if row.raw {
        lines.push(String::new());
    }
    if bodies.is_empty() {
        bodies.push(None);
    }
    assert!(!lines.is_empty(), "{name}: no request line");
    assert!(
        row.differs
            .as_ref()
            .is_none_or(|differs| differs.status > 0),
        "{name}: @differs without @ours"
    );
    let named = |line: &String, body: &Option<String>| Row {
        name: name.to_owned(),
        line: line.clone(),
        body: body.clone(),
        ..row.clone()
    };
    let of_line = |line: &String| {
        bodies
            .iter()
            .map(|body| named(line, body))
            .collect::<Vec<_>>()
    };
    lines.iter().flat_map(of_line).collect()
}

fn set(row: &mut Row, name: &str, setting: &str) {
    let (what, value) = setting.split_once(' ').unwrap_or((setting, ""));
    match what {
        "save" => {
            let (kept, nth) = value.split_once(' ').unwrap_or((value, "1"));
            row.save.push((kept.to_owned(), nth.parse().expect(name)));
        }
        "mask" => row.mask.push(value.to_owned()),
        "shape" => row.shape = true,
        "chunked" => row.chunked = true,
        "notoken" => row.token = false,
        "nohost" => row.host = false,
        "raw" => row.raw = true,
        "differs" => {
            row.differs = Some(Differs {
                id: value.to_owned(),
                status: 0,
                part: String::new(),
            });
        }
        "ours" => {
            let (status, part) = value.split_once(' ').unwrap_or((value, ""));
            let differs = row
                .differs
                .as_mut()
                .unwrap_or_else(|| panic!("{name}: @ours first"));
            differs.status = status.parse().expect(name);
            part.clone_into(&mut differs.part);
        }
        _ => panic!("{name}: no setting {what}"),
    }
}

impl Row {
    /// The request line's method.
    pub fn method(&self) -> &str {
        let line = if self.raw {
            self.body.as_deref().unwrap_or("")
        } else {
            &self.line
        };
        line.split(' ').next().unwrap_or("")
    }

    /// The request as one server gets it.
    pub fn request(&self, kept: &Kept) -> Vec<u8> {
        let fill = |text: &str| fill(&self.name, text, kept);
        let body = self.body.as_deref().map(fill);
        if self.raw {
            return body.expect("raw rows have bodies");
        }
        let mut out = fill(&self.line);
        if !self.line.contains(" HTTP/") {
            out.extend_from_slice(b" HTTP/1.1");
        }
        out.extend_from_slice(b"\r\n");
        let mut header = |text: &[u8]| out.extend_from_slice(&[text, b"\r\n"].concat());
        if self.host {
            header(b"Host: localhost");
        }
        if self.token {
            header(b"X-Vault-Token: root");
        }
        for text in &self.headers {
            header(&fill(text));
        }
        match &body {
            Some(_) if self.chunked => header(b"Transfer-Encoding: chunked"),
            Some(body) => header(format!("Content-Length: {}", body.len()).as_bytes()),
            None => {}
        }
        out.extend_from_slice(b"\r\n");
        match body {
            Some(body) if self.chunked => put_chunks(&mut out, &body),
            Some(body) => out.extend_from_slice(&body),
            None => {}
        }
        out
    }
}

fn put_chunks(out: &mut Vec<u8>, body: &[u8]) {
    for chunk in body.chunks(7) {
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(&[chunk, b"\r\n"].concat());
    }
    out.extend_from_slice(b"0\r\n\r\n");
}

fn fill(name: &str, text: &str, kept: &Kept) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("<<") {
        let (what, after) = behind
            .split_once(">>")
            .unwrap_or_else(|| panic!("{name}: << without >>"));
        out.extend_from_slice(before.as_bytes());
        out.extend(replacement(name, what, kept));
        rest = after;
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

fn replacement(name: &str, what: &str, kept: &Kept) -> Vec<u8> {
    if what == "crlf" {
        return b"\r\n".to_vec();
    }
    if let Some(hex) = what.strip_prefix("x:") {
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect(name);
        return (0..hex.len()).step_by(2).map(byte).collect();
    }
    if let Some((Ok(times), text)) = what
        .split_once('*')
        .map(|(n, text)| (n.parse::<usize>(), text))
    {
        let (text, separator) = text.rsplit_once('|').unwrap_or((text, ""));
        return vec![text; times].join(separator).into_bytes();
    }
    let (key, part) = what.split_once(':').unwrap_or((what, ""));
    // A server that did not give one gets the word instead; its answers then differ by themselves.
    let ciphertext = kept.get(key).map_or("vault:v1:missing", String::as_str);
    let (prefix, body) = ciphertext.rsplit_once(':').expect(name);
    match part {
        "" => ciphertext.to_owned(),
        "body" => body.to_owned(),
        "tampered" => {
            // Far enough from the end that no padding is touched.
            let at = body.len().saturating_sub(8);
            let other = if body[at..].starts_with('A') {
                'B'
            } else {
                'A'
            };
            format!("{prefix}:{}{other}{}", &body[..at], &body[at + 1..])
        }
        _ => panic!("{name}: no part {part} of a ciphertext"),
    }
    .into_bytes()
}
