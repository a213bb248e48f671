//! One value by its [`Kind`]: text in, checked value or the reason out. Knows no file and no key.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use super::names::{self, SanGlob, SubjectGlob};
use super::network::{self, Network};
use super::table::Kind;
use super::url::{self, Url};
use crate::secret::SecretString;

/// What a role may be allowed to do, in the order of `identity::Operation`.
pub const OPERATION_NAMES: [&str; 10] = [
    "encrypt",
    "decrypt",
    "datakey",
    "rewrap",
    "read",
    "list",
    "create",
    "rotate",
    "configure",
    "delete",
];

/// Items of one comma list.
const LIST_ITEMS_MAX: usize = 1000;

/// A checked value.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Path(PathBuf),
    Secret(SecretString),
    List(Vec<String>),
    Address(IpAddr),
    Networks(Vec<Network>),
    Socket(SocketAddr),
    Urls(Vec<Url>),
    Fingerprint([u8; 32]),
    Choice(&'static str),
    Number(u64),
    Operations(Vec<&'static str>),
    Subjects(Vec<SubjectGlob>),
    AltNames(Vec<SanGlob>),
}

/// Checks `text`, which is not empty. `folder` is where relative paths start.
pub(super) fn check(kind: Kind, text: &str, folder: &Path) -> Result<Value, String> {
    if kind == Kind::Secret {
        return Ok(Value::Secret(SecretString::new(text.to_owned())));
    }
    let text = text.trim();
    if text.chars().any(char::is_control) {
        return Err("it holds a control character (in Java properties \\t and \\n are escapes: write \\\\ for a backslash)".to_owned());
    }
    Ok(match kind {
        Kind::Text | Kind::Secret => Value::Text(text.to_owned()),
        Kind::Path => Value::Path(folder.join(text)),
        Kind::Alias if text.contains(',') => return Err("one alias, not a list".to_owned()),
        Kind::Alias => Value::Text(text.to_lowercase()),
        Kind::Aliases => Value::List(list(&text.to_lowercase())?),
        // Aliases and key names share this kind; build lower-cases the aliases.
        Kind::Globs => Value::List(list(text)?),
        Kind::Address => Value::Address(url::parse_ip(text)?),
        Kind::Networks => {
            let parsed = list(text)?.into_iter().map(|item| network::parse(&item));
            Value::Networks(parsed.collect::<Result<_, _>>()?)
        }
        Kind::Socket => Value::Socket(url::parse_socket(text)?),
        Kind::Host => Value::Text(url::parse_host(text)?),
        Kind::Places if text.contains("://") => {
            return Err("a server is named without a scheme".to_owned());
        }
        Kind::Urls | Kind::Places => Value::Urls(url::parse_list(text)?),
        Kind::Fingerprint => Value::Fingerprint(fingerprint(text)?),
        Kind::Choice(words) => {
            let word = words.iter().find(|word| word.eq_ignore_ascii_case(text));
            Value::Choice(word.copied().ok_or("not one of the choices")?)
        }
        Kind::Number { min, max, .. } => Value::Number(number(text, min, max)?),
        Kind::Bytes { min, max } => Value::Number(bytes(text, min, max)?),
        Kind::Operations => Value::Operations(operations(text)?),
        Kind::Subjects => Value::Subjects(names::subjects(text)?),
        Kind::AltNames => {
            let parsed = list(text)?.into_iter().map(|item| SanGlob::parse(&item));
            Value::AltNames(parsed.collect::<Result<_, _>>()?)
        }
    })
}

/// What would be right, for errors, `kms check` and the example file.
pub(super) fn expected(kind: Kind) -> String {
    match kind {
        Kind::Text => "text".to_owned(),
        Kind::Path => "a path; a relative one starts at the folder of this file".to_owned(),
        Kind::Secret => "text; or name a file that holds it with <key>.file".to_owned(),
        Kind::Alias => "a keystore alias; upper and lower case are the same".to_owned(),
        Kind::Aliases => "keystore aliases, several by comma".to_owned(),
        Kind::Address => "an IP address, such as 0.0.0.0 or ::".to_owned(),
        Kind::Networks => {
            "IP addresses or networks by comma, such as 10.0.0.5, 10.1.0.0/24".to_owned()
        }
        Kind::Socket => "address:port, such as 127.0.0.1:8444 or [::1]:8444".to_owned(),
        Kind::Host => "a host name or IP address, without port".to_owned(),
        Kind::Urls => "[https://]host[:port], several by comma".to_owned(),
        Kind::Places => "host[:port], several by comma, IPv6 in brackets".to_owned(),
        Kind::Fingerprint => "64 hex digits, with or without colons".to_owned(),
        Kind::Choice(words) => format!("one of {}", words.join(", ")),
        Kind::Number { min, max, unit: "" } => format!("{min} to {max}"),
        Kind::Number { min, max, unit } => format!("{min} to {max} {unit}"),
        Kind::Bytes { min, max } => format!(
            "{} to {}, such as 65536, 512k or 1 MiB",
            show_bytes(min),
            show_bytes(max)
        ),
        Kind::Globs => "names with * and ?, several by comma".to_owned(),
        Kind::Subjects => "attributes with * by comma, such as CN=device-*,O=Example, all of which a subject must \
                           have; several such by semicolon; * for any"
            .to_owned(),
        Kind::AltNames => "names with * behind DNS:, URI:, email: or IP:, such as DNS:*.devices.example.com, several \
                           by comma; * for any"
            .to_owned(),
        Kind::Operations => format!("all, or some of {}, by comma", OPERATION_NAMES.join(", ")),
    }
}

/// `1 MiB`, `64 KiB`, or plain bytes.
pub(super) fn show_bytes(bytes: u64) -> String {
    match bytes {
        0 => "0".to_owned(),
        _ if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        _ => bytes.to_string(),
    }
}

fn list(text: &str) -> Result<Vec<String>, String> {
    let mut items: Vec<String> = Vec::new();
    for item in text.split(',').map(str::trim) {
        if item.is_empty() {
            return Err("an item of the list is empty".to_owned());
        }
        if !items.iter().any(|known| known == item) {
            items.push(item.to_owned());
        }
    }
    if items.len() > LIST_ITEMS_MAX {
        Err(format!("more than {LIST_ITEMS_MAX} items"))
    } else {
        Ok(items)
    }
}

fn digits(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

fn within(number: u64, min: u64, max: u64) -> Result<u64, String> {
    match number {
        _ if number < min => Err("too small".to_owned()),
        _ if number > max => Err("too large".to_owned()),
        _ => Ok(number),
    }
}

fn number(text: &str, min: u64, max: u64) -> Result<u64, String> {
    if text.len() > 19 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("too large".to_owned());
    }
    within(digits(text).ok_or("not a whole number")?, min, max)
}

/// k, M and G are powers of 1024 whatever the spelling: memory is meant, not disks.
fn bytes(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (count, unit) = text.split_at(split);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return Err("not a size".to_owned()),
    };
    let count = digits(count).ok_or("not a size")?;
    within(count.checked_mul(1 << shift).ok_or("too large")?, min, max)
}

