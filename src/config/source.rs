//! Gathers what is set: environment over file; secrets from files of their own; each value checked and with its origin.
//!
//! Must never be true: a value taken without its origin, a secret in a problem or a warning.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use zeroize::Zeroizing;

use super::error::{Problem, Warning};
use super::model::Origin;
use super::properties::{self, FILE_BYTES_MAX};
use super::table::{self, Book, Default as KeyDefault, Key};
use super::value::{self, Value};
use crate::secret::SecretString;

/// A set and checked value.
pub(super) struct Held {
    pub(super) value: Value,
    pub(super) origin: Origin,
    /// As written; `(set)` for a secret.
    pub(super) shown: String,
}

/// What is set, by key name; role keys under their full names.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) held: BTreeMap<String, Held>,
    /// Names of roles that have at least one key set.
    pub(super) roles: Vec<String>,
    /// Keys that are set but whose value was refused.
    pub(super) refused: Vec<String>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Warning>,
}

/// How a key was written.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Spelling {
    Plain,
    Old,
    SecretFile,
}

struct Raw {
    key: &'static Key,
    spelling: Spelling,
    text: Zeroizing<String>,
    origin: Origin,
}

type Level = BTreeMap<String, Raw>;

/// Gathers the keys of `book` from the text of `file` and from `environment`.
pub(super) fn gather(
    book: &Book,
    file: &Path,
    text: &[u8],
    environment: &[(OsString, OsString)],
) -> Gathered {
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut all = Gathered::default();
    let mut level = from_file(book, file, text, &mut all);
    all.roles = level
        .keys()
        .filter_map(|name| table::role_part(name))
        .map(|(role, _)| role.to_owned())
        .collect();
    level.extend(from_environment(book, environment, &mut all));
    all.roles = level
        .keys()
        .filter_map(|name| table::role_part(name))
        .map(|(role, _)| role.to_owned())
        .collect();
    all.roles.dedup();
    for (name, raw) in level {
        match resolve(&name, raw, folder, &mut all.warnings) {
            Ok(held) => _ = all.held.insert(name, held),
            Err(problem) => {
                all.problems.push(*problem);
                all.refused.push(name);
            }
        }
    }
    all
}

fn from_file(book: &Book, file: &Path, text: &[u8], all: &mut Gathered) -> Level {
    let (entries, problems) = properties::parse(file, text);
    all.problems.extend(problems);
    let mut level = Level::new();
    for entry in entries {
        let origin = Origin::File {
            path: file.to_owned(),
            line: entry.line,
        };
        let Some((name, key, spelling)) = named(book, &entry.key) else {
            let suggestion = book.suggest(&entry.key);
            all.problems.push(Problem::UnknownKey {
                origin,
                key: entry.key,
                suggestion,
                example: book.example,
            });
            continue;
        };
        if spelling == Spelling::Old {
            let (old, new) = (entry.key, key.name.to_owned());
            all.warnings.push(Warning::OldName {
                origin: origin.clone(),
                old,
                new,
            });
        }
        place(
            &mut level,
            name,
            Raw {
                key,
                spelling,
                text: entry.value,
                origin,
            },
            all,
        );
    }
    level
}

/// The key behind a name in the file, and the name it is kept under.
fn named(book: &Book, written: &str) -> Option<(String, &'static Key, Spelling)> {
    if let Some(key) = book.find(written) {
        return Some((written.to_owned(), key, Spelling::Plain));
    }
    if let Some(key) = book
        .keys
        .iter()
        .copied()
        .find(|key| key.old_name == Some(written))
    {
        return Some((key.name.to_owned(), key, Spelling::Old));
    }
    if let Some((role, key)) = table::role_part(written).filter(|_| book.has_roles) {
        return Some((key.name.replace("NAME", role), key, Spelling::Plain));
    }
    let name = written.strip_suffix(".file")?;
    let key = book.find(name).filter(|key| key.is_secret())?;
    Some((name.to_owned(), key, Spelling::SecretFile))
}

/// Puts `raw` into its level. An empty value is no value, save where a role would get a usual one instead: it may be
/// one that nobody is to have.
fn place(level: &mut Level, name: String, raw: Raw, all: &mut Gathered) {
    let is_usual = name.starts_with("kms.role.") && raw.key.default != KeyDefault::None;
    if raw.text.trim().is_empty() && !is_usual {
        return;
    }
    let Some(earlier) = level.get(&name) else {
        level.insert(name, raw);
        return;
    };
    if earlier.spelling == raw.spelling {
        let earlier_line = if let Origin::File { line, .. } = earlier.origin {
            line
        } else {
            0
        };
        all.warnings.push(Warning::Duplicate {
            origin: raw.origin.clone(),
            key: name.clone(),
            earlier_line,
        });
        level.insert(name, raw);
        return;
    }
    let secret = raw.key.is_secret();
    if secret || earlier.text.trim() != raw.text.trim() {
        let old = raw.key.old_name.unwrap_or_default();
        let reason = if secret {
            format!(
                "{name} and {name}.file are both set (the other at {}); keep one",
                earlier.origin
            )
        } else {
            format!(
                "{name} and its old name {old} have different values (the other at {}); remove {old}",
                earlier.origin
            )
        };
        all.problems.push(Problem::Conflict {
            origin: raw.origin,
            reason,
        });
        all.refused.push(name);
    } else if raw.spelling == Spelling::Plain {
        level.insert(name, raw);
    }
}

