//! Which certificates of a client CA a role is for: `kms.role.NAME.ca.subjects` and `kms.role.NAME.ca.san`.
//!
//! A subject is asked attribute by attribute, never as one text: a `*` in a text would also match the comma that an
//! applicant wrote into his own common name. Must never be true: a glob that is taken for another kind of name than
//! its writer meant. `identity` matches them.

use std::fmt;

/// Attributes that a subject must have, all of them, in any order and among others.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SubjectGlob {
    /// Type, as in RFC 4514 or as a dotted number, and a glob over the value. None: any subject.
    pub attributes: Vec<(String, String)>,
}

/// Alternative names of one kind, of which a certificate must have one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SanGlob {
    /// Any certificate, also one without such names.
    Any,
    /// A host name, lower-cased.
    Dns(String),
    /// A URI.
    Uri(String),
    /// An e-mail address.
    Email(String),
    /// An IP address as text, lower-cased.
    Ip(String),
}

/// Types that RFC 4514 names; certificates of devices often have the last two.
const TYPES: [(&str, &str); 11] = [
    ("CN", "CN"),
    ("O", "O"),
    ("OU", "OU"),
    ("C", "C"),
    ("L", "L"),
    ("ST", "ST"),
    ("STREET", "STREET"),
    ("DC", "DC"),
    ("UID", "UID"),
    ("serialNumber", "2.5.4.5"),
    ("emailAddress", "1.2.840.113549.1.9.1"),
];

impl SubjectGlob {
    /// Whether every certificate will do.
    pub fn is_any(&self) -> bool {
        self.attributes.is_empty()
    }

    /// Reads `*`, or `TYPE=GLOB` several times by comma.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::default());
        }
        let parts = split(text, &[',', '+']);
        let attributes = parts.iter().map(|part| attribute(part));
        Ok(Self {
            attributes: attributes.collect::<Result<_, _>>()?,
        })
    }
}

impl fmt::Display for SubjectGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_any() {
            return f.write_str("*");
        }
        for (index, (kind, glob)) in self.attributes.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let shown = TYPES.iter().find(|(_, known)| known == kind);
            let kind = shown.map_or(kind.as_str(), |(name, _)| name);
            write!(f, "{comma}{kind}={glob}")?;
        }
        Ok(())
    }
}

impl SanGlob {
    /// Reads `*`, or a glob with its kind before it, as openssl writes names.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let unkind = || {
            format!(
                "{text:?} does not say which kind of name; write DNS:, URI:, email: or IP: before it"
            )
        };
        let (kind, glob) = text.split_once(':').ok_or_else(unkind)?;
        let glob = glob.trim();
        if glob.is_empty() {
            return Err(format!("nothing follows {kind}:"));
        }
        match kind.trim().to_ascii_lowercase().as_str() {
            "dns" => Ok(Self::Dns(glob.to_lowercase())),
            "uri" => Ok(Self::Uri(glob.to_owned())),
            "email" => Ok(Self::Email(glob.to_owned())),
            "ip" => Ok(Self::Ip(glob.to_lowercase())),
            _ => Err(unkind()),
        }
    }
}

impl fmt::Display for SanGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Dns(glob) => write!(f, "DNS:{glob}"),
            Self::Uri(glob) => write!(f, "URI:{glob}"),
            Self::Email(glob) => write!(f, "email:{glob}"),
            Self::Ip(glob) => write!(f, "IP:{glob}"),
        }
    }
}

/// Several subjects by semicolon, which RFC 4514 leaves free.
pub(super) fn subjects(text: &str) -> Result<Vec<SubjectGlob>, String> {
    let parts = split(text, &[';']);
    parts.iter().map(|part| SubjectGlob::parse(part)).collect()
}

/// At the separators that have no backslash before them; the parts keep their backslashes and lose outer spaces.
fn split<'a>(text: &'a str, separators: &[char]) -> Vec<&'a str> {
    let mut parts = Vec::new();
    let (mut from, mut is_escaped) = (0, false);
    for (at, c) in text.char_indices() {
        if is_escaped {
            is_escaped = false;
        } else if c == '\\' {
            is_escaped = true;
        } else if separators.contains(&c) {
            parts.push(text.get(from..at).unwrap_or_default().trim());
            from = at + c.len_utf8();
        }
    }
    parts.push(text.get(from..).unwrap_or_default().trim());
    parts
}