fn fingerprint(text: &str) -> Result<[u8; 32], String> {
    let (kind, body) = text.split_once('=').unwrap_or(("", text));
    if !kind.is_empty() && !kind.to_ascii_lowercase().contains("sha256") {
        return Err("only SHA-256 fingerprints are accepted".to_owned());
    }
    let hex: Vec<u32> = body
        .chars()
        .filter(|c| *c != ':')
        .map(|c| c.to_digit(16).ok_or("not hex digits"))
        .collect::<Result<_, _>>()?;
    let mut pin = [0; 32];
    if hex.len() != 64 {
        return Err(format!("{} hex digits", hex.len()));
    }
    for (byte, pair) in pin.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = pair.iter().fold(0, |byte: u8, digit| {
            (byte << 4) | u8::try_from(*digit).unwrap_or(0)
        });
    }
    Ok(pin)
}

fn operations(text: &str) -> Result<Vec<&'static str>, String> {
    let names = list(&text.to_ascii_lowercase())?;
    if let Some(unknown) = names
        .iter()
        .find(|name| *name != "all" && !OPERATION_NAMES.contains(&name.as_str()))
    {
        let near = OPERATION_NAMES
            .iter()
            .find(|known| strsim::damerau_levenshtein(known, unknown) <= 2);
        let hint = near
            .map(|near| format!("; did you mean {near}?"))
            .unwrap_or_default();
        return Err(format!("{unknown:?} is no operation{hint}"));
    }
    let all = names.iter().any(|name| name == "all");
    Ok(OPERATION_NAMES
        .into_iter()
        .filter(|known| all || names.iter().any(|name| name == known))
        .collect())
}
