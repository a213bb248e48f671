//! The new configuration: lines of kms.properties, password files, keystores; rendered, then written.
//!
//! Must never be true: a password in the properties file or in what is printed; a file replaced without being
//! asked to, or without being kept; kms.properties there before what it names. Called by `migrate`.

use std::fmt::Write;
use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use zeroize::Zeroizing;

use super::files::exists;
use crate::keystore::save;
use crate::secret::SecretString;

/// Name of the properties file.
pub(super) const PROPERTIES: &str = "kms.properties";
/// No password is in it, so the service's group may look.
const PROPERTIES_MODE: u32 = 0o640;
const SECRET_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o750;
/// Columns of a comment.
const WIDTH: usize = 100;

/// A line of the new kms.properties.
#[derive(Debug)]
pub(super) enum Line {
    /// Begins a part.
    Heading(String),
    /// For the operator; wrapped.
    Comment(String),
    /// Commented out, to be switched on.
    Proposed(String, String),
    /// In force.
    Set(String, String),
    /// In a file of its own, which `<key>.file` names.
    Secret(String, SecretString),
}

/// A keystore to be written.
pub(super) struct Store {
    pub(super) name: String,
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

/// All that is to be written.
#[derive(Default)]
pub(super) struct Output {
    pub(super) lines: Vec<Line>,
    pub(super) stores: Vec<Store>,
}

/// A file of the new configuration.
#[derive(Debug, Serialize)]
pub(super) struct Written {
    pub(super) file: PathBuf,
    /// As `chmod` has it, such as 0600.
    pub(super) mode: String,
    /// The file that was there, kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kept: Option<PathBuf>,
}

impl Output {
    pub(super) fn heading(&mut self, text: impl Into<String>) {
        self.lines.push(Line::Heading(text.into()));
    }

    pub(super) fn comment(&mut self, text: impl Into<String>) {
        self.lines.push(Line::Comment(text.into()));
    }

    pub(super) fn propose(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.lines.push(Line::Proposed(key.into(), value.into()));
    }

    pub(super) fn set(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.lines.push(Line::Set(key.into(), value.into()));
    }

    pub(super) fn secret(&mut self, key: impl Into<String>, value: SecretString) {
        self.lines.push(Line::Secret(key.into(), value));
    }

    /// kms.properties as it is written.
    pub(super) fn properties(&self) -> String {
        let mut text = self.render(|key, _| format!("{key}.file = {}", secret_file(key)));
        std::mem::take(&mut *text)
    }

    /// The same with the passwords in it, to be checked and dropped.
    pub(super) fn properties_with_secrets(&self) -> Zeroizing<String> {
        self.render(|key, secret| format!("{key} = {}", escape(secret.expose())))
    }

    fn render(&self, of_secret: impl Fn(&str, &SecretString) -> String) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::new());
        for line in &self.lines {
            _ = match line {
                Line::Heading(heading) => writeln!(text, "\n# ---- {heading} ----"),
                Line::Comment(comment) => {
                    let mut lines = wrap(comment, WIDTH - 2).into_iter();
                    lines.try_for_each(|line| writeln!(text, "# {line}"))
                }
                Line::Proposed(key, value) => writeln!(text, "#{key} = {}", escape(value)),
                Line::Set(key, value) => writeln!(text, "{key} = {}", escape(value)),
                Line::Secret(key, secret) => {
                    writeln!(text, "{}", *Zeroizing::new(of_secret(key, secret)))
                }
            };
        }
        text
    }

    /// Names of all files, kms.properties last.
    pub(super) fn names(&self) -> Vec<String> {
        let secrets = self.lines.iter().filter_map(|line| match line {
            Line::Secret(key, _) => Some(secret_file(key)),
            _ => None,
        });
        let stores = self.stores.iter().map(|store| store.name.clone());
        secrets
            .chain(stores)
            .chain([PROPERTIES.to_owned()])
            .collect()
    }

    /// Refuses to replace what is there.
    pub(super) fn refuse_existing(&self, to: &Path) -> Result<(), String> {
        let names = self.names();
        let there = names
            .iter()
            .map(|name| to.join(name))
            .find(|file| exists(file));
        there.map_or(Ok(()), |file| {
            Err(format!(
                "{} exists: --replace takes its place and keeps it as {0}.old, another --to leaves it",
                file.display()
            ))
        })
    }

    /// What [`Output::write`] would write.
    pub(super) fn plan(&self, to: &Path) -> Vec<Written> {
        let file = |name: String| Written {
            mode: mode_text(mode_of(&name)),
            file: to.join(name),
            kept: None,
        };
        self.names().into_iter().map(file).collect()
    }

    /// Writes everything, kms.properties last.
    pub(super) fn write(&self, to: &Path) -> Result<Vec<Written>, String> {
        let mut folder = DirBuilder::new();
        folder.recursive(true).mode(FOLDER_MODE);
        folder
            .create(to)
            .map_err(|error| format!("{} cannot be made: {error}", to.display()))?;
        let mut written = Vec::new();
        for line in &self.lines {
            if let Line::Secret(key, secret) = line {
                let text = Zeroizing::new(format!("{}\n", secret.expose()));
                put(to, &secret_file(key), text.as_bytes(), &mut written)?;
            }
        }
        for store in &self.stores {
            put(to, &store.name, &store.bytes, &mut written)?;
        }
        put(to, PROPERTIES, self.properties().as_bytes(), &mut written)?;
        Ok(written)
    }
}