fn from_environment(
    book: &Book,
    environment: &[(OsString, OsString)],
    all: &mut Gathered,
) -> Level {
    let mut level = Level::new();
    for (variable, content) in environment {
        let mine = |name: &&str| name.starts_with(book.environment) && !is_of_another(book, name);
        let Some(variable) = variable.to_str().filter(mine) else {
            continue;
        };
        let Some((name, key, spelling)) = environment_key(book, variable, &all.roles) else {
            let suggestion = book
                .keys
                .iter()
                .map(|key| key.environment_name())
                .min_by_key(|known| strsim::damerau_levenshtein(known, variable))
                .filter(|known| strsim::damerau_levenshtein(known, variable) * 4 <= known.len());
            all.warnings.push(Warning::UnknownEnvironment {
                name: variable.to_owned(),
                suggestion,
            });
            continue;
        };
        let origin = Origin::Environment(variable.to_owned());
        let Some(text) = content.to_str() else {
            let (expected, reason) = (value::expected(key.kind), "not UTF-8".to_owned());
            all.problems.push(Problem::BadValue {
                origin,
                key: name,
                value: None,
                reason,
                expected,
            });
            continue;
        };
        place(
            &mut level,
            name,
            Raw {
                key,
                spelling,
                text: Zeroizing::new(text.to_owned()),
                origin,
            },
            all,
        );
    }
    level
}

/// Variables of cluster.properties are no mistakes in kms.properties.
fn is_of_another(book: &Book, variable: &str) -> bool {
    let other = super::cluster::table::CLUSTER.environment;
    book.environment != other && variable.starts_with(other)
}

fn environment_key(
    book: &Book,
    variable: &str,
    roles: &[String],
) -> Option<(String, &'static Key, Spelling)> {
    if let Some(key) = book
        .keys
        .iter()
        .copied()
        .find(|key| key.environment_name() == variable)
    {
        return Some((key.name.to_owned(), key, Spelling::Plain));
    }
    if let Some((upper, part)) = table::role_environment(variable).filter(|_| book.has_roles) {
        let known = roles
            .iter()
            .find(|role| table::environment_name(role) == upper);
        let role = known.cloned().unwrap_or_else(|| upper.to_ascii_lowercase());
        let name = format!("kms.role.{role}.{part}");
        let (_, key) = table::role_part(&name)?;
        return Some((name, key, Spelling::Plain));
    }
    let name = variable.strip_suffix("_FILE")?;
    let key = book
        .keys
        .iter()
        .copied()
        .find(|key| key.is_secret() && key.environment_name() == name)?;
    Some((key.name.to_owned(), key, Spelling::SecretFile))
}

/// Reads a secret from its file where one is named, and checks the value.
fn resolve(
    name: &str,
    raw: Raw,
    folder: &Path,
    warnings: &mut Vec<Warning>,
) -> Result<Held, Box<Problem>> {
    let Raw {
        key,
        spelling,
        mut text,
        mut origin,
    } = raw;
    if spelling == Spelling::SecretFile {
        let path = folder.join(text.trim());
        text = read_secret(&format!("{name}.file"), &path)?;
        origin = Origin::SecretFile(path);
    }
    if key.is_secret() && text.ends_with(char::is_whitespace) {
        warnings.push(Warning::SecretEndsInSpace {
            origin: origin.clone(),
            key: name.to_owned(),
        });
    }
    let shown = if key.is_secret() {
        "(set)".to_owned()
    } else {
        text.trim().to_owned()
    };
    if text.trim().is_empty() && name.starts_with("kms.role.") && name.ends_with(".aliases") {
        return Ok(Held {
            value: Value::List(Vec::new()),
            origin,
            shown: "(nobody)".to_owned(),
        });
    }
    match value::check(key.kind, &text, folder) {
        Ok(value) => Ok(Held {
            value,
            origin,
            shown,
        }),
        Err(reason) => {
            let value = (!key.is_secret()).then_some(shown);
            Err(Box::new(Problem::BadValue {
                origin,
                key: name.to_owned(),
                value,
                reason,
                expected: value::expected(key.kind),
            }))
        }
    }
}

fn read_secret(key: &str, path: &Path) -> Result<Zeroizing<String>, Box<Problem>> {
    let unreadable = |reason: &str| {
        Box::new(Problem::Unreadable {
            path: path.to_owned(),
            reason: format!("{reason} ({key})"),
        })
    };
    let (bytes, mode) = read_file(path).map_err(|error| unreadable(&error.to_string()))?;
    if mode & 0o077 != 0 {
        return Err(Box::new(Problem::SecretExposed {
            key: key.to_owned(),
            path: path.to_owned(),
            mode,
        }));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| unreadable("not UTF-8"))?;
    let text = text
        .strip_suffix('\n')
        .map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    if text.is_empty() {
        Err(unreadable("it is empty"))
    } else {
        Ok(Zeroizing::new(text.to_owned()))
    }
}

/// Reads a secret again from the file that `<key>.file` named, by the same rules. The error names key
/// and file.
pub fn reread_secret(key: &str, path: &Path) -> Result<SecretString, String> {
    match read_secret(&format!("{key}.file"), path) {
        Ok(mut text) => Ok(SecretString::new(std::mem::take(&mut *text))),
        Err(problem) => Err(problem.to_string()),
    }
}

/// The bytes and permission bits of a regular, bounded file.
pub(super) fn read_file(path: &Path) -> std::io::Result<(Zeroizing<Vec<u8>>, u32)> {
    let file = std::fs::File::open(path)?;
    let meta = file.metadata()?;
    if meta.is_dir() {
        return Err(std::io::Error::other("it is a folder"));
    }
    // One allocation, so that growing leaves no copies of a secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(
        usize::try_from(meta.len()).unwrap_or(0).min(FILE_BYTES_MAX) + 1,
    ));
    file.take(FILE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(std::io::Error::other("it is over 1 MiB"));
    }
    Ok((bytes, meta.permissions().mode() & 0o7777))
}
