//! Words of a shell script with their quotes resolved and their variables marked.
//!
//! Must never be true: a script that is read without end. Called by `setenv`.

use zeroize::Zeroizing;

/// A piece of a word.
enum Piece {
    /// Text, quotes removed.
    Text(Zeroizing<String>),
    /// A variable, with what stands for it when it is not set.
    Variable {
        name: String,
        default: Option<String>,
    },
}

/// One word.
pub(super) struct Word {
    pieces: Vec<Piece>,
    line: usize,
}

/// `name=` or `name+=` at the beginning of a word.
pub(super) struct Assignment<'a> {
    pub(super) name: &'a str,
    pub(super) appends: bool,
    skipped_bytes: usize,
}

impl Word {
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// The text before the first variable.
    pub(super) fn raw(&self) -> &str {
        match self.pieces.first() {
            Some(Piece::Text(text)) => text,
            _ => "",
        }
    }

    pub(super) fn is_name(&self) -> bool {
        self.pieces.len() == 1 && is_name(self.raw())
    }

    pub(super) fn assignment(&self) -> Option<Assignment<'_>> {
        let raw = self.raw();
        let (left, _) = raw.split_once('=')?;
        let name = left.strip_suffix('+').unwrap_or(left);
        is_name(name).then_some(Assignment {
            name,
            appends: name.len() < left.len(),
            skipped_bytes: left.len() + 1,
        })
    }

    /// What is behind the `=`, variables put in; those that are not set are nothing.
    pub(super) fn value<'v>(
        &self,
        assignment: &Assignment<'_>,
        known: impl Fn(&str) -> Option<&'v str>,
    ) -> Zeroizing<String> {
        let mut value = Zeroizing::new(String::new());
        let mut skip = assignment.skipped_bytes;
        for piece in &self.pieces {
            let text = match piece {
                Piece::Text(text) => text.get(skip..).unwrap_or_default(),
                Piece::Variable { name, default } => {
                    known(name).or(default.as_deref()).unwrap_or_default()
                }
            };
            skip = 0;
            value.push_str(text);
        }
        // As the guide writes it; a shell would not put it in.
        for slip in ["{JAVA_OPTS}", "{CATALINA_OPTS}"] {
            if value.contains(slip) {
                let name = slip.trim_matches(['{', '}']);
                value = Zeroizing::new(value.replace(slip, known(name).unwrap_or_default()));
            }
        }
        value
    }
}

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Takes a script apart.
pub(super) struct Lexer<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    line: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            rest: text.chars().peekable(),
            line: 1,
        }
    }

    fn next(&mut self) -> Option<char> {
        let next = self.rest.next()?;
        self.line += usize::from(next == '\n');
        Some(next)
    }

    /// The words up to the end of a command; None at the end of the script.
    pub(super) fn command(&mut self) -> Result<Option<Vec<Word>>, String> {
        let mut words = Vec::new();
        while let Some(&next) = self.rest.peek() {
            match next {
                ' ' | '\t' | '\r' => _ = self.next(),
                '#' => {
                    while self.rest.peek().is_some_and(|&c| c != '\n') {
                        self.next();
                    }
                }
                '\n' | ';' | '&' | '|' | '(' | ')' => {
                    self.next();
                    if !words.is_empty() {
                        return Ok(Some(words));
                    }
                }
                _ => words.push(self.word()?),
            }
        }
        Ok((!words.is_empty()).then_some(words))
    }

    fn word(&mut self) -> Result<Word, String> {
        let mut made = Making::default();
        let line = self.line;
        while let Some(&next) = self.rest.peek() {
            match next {
                ' ' | '\t' | '\r' | '\n' | ';' | '&' | '|' | '(' | ')' => break,
                '\'' => {
                    let begun = self.line;
                    self.next();
                    self.until(begun, '\'', |_, c, made| made.text.push(c), &mut made)?;
                }
                '"' => {
                    let begun = self.line;
                    self.next();
                    self.until(begun, '"', Self::in_double_quotes, &mut made)?;
                }
                '\\' => {
                    self.next();
                    // A line break behind it is nothing.
                    match self.next() {
                        Some('\n') | None => {}
                        Some(c) => made.text.push(c),
                    }
                }
                _ => {
                    self.next();
                    self.plain(next, &mut made);
                }
            }
        }
        Ok(made.word(line))
    }

    fn until(
        &mut self,
        begun: usize,
        end: char,
        take: impl Fn(&mut Self, char, &mut Making),
        made: &mut Making,
    ) -> Result<(), String> {
        loop {
            match self.next() {
                Some(c) if c == end => return Ok(()),
                Some(c) => take(self, c, made),
                None => {
                    return Err(format!(
                        "line {begun}: a quote that is begun here does not end"
                    ));
                }
            }
        }
    }

    fn in_double_quotes(&mut self, next: char, made: &mut Making) {
        if next != '\\' {
            self.plain(next, made);
            return;
        }
        match self.rest.peek() {
            Some('\n') => _ = self.next(),
            Some(&c @ ('"' | '\\' | '$' | '`')) => {
                self.next();
                made.text.push(c);
            }
            _ => made.text.push('\\'),
        }
    }

    /// A character outside single quotes.
    fn plain(&mut self, next: char, made: &mut Making) {
        match (next, self.rest.peek()) {
            ('$', Some('{')) => {
                self.next();
                self.braced(made);
            }
            // What a shell would run is nothing here, as a variable that is not set.
            ('$', Some('(')) => self.pass(')'),
            ('`', _) => self.pass('`'),
            ('$', Some(&c)) if c.is_ascii_alphabetic() || c == '_' => {
                let mut name = String::new();
                while let Some(&c) = self.rest.peek() {
                    if !(c.is_ascii_alphanumeric() || c == '_') {
                        break;
                    }
                    name.push(c);
                    self.next();
                }
                made.variable(name, None);
            }
            _ => made.text.push(next),
        }
    }

    /// `NAME}` or `NAME:-default}`.
    fn braced(&mut self, made: &mut Making) {
        let mut inside = String::new();
        while let Some(c) = self.next() {
            if c == '}' {
                break;
            }
            inside.push(c);
        }
        let (name, default) = match inside.split_once(":-").or(inside.split_once('-')) {
            Some((name, default)) => (name.to_owned(), Some(default.to_owned())),
            None => (inside, None),
        };
        made.variable(name, default);
    }

    fn pass(&mut self, end: char) {
        while self.next().is_some_and(|c| c != end) {}
    }
}

/// A word that is being read.
#[derive(Default)]
struct Making {
    pieces: Vec<Piece>,
    text: Zeroizing<String>,
}

impl Making {
    fn flush(&mut self) {
        if !self.text.is_empty() {
            self.pieces
                .push(Piece::Text(std::mem::take(&mut self.text)));
        }
    }

    fn variable(&mut self, name: String, default: Option<String>) {
        self.flush();
        self.pieces.push(Piece::Variable { name, default });
    }

    fn word(mut self, line: usize) -> Word {
        self.flush();
        Word {
            pieces: self.pieces,
            line,
        }
    }
}