fn put(to: &Path, name: &str, bytes: &[u8], written: &mut Vec<Written>) -> Result<(), String> {
    let (file, mode) = (to.join(name), mode_of(name));
    let done = save(&file, bytes).and_then(|kept| {
        if mode != SECRET_MODE {
            fs::set_permissions(&file, Permissions::from_mode(mode))?;
        }
        Ok(kept)
    });
    let kept = done.map_err(|error| {
        let so_far: Vec<_> = written
            .iter()
            .map(|one: &Written| one.file.display().to_string())
            .collect();
        let so_far = if so_far.is_empty() {
            "nothing".to_owned()
        } else {
            so_far.join(", ")
        };
        format!(
            "{} cannot be written: {error}; written so far: {so_far}",
            file.display()
        )
    })?;
    written.push(Written {
        file,
        mode: mode_text(mode),
        kept,
    });
    Ok(())
}

/// `kms.keystore.password` is kept in `keystore.password`.
fn secret_file(key: &str) -> String {
    key.strip_prefix("kms.").unwrap_or(key).to_owned()
}

fn mode_of(name: &str) -> u32 {
    if name == PROPERTIES {
        PROPERTIES_MODE
    } else {
        SECRET_MODE
    }
}

fn mode_text(mode: u32) -> String {
    format!("{mode:04o}")
}

/// As Java's properties syntax wants a value.
fn escape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for (at, c) in value.char_indices() {
        match c {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{c}' => text.push_str("\\f"),
            ' ' if at == 0 => text.push_str("\\ "),
            c => text.push(c),
        }
    }
    text
}

/// Lines of at most `width` characters, where words allow it.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let indent = paragraph.len() - paragraph.trim_start_matches(' ').len();
        let mut line = " ".repeat(indent);
        for word in paragraph.split_whitespace() {
            let is_first = line.trim().is_empty();
            if !is_first && line.chars().count() + 1 + word.chars().count() > width {
                lines.push(std::mem::take(&mut line));
            } else if !is_first {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn output() -> Output {
        let mut output = Output::default();
        output.comment("Two words and then ".to_owned() + &"more ".repeat(30));
        output.heading("part");
        output.set("kms.log.file", " C:\\new\ttab");
        output.propose("kms.cache.type", "distributed");
        output.secret(
            "kms.keystore.password",
            SecretString::new("\\ pass\\word ".to_owned()),
        );
        output.stores.push(Store {
            name: "store.p12".to_owned(),
            bytes: Zeroizing::new(b"bytes".to_vec()),
        });
        output
    }

    #[test]
    fn what_is_rendered_is_read_again_as_it_was() {
        let text = output().properties();
        assert!(!text.contains("word\\"), "{text}");
        assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
        let file = Path::new("/etc/kms/kms.properties");
        for text in [text.as_str(), &output().properties_with_secrets()] {
            let read = crate::config::java_properties(file, text.as_bytes()).unwrap();
            let found: Vec<_> = read
                .iter()
                .map(|(key, value)| (&**key, value.expose()))
                .collect();
            let secret = if text.contains("keystore.password.file") {
                ("kms.keystore.password.file", "keystore.password")
            } else {
                ("kms.keystore.password", "\\ pass\\word ")
            };
            assert_eq!(found, [("kms.log.file", " C:\\new\ttab"), secret], "{text}");
        }
    }

    #[test]
    fn files_are_written_for_one_user_and_what_was_there_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("etc/kms");
        let output = output();
        output.refuse_existing(&to).unwrap();
        for kept in [false, true] {
            let written = output.write(&to).unwrap();
            let names: Vec<_> = written
                .iter()
                .map(|one| one.file.file_name().unwrap().to_str().unwrap())
                .collect();
            assert_eq!(names, ["keystore.password", "store.p12", "kms.properties"]);
            for one in &written {
                let mode = fs::metadata(&one.file).unwrap().permissions().mode() & 0o7777;
                assert_eq!(
                    (mode_text(mode), one.kept.is_some()),
                    (one.mode.clone(), kept),
                    "{one:?}"
                );
            }
        }
        assert_eq!(
            fs::read(to.join("keystore.password")).unwrap(),
            b"\\ pass\\word \n"
        );
        let error = output.refuse_existing(&to).unwrap_err();
        assert!(
            error.contains("keystore.password exists: --replace"),
            "{error}"
        );
        fs::create_dir(to.join("store.p12.new")).unwrap();
        let error = output.write(&to).unwrap_err();
        assert!(
            error.contains("store.p12 cannot be written") && error.contains("so far: "),
            "{error}"
        );
    }

    #[test]
    fn text_is_wrapped_at_words() {
        for (text, want) in [
            ("", &[][..]),
            ("a b c", &["a b c"]),
            ("aaa bbb ccc", &["aaa bbb", "ccc"]),
            ("longword x", &["longword", "x"]),
            ("a\n  b", &["a", "  b"]),
        ] {
            assert_eq!(wrap(text, 7), want, "{text:?}");
        }
    }
}