fn attribute(part: &str) -> Result<(String, String), String> {
    let wrong = || {
        format!(
            "{part:?} is no TYPE=GLOB, such as CN=device-*; commas within a value need a backslash before them"
        )
    };
    let (kind, glob) = part.split_once('=').ok_or_else(wrong)?;
    let (kind, glob) = (kind.trim(), glob.trim());
    if glob.is_empty() {
        return Err(wrong());
    }
    let known = TYPES
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(kind));
    let is_number = kind.contains('.') && kind.chars().all(|c| c.is_ascii_digit() || c == '.');
    let kind = match known {
        Some((_, kept)) => (*kept).to_owned(),
        None if is_number => kind.to_owned(),
        None => {
            let names = TYPES.map(|(name, _)| name).join(", ");
            return Err(format!(
                "{kind:?} is no type of attribute; write one of {names}, or its dotted number"
            ));
        }
    };
    Ok((kind, unescaped(glob)?))
}

fn unescaped(glob: &str) -> Result<String, String> {
    let mut text = String::with_capacity(glob.len());
    let mut chars = glob.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(kept @ (',' | ';' | '+' | '\\' | '"' | '<' | '>' | '#' | '=' | ' ')) => {
                    text.push(kept);
                }
                _ => {
                    return Err(format!(
                        "a backslash in {glob:?} stands before nothing that needs one"
                    ));
                }
            },
            c => text.push(c),
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn subjects_are_read_and_written() {
        for (text, want) in [
            ("*", "*"),
            ("CN=device-*", "CN=device-*"),
            ("cn = a , o=Example", "CN=a,O=Example"),
            ("CN=a;CN=b", "CN=a;CN=b"),
            ("CN=a, OU=x; * ", "CN=a,OU=x;*"),
            ("CN=a+UID=b", "CN=a,UID=b"),
            (r"O=Example\, Inc.", "O=Example, Inc."),
            (r"CN=a\;b;CN=c", "CN=a;b;CN=c"),
            ("serialnumber=17*", "serialNumber=17*"),
            ("2.5.4.5=17*", "serialNumber=17*"),
            ("1.2.3=x=y", "1.2.3=x=y"),
        ] {
            let read = subjects(text).unwrap();
            let shown: Vec<String> = read.iter().map(ToString::to_string).collect();
            assert_eq!(shown.join(";"), want, "{text}");
        }
        let escaped = subjects(r"CN=x,O=Example\, Inc.").unwrap();
        assert_eq!(escaped.len(), 1);
        assert_eq!(escaped[0].attributes[1].1, "Example, Inc.");
    }

    #[test]
    fn what_is_no_subject_is_refused() {
        for (text, want) in [
            ("", "no TYPE=GLOB"),
            ("device-*", "no TYPE=GLOB"),
            ("CN=", "no TYPE=GLOB"),
            ("CN=a;", "no TYPE=GLOB"),
            ("CN=a,b", "\"b\" is no TYPE=GLOB"),
            (
                "CNN=a",
                "\"CNN\" is no type of attribute; write one of CN, O,",
            ),
            ("=a", "no type of attribute"),
            (r"CN=a\b", "stands before nothing"),
            (r"CN=a\", "stands before nothing"),
        ] {
            let why = subjects(text).unwrap_err();
            assert!(why.contains(want), "{text:?}: {why}");
        }
    }

    #[test]
    fn alternative_names_have_a_kind() {
        for (text, want) in [
            ("*", Ok("*")),
            ("DNS:*.Example.com", Ok("DNS:*.example.com")),
            ("dns: a", Ok("DNS:a")),
            (
                "URI:spiffe://site/Device/*",
                Ok("URI:spiffe://site/Device/*"),
            ),
            ("Email:*@example.com", Ok("email:*@example.com")),
            ("IP:10.1.*", Ok("IP:10.1.*")),
            ("IP:2001:DB8::*", Ok("IP:2001:db8::*")),
            ("*.example.com", Err("does not say which kind")),
            ("https://x", Err("does not say which kind")),
            ("DNS:", Err("nothing follows DNS:")),
        ] {
            let read = SanGlob::parse(text).map(|glob| glob.to_string());
            match (read, want) {
                (Ok(read), Ok(want)) => assert_eq!(read, want, "{text}"),
                (Err(why), Err(want)) => assert!(why.contains(want), "{text}: {why}"),
                (read, _) => panic!("{text}: {read:?}"),
            }
        }
    }
}
