//! Distinguished names as text, by RFC 4514: last part first, special characters escaped.

use std::fmt::Write;

use x509_parser::asn1_rs::Tag;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// The attribute types that RFC 4514 names; any other is written as its number and hex.
const SHORT: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

pub(in crate::keystore) fn rfc4514(name: &X509Name<'_>) -> String {
    let parts: Vec<_> = name.iter_rdn().collect();
    let mut text = String::new();
    for (part, rdn) in parts.iter().rev().enumerate() {
        for (index, attribute) in rdn.iter().enumerate() {
            match (part, index) {
                (0, 0) => {}
                (_, 0) => text.push(','),
                _ => text.push('+'),
            }
            push_attribute(&mut text, attribute);
        }
    }
    text
}

/// The same, taken apart.
pub(super) fn attributes(name: &X509Name<'_>) -> Vec<(String, String)> {
    let all = name.iter_attributes();
    all.filter_map(|attribute| {
        let kind = attribute.attr_type().to_id_string();
        let short = SHORT.iter().find(|(oid, _)| *oid == kind);
        let kind = short.map_or(kind, |(_, short)| (*short).to_owned());
        Some((kind, value(attribute)?))
    })
    .collect()
}

fn push_attribute(text: &mut String, attribute: &AttributeTypeAndValue<'_>) {
    let kind = attribute.attr_type().to_id_string();
    let short = SHORT
        .iter()
        .find(|(oid, _)| *oid == kind)
        .map(|(_, short)| *short);
    match (short, value(attribute)) {
        (Some(short), Some(value)) => {
            text.push_str(short);
            text.push('=');
            push_escaped(text, &value);
        }
        (short, _) => {
            text.push_str(short.unwrap_or(&kind));
            text.push_str("=#");
            push_hex(text, attribute);
        }
    }
}

/// The string in the value, whichever of ASN.1's string types it is.
fn value(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let value = attribute.attr_value();
    let bytes = value.data;
    match value.tag() {
        Tag::Utf8String
        | Tag::PrintableString
        | Tag::Ia5String
        | Tag::NumericString
        | Tag::VisibleString => std::str::from_utf8(bytes).ok().map(str::to_owned),
        // In practice Latin-1.
        Tag::T61String => Some(bytes.iter().map(|&byte| char::from(byte)).collect()),
        Tag::BmpString => {
            let (pairs, rest) = bytes.as_chunks::<2>();
            let units = pairs.iter().map(|pair| u16::from_be_bytes(*pair));
            rest.is_empty()
                .then(|| char::decode_utf16(units).collect::<Result<_, _>>().ok())
                .flatten()
        }
        Tag::UniversalString => {
            let (words, rest) = bytes.as_chunks::<4>();
            let mut chars = words
                .iter()
                .map(|word| char::from_u32(u32::from_be_bytes(*word)));
            rest.is_empty().then(|| chars.by_ref().collect()).flatten()
        }
        _ => None,
    }
}

fn push_escaped(text: &mut String, value: &str) {
    let last = value.chars().count().saturating_sub(1);
    for (index, c) in value.chars().enumerate() {
        match c {
            // Control characters by their bytes: a name must not break a log line.
            '\0'..='\x1f' | '\x7f' => {
                let _ = write!(text, "\\{:02X}", u32::from(c));
                continue;
            }
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => text.push('\\'),
            ' ' if index == 0 || index == last => text.push('\\'),
            '#' if index == 0 => text.push('\\'),
            _ => {}
        }
        text.push(c);
    }
}

/// The value's BER in hex: tag, length, content.
fn push_hex(text: &mut String, attribute: &AttributeTypeAndValue<'_>) {
    let value = attribute.attr_value();
    let tag = u8::try_from(value.tag().0).unwrap_or(0);
    let length = value.data.len();
    let mut bytes = vec![tag];
    if let Ok(short @ 0..=0x7f) = u8::try_from(length) {
        bytes.push(short);
    } else {
        let be = length.to_be_bytes();
        let from = be.iter().position(|&byte| byte != 0).unwrap_or(be.len());
        bytes.push(0x80 | u8::try_from(be.len() - from).unwrap_or(0));
        bytes.extend_from_slice(be.get(from..).unwrap_or_default());
    }
    bytes.extend_from_slice(value.data);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
}
