//! RESP2, the protocol of Redis and Valkey: commands out, replies in, pushes of a subscription alike.
//!
//! Bytes in, replies out. Nothing here knows of a socket or a clock. Must never be true: a reply over
//! [`REPLY_BYTES_MAX`] buffered before it is refused; recursion deeper than [`DEPTH_MAX`]; more values than
//! [`VALUES_MAX`] in one reply. Used by `conn`; fuzzed.

/// Bytes of one reply. The map of a cluster of a hundred servers is some ten KiB.
pub const REPLY_BYTES_MAX: usize = 1024 * 1024;
/// Nesting of arrays. The map of a cluster needs four.
const DEPTH_MAX: usize = 6;
/// Values in one reply, nested ones counted.
const VALUES_MAX: usize = 64 * 1024;
/// Digits of a length or a number, with its sign.
const LINE_BYTES_MAX: usize = 1024;

/// One reply.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reply {
    /// `+OK`.
    Simple(String),
    /// `-CODE text`: the engine refuses the command.
    Error(String),
    /// A number.
    Integer(i64),
    /// Bytes.
    Bulk(Vec<u8>),
    /// Nothing there.
    Nil,
    /// Several.
    Array(Vec<Reply>),
}

impl Reply {
    /// The bytes or the text.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bulk(bytes) => Some(bytes),
            Self::Simple(text) => Some(text.as_bytes()),
            _ => None,
        }
    }

    /// The same as text.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// The items of an array; none for anything else.
    pub fn items(&self) -> &[Reply] {
        match self {
            Self::Array(items) => items,
            _ => &[],
        }
    }

    /// The number.
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The code of a refusal: its first word.
    pub fn error_code(&self) -> Option<&str> {
        match self {
            Self::Error(text) => text.split(' ').next(),
            _ => None,
        }
    }
}

/// Why the other side is no engine, or not to be believed: the connection ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RespError {
    /// The first byte is none of the protocol's.
    UnknownKind(u8),
    /// A line that is no number, or has no end.
    Line,
    /// More bytes than a reply may have.
    TooLong,
    /// More values, or deeper ones, than a reply may have.
    TooMany,
    /// Bytes without their line end.
    Unended,
}

impl std::fmt::Display for RespError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::UnknownKind(byte) => {
                write!(
                    f,
                    "it does not speak RESP2: a reply begins with {byte:#04x}"
                )
            }
            Self::Line => f.write_str("it does not speak RESP2: a line is no number"),
            Self::TooLong => write!(f, "a reply is over {REPLY_BYTES_MAX} bytes"),
            Self::TooMany => f.write_str("a reply has too many or too deeply nested values"),
            Self::Unended => f.write_str("it does not speak RESP2: bytes without their end"),
        }
    }
}

/// What a decoder made of the bytes so far.
#[derive(Debug, Eq, PartialEq)]
pub enum Step {
    /// A whole reply and the bytes it used.
    Reply(Reply, usize),
    /// More bytes are needed.
    Need,
}

/// Reads the first reply of `input`.
pub fn decode(input: &[u8]) -> Result<Step, RespError> {
    let mut cursor = Cursor {
        input,
        at: 0,
        values: 0,
    };
    match cursor.reply(0)? {
        Some(reply) => Ok(Step::Reply(reply, cursor.at)),
        None if input.len() > REPLY_BYTES_MAX => Err(RespError::TooLong),
        None => Ok(Step::Need),
    }
}

