//! One line: who asked for what, what became of it, from where.

/// Who asked.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// Keystore alias of the certificate.
    pub alias: &'a str,
    /// Its subject.
    pub subject: &'a str,
    /// Its SHA-256.
    pub fingerprint: &'a [u8; 32],
    /// Its role.
    pub role: &'a str,
    /// The client's address, as a load balancer told it where there is one.
    pub address: &'a str,
}

/// One operation.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// `request_id` of the answer.
    pub request: &'a [u8; 16],
    /// Who asked.
    pub who: Who<'a>,
    /// `decrypt`, `encrypt`, ...
    pub operation: &'a str,
    /// Name of the master key; empty where there is none.
    pub key: &'a str,
    /// Its version; 0: none, or not known.
    pub version: u32,
    /// What follows `vault:v<N>:`; its HMAC goes into the line.
    pub ciphertext: Option<&'a str>,
    /// Place in a batch, from 0.
    pub item: Option<usize>,
    /// HTTP status, of the item's own in a batch.
    pub status: u16,
    /// `cache`, `joined`, `hsm`, `stale`; empty where none applies.
    pub source: &'a str,
    /// Microseconds from the request's arrival to its answer.
    pub took_us: u64,
}

/// Appends all members but those of the chain, with the opening brace.
pub(super) fn put(out: &mut Vec<u8>, time: &[u8], record: &Record<'_>, digest: Option<&[u8]>) {
    let who = &record.who;
    out.extend_from_slice(b"{\"time\":\"");
    out.extend_from_slice(time);
    out.extend_from_slice(b"\",\"request\":\"");
    put_uuid(out, record.request);
    out.push(b'"');
    member(out, b",\"alias\":", who.alias);
    member(out, b",\"subject\":", who.subject);
    out.extend_from_slice(b",\"fingerprint\":\"");
    put_hex(out, who.fingerprint);
    out.push(b'"');
    member(out, b",\"role\":", who.role);
    member(out, b",\"address\":", who.address);
    member(out, b",\"operation\":", record.operation);
    member(out, b",\"key\":", record.key);
    number(out, b",\"version\":", record.version.into());
    if let Some(digest) = digest {
        out.extend_from_slice(b",\"ciphertext\":\"");
        put_hex(out, digest);
        out.push(b'"');
    }
    if let Some(item) = record.item {
        number(out, b",\"item\":", item as u64);
    }
    let outcome = match record.status {
        ..400 => "ok",
        400..500 => "refused",
        500.. => "failed",
    };
    member(out, b",\"outcome\":", outcome);
    number(out, b",\"status\":", record.status.into());
    if !record.source.is_empty() {
        member(out, b",\"source\":", record.source);
    }
    number(out, b",\"us\":", record.took_us);
}

fn member(out: &mut Vec<u8>, name: &[u8], text: &str) {
    out.extend_from_slice(name);
    put_text(out, text);
}

fn number(out: &mut Vec<u8>, name: &[u8], value: u64) {
    out.extend_from_slice(name);
    put_number(out, value);
}

/// In decimal digits; the formatting machinery costs several times as much.
pub(super) fn put_number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [b'0'; 20];
    let mut first = digits.len() - 1;
    for (at, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
        first = at;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(first..).unwrap_or_default());
}

/// A JSON string. Nearly every text is plain.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let is_plain = |byte: &u8| *byte >= 0x20 && *byte != b'"' && *byte != b'\\';
    if text.as_bytes().iter().all(is_plain) {
        out.extend_from_slice(text.as_bytes());
    } else {
        for c in text.chars() {
            match c {
                '"' | '\\' => out.extend_from_slice(&[b'\\', c as u8]),
                c if u32::from(c) < 0x20 => {
                    out.extend_from_slice(b"\\u00");
                    put_hex(out, &[c as u8]);
                }
                c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }
    out.push(b'"');
}

pub(super) fn put_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}

fn put_uuid(out: &mut Vec<u8>, id: &[u8; 16]) {
    for (at, byte) in id.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        put_hex(out, &[*byte]);
    }
}
