//! One request and its answer over any stream: whatever bytes, well-formed or not.

use std::io::{self, Read, Write};

/// How an answer's end is told. One message may be framed either way (RFC 9112), so a length and
/// chunks compare equal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    /// Neither a length nor chunks.
    Unsaid,
    /// `Content-Length: 0`.
    Empty,
    /// A length or chunks.
    Body,
}

/// An answer as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Statuses of interim answers before this one.
    pub interim: Vec<u16>,
    pub status: u16,
    /// In their order, without those that frame the body.
    pub headers: Vec<(String, String)>,
    pub framing: Framing,
    pub body: Vec<u8>,
}

/// Sends `request` as far as the server reads it, and reads the answer. `pending` says whether an
/// answer has begun to arrive: then the rest need not be sent.
pub fn exchange<S: Read + Write>(
    stream: &mut S,
    request: &[u8],
    head_only: bool,
    mut pending: impl FnMut(&mut S) -> bool,
) -> Result<Answer, String> {
    for (at, part) in request.chunks(64 * 1024).enumerate() {
        if at > 0 && pending(stream) {
            break;
        }
        // A server may answer and close before it has read all.
        if stream
            .write_all(part)
            .and_then(|()| stream.flush())
            .is_err()
        {
            break;
        }
    }
    let mut reader = Reader {
        stream,
        seen: Vec::new(),
        used: 0,
    };
    reader
        .answer(head_only)
        .map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "no answer in time".to_owned(),
            _ => "closed without an answer".to_owned(),
        })
}

struct Reader<'a, S> {
    stream: &'a mut S,
    seen: Vec<u8>,
    used: usize,
}

impl<S: Read> Reader<'_, S> {
    fn answer(&mut self, head_only: bool) -> io::Result<Answer> {
        let mut interim = Vec::new();
        let (status, headers) = loop {
            let (status, headers) = self.head()?;
            if status >= 200 {
                break (status, headers);
            }
            interim.push(status);
        };
        let find = |name: &str| {
            let found = headers
                .iter()
                .find(|(held, _)| held.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.clone())
        };
        let length = find("Content-Length");
        let chunked = find("Transfer-Encoding").is_some();
        let framing = match length.as_deref() {
            _ if chunked => Framing::Body,
            Some("0") => Framing::Empty,
            Some(_) => Framing::Body,
            None => Framing::Unsaid,
        };
        let body = match length {
            _ if head_only || status == 204 || status == 304 => Vec::new(),
            _ if chunked => self.chunks()?,
            Some(length) => self.take(length.parse().map_err(io::Error::other)?)?,
            None => self.rest()?,
        };
        let framed = |name: &str| {
            name.eq_ignore_ascii_case("Content-Length")
                || name.eq_ignore_ascii_case("Transfer-Encoding")
        };
        Ok(Answer {
            interim,
            status,
            headers: headers
                .into_iter()
                .filter(|(name, _)| !framed(name))
                .collect(),
            framing,
            body,
        })
    }

    fn head(&mut self) -> io::Result<(u16, Vec<(String, String)>)> {
        let bad = || io::Error::other("not an answer");
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|text| text.parse().ok());
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok((status.ok_or_else(bad)?, headers));
            }
            let (name, value) = line.split_once(':').ok_or_else(bad)?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let length = usize::from_str_radix(&self.line()?, 16).map_err(io::Error::other)?;
            body.extend(self.take(length)?);
            self.line()?;
            if length == 0 {
                return Ok(body);
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            let rest = &self.seen[self.used..];
            if let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
                let line = String::from_utf8_lossy(&rest[..end]).into_owned();
                self.used += end + 2;
                return Ok(line);
            }
            self.more()?;
        }
    }

    fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.seen.len() < self.used + length {
            self.more()?;
        }
        let bytes = self.seen[self.used..self.used + length].to_vec();
        self.used += length;
        Ok(bytes)
    }

    fn rest(&mut self) -> io::Result<Vec<u8>> {
        // A peer that ends TLS or TCP roughly has ended the body all the same.
        while self.more().is_ok() {}
        Ok(self.seen.split_off(self.used))
    }

    fn more(&mut self) -> io::Result<()> {
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.seen.extend_from_slice(&chunk[..read]);
                Ok(())
            }
        }
    }
}