/// Appends the command of these parts, as an array of bulk strings.
pub fn encode(out: &mut Vec<u8>, parts: &[&[u8]]) {
    out.push(b'*');
    out.extend_from_slice(parts.len().to_string().as_bytes());
    out.extend_from_slice(b"\r\n");
    for part in parts {
        out.push(b'$');
        out.extend_from_slice(part.len().to_string().as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
}

/// The same as a buffer of its own.
pub fn command(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(parts.iter().map(|part| part.len() + 16).sum::<usize>() + 16);
    encode(&mut out, parts);
    out
}

/// Asks for what is kept under `name`, and no more of it than tells that it is over `max` bytes: somebody else may have
/// written something huge there. Nothing at all comes back as empty.
pub fn first_bytes(name: &str, max: usize) -> Vec<u8> {
    command(&[
        b"GETRANGE",
        name.as_bytes(),
        b"0",
        max.to_string().as_bytes(),
    ])
}

struct Cursor<'a> {
    input: &'a [u8],
    at: usize,
    values: usize,
}

impl<'a> Cursor<'a> {
    /// `None`: more bytes are needed.
    fn reply(&mut self, depth: usize) -> Result<Option<Reply>, RespError> {
        self.values += 1;
        if depth > DEPTH_MAX || self.values > VALUES_MAX {
            return Err(RespError::TooMany);
        }
        let Some(&kind) = self.input.get(self.at) else {
            return Ok(None);
        };
        if !b"+-:$*".contains(&kind) {
            return Err(RespError::UnknownKind(kind));
        }
        self.at += 1;
        let Some(line) = self.line()? else {
            return Ok(None);
        };
        let text = || String::from_utf8_lossy(line).into_owned();
        Ok(match kind {
            b'+' => Some(Reply::Simple(text())),
            b'-' => Some(Reply::Error(text())),
            b':' => Some(Reply::Integer(number(line)?)),
            b'$' => self.bulk(number(line)?)?,
            _ => self.array(number(line)?, depth)?,
        })
    }

    fn line(&mut self) -> Result<Option<&'a [u8]>, RespError> {
        let rest = &self.input[self.at..];
        let seen = &rest[..rest.len().min(LINE_BYTES_MAX)];
        let Some(end) = seen.windows(2).position(|pair| pair == b"\r\n") else {
            return if seen.len() == LINE_BYTES_MAX {
                Err(RespError::Line)
            } else {
                Ok(None)
            };
        };
        self.at += end + 2;
        Ok(Some(&rest[..end]))
    }

    fn bulk(&mut self, len: i64) -> Result<Option<Reply>, RespError> {
        if len == -1 {
            return Ok(Some(Reply::Nil));
        }
        let len = usize::try_from(len).map_err(|_| RespError::Line)?;
        if len > REPLY_BYTES_MAX {
            return Err(RespError::TooLong);
        }
        let Some(bytes) = self.input.get(self.at..self.at + len + 2) else {
            return Ok(None);
        };
        let Some(bytes) = bytes.strip_suffix(b"\r\n") else {
            return Err(RespError::Unended);
        };
        self.at += len + 2;
        Ok(Some(Reply::Bulk(bytes.to_vec())))
    }

    fn array(&mut self, len: i64, depth: usize) -> Result<Option<Reply>, RespError> {
        if len == -1 {
            return Ok(Some(Reply::Nil));
        }
        let len = usize::try_from(len).map_err(|_| RespError::Line)?;
        if len > VALUES_MAX {
            return Err(RespError::TooMany);
        }
        // Not reserved: what is announced need not come.
        let mut items = Vec::new();
        for _ in 0..len {
            match self.reply(depth + 1)? {
                Some(item) => items.push(item),
                None => return Ok(None),
            }
        }
        Ok(Some(Reply::Array(items)))
    }
}

fn number(line: &[u8]) -> Result<i64, RespError> {
    let text = std::str::from_utf8(line).map_err(|_| RespError::Line)?;
    text.parse().map_err(|_| RespError::Line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Reply {
        Reply::Bulk(text.as_bytes().to_vec())
    }

    #[test]
    fn replies_are_read_and_any_prefix_asks_for_more() {
        for (name, bytes, want) in [
            ("text", "+OK\r\n", Reply::Simple("OK".into())),
            (
                "refusal",
                "-NOPERM no\r\n",
                Reply::Error("NOPERM no".into()),
            ),
            ("number", ":-7\r\n", Reply::Integer(-7)),
            ("bytes", "$4\r\na\r\nb\r\n", bulk("a\r\nb")),
            ("empty", "$0\r\n\r\n", bulk("")),
            ("nothing", "$-1\r\n", Reply::Nil),
            ("no array", "*-1\r\n", Reply::Nil),
            (
                "nested",
                "*2\r\n*1\r\n:1\r\n$1\r\nx\r\n",
                Reply::Array(vec![Reply::Array(vec![Reply::Integer(1)]), bulk("x")]),
            ),
        ] {
            let whole = [bytes.as_bytes(), b"+next\r\n"].concat();
            assert_eq!(decode(&whole), Ok(Step::Reply(want, bytes.len())), "{name}");
            for seen in 0..bytes.len() {
                assert_eq!(decode(&whole[..seen]), Ok(Step::Need), "{name} {seen}");
            }
        }
    }

    #[test]
    fn hostile_replies_are_refused() {
        let deep = "*1\r\n".repeat(DEPTH_MAX + 2);
        let endless = format!("+{}", "x".repeat(LINE_BYTES_MAX));
        for (name, bytes, want) in [
            (
                "another protocol",
                "HTTP/1.1 400",
                RespError::UnknownKind(b'H'),
            ),
            ("RESP3", "_\r\n", RespError::UnknownKind(b'_')),
            ("no number", ":x\r\n", RespError::Line),
            ("a length of -2", "$-2\r\n", RespError::Line),
            ("a length beyond", "$1048577\r\n", RespError::TooLong),
            ("many values", "*65537\r\n", RespError::TooMany),
            ("deep", &deep, RespError::TooMany),
            ("a line without end", &endless, RespError::Line),
            ("bytes without end", "$1\r\nxyz\r\n", RespError::Unended),
        ] {
            assert_eq!(decode(bytes.as_bytes()), Err(want), "{name}");
        }
    }

    #[test]
    fn commands_are_arrays_of_bytes() {
        assert_eq!(
            command(&[b"SET", b"k", b"\r\n"]),
            b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n\r\n\r\n"
        );
    }
}
