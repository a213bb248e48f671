//! From TOML to a checked [`Site`]: the description, below it what was measured, below that the preset, then
//! defaults. Each value keeps where it came from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::error::{InputError, Problem};
use super::field::{self, Absent, FIELDS, Field, Kind};
use super::preset::of_preset;
use super::relations;
use crate::trace::{Origin, Quantity};

/// A description is read whole; a larger one is none.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The text of a description and where it is, kept so that a field of it can be changed and all read anew.
#[derive(Clone, Debug)]
pub struct Source {
    /// For relative files and messages.
    pub path: PathBuf,
    tables: Table,
    /// Of `machine.calibration`.
    measured: Option<(PathBuf, Table)>,
    /// What running nodes tell; wins over what is written.
    live: Vec<(&'static Field, Live)>,
}

/// A number that running nodes told.
#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    /// The number.
    pub value: f64,
    /// How far off it may be.
    pub error: f64,
    /// Which of their figures it comes from.
    pub from: String,
}

/// What a site is like: each field as a quantity.
#[derive(Clone, Debug)]
pub struct Site {
    held: BTreeMap<&'static str, Quantity>,
    files: BTreeMap<&'static str, PathBuf>,
}

impl Source {
    /// Reads the file, and the calibration that it names.
    pub fn read(path: &Path) -> Result<Self, InputError> {
        Self::parse(path, &read(path)?)
    }

    /// As [`Source::read`], with the text given.
    pub fn parse(path: &Path, text: &str) -> Result<Self, InputError> {
        let tables = parse(path, text)?;
        let mut source = Self {
            path: path.to_owned(),
            tables,
            measured: None,
            live: Vec::new(),
        };
        if let Some(Value::String(name)) = source.written(&field::CALIBRATION) {
            let file = source.beside(name);
            let measured = parse(&file, &read(&file)?)?;
            source.measured = Some((file, measured));
        }
        Ok(source)
    }

    /// The same with one number changed.
    #[must_use]
    pub fn with(&self, field: &'static Field, value: f64) -> Self {
        let mut changed = self.clone();
        let mut table = &mut changed.tables;
        for part in field.section().split('.') {
            let entry = table
                .entry(part)
                .or_insert_with(|| Value::Table(Table::new()));
            let Value::Table(inner) = entry else {
                return changed;
            };
            table = inner;
        }
        table.insert(field.key().to_owned(), Value::Float(value));
        changed
    }

    /// The same with what running nodes told in place of what is written.
    #[must_use]
    pub fn with_live(&self, live: Vec<(&'static Field, Live)>) -> Self {
        Self {
            live,
            ..self.clone()
        }
    }

    /// Checks everything.
    pub fn site(&self) -> Result<Site, InputError> {
        let mut problems = Vec::new();
        find_strangers(&self.tables, "", &mut problems);
        if let Some((_, measured)) = &self.measured {
            find_strangers(measured, "", &mut problems);
        }
        let mut site = Site {
            held: BTreeMap::new(),
            files: BTreeMap::new(),
        };
        for field in FIELDS {
            self.take(field, &mut site, &mut problems);
        }
        for field in FIELDS {
            settle(field, &mut site, &mut problems);
        }
        site.forget_others_handshake();
        if problems.is_empty() {
            relations::check(&site, &mut problems);
        }
        if problems.is_empty() {
            Ok(site)
        } else {
            Err(InputError { problems })
        }
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(name)
    }

    fn written(&self, field: &Field) -> Option<&Value> {
        lookup(&self.tables, field.path)
    }

    /// What is written or measured.
    fn take(&self, field: &'static Field, site: &mut Site, problems: &mut Vec<Problem>) {
        if let Some((_, live)) = self.live.iter().find(|(told, _)| told.path == field.path) {
            match in_range(field, live.value) {
                Ok(value) => site.hold(
                    field,
                    Quantity::measured(
                        field.path,
                        value,
                        field.unit,
                        live.error,
                        live.from.clone(),
                    ),
                ),
                Err(problem) => problems.push(problem),
            }
            return;
        }
        let written = self.written(field).map(|value| (value, true));
        let measured = self.measured.as_ref();
        let found = written.or_else(|| Some((lookup(&measured?.1, field.path)?, false)));
        let Some((value, is_written)) = found else {
            return;
        };
        if let (Kind::File, Value::String(name)) = (field.kind, value) {
            site.files.insert(field.path, self.beside(name));
            return;
        }
        match number_of(field, value) {
            Ok(number) if is_written => {
                let place = format!("{} in {}", field.path, self.path.display());
                site.hold(
                    field,
                    Quantity::given(field.path, number, field.unit, place),
                );
            }
            Ok(number) => {
                let place =
                    measured.map_or_else(String::new, |(file, _)| file.display().to_string());
                site.hold(
                    field,
                    Quantity::measured(field.path, number, field.unit, 0.0, place),
                );
            }
            Err(problem) => problems.push(problem),
        }
    }
}

/// Notes every key that no field has.
fn find_strangers(table: &Table, above: &str, problems: &mut Vec<Problem>) {
    for (key, value) in table {
        let path = if above.is_empty() {
            key.clone()
        } else {
            format!("{above}.{key}")
        };
        let is_section = FIELDS
            .iter()
            .any(|field| field.section() == path || field.path.starts_with(&format!("{path}.")));
        match value {
            Value::Table(inner) if is_section => find_strangers(inner, &path, problems),
            _ if field::find(&path).is_some() => {}
            _ => problems.push(Problem::Unknown {
                meant: field::suggest(&path),
                path,
            }),
        }
    }
}

impl Site {
    /// A field that always has a value: required, or with a default.
    pub fn get(&self, field: &'static Field) -> Quantity {
        // Read only for fields that `settle` fills or refuses; NaN would show in every output.
        self.opt(field).unwrap_or_else(|| {
            Quantity::assumed(field.path, f64::NAN, field.unit, "nothing is known")
        })
    }

    /// A field that may be left out.
    pub fn opt(&self, field: &'static Field) -> Option<Quantity> {
        self.held.get(field.path).cloned()
    }

    /// The word of a choice.
    pub fn word(&self, field: &'static Field) -> &'static str {
        let Kind::Choice(words) = field.kind else {
            return "";
        };
        let at = self.opt(field).map_or(0.0, |quantity| quantity.value());
        let place = |(at_word, _): &(usize, &&str)| *at_word as f64 >= at - 0.5;
        words
            .iter()
            .enumerate()
            .find(place)
            .map_or("", |(_, word)| word)
    }

    /// Whether a flag is set.
    pub fn flag(&self, field: &'static Field) -> bool {
        self.opt(field)
            .is_some_and(|quantity| quantity.value() > 0.5)
    }

    /// A file that is named.
    pub fn file(&self, field: &'static Field) -> Option<&Path> {
        self.files.get(field.path).map(PathBuf::as_path)
    }

    /// Every value, in the order of the table.
    pub fn quantities(&self) -> impl Iterator<Item = (&'static Field, &Quantity)> {
        FIELDS
            .iter()
            .filter_map(|field| Some((*field, self.held.get(field.path)?)))
    }

    /// `calibrate` measures handshakes with P-256 and knows nothing of other certificates.
    fn forget_others_handshake(&mut self) {
        let held = self.held.get(field::HANDSHAKE_US.path);
        let is_measured = held.is_some_and(|held| matches!(held.origin(), Origin::Measured(_)));
        if is_measured && self.word(&field::CERT) != "p256" {
            self.held.remove(field::HANDSHAKE_US.path);
        }
    }

    fn hold(&mut self, field: &'static Field, quantity: Quantity) {
        self.held.insert(field.path, quantity);
    }
}

fn read(path: &Path) -> Result<String, InputError> {
    let failed = |why: String| InputError {
        problems: vec![Problem::Unreadable(path.to_owned(), why)],
    };
    let size = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?;
    if size.len() > FILE_BYTES_MAX {
        return Err(failed(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))
}

fn parse(path: &Path, text: &str) -> Result<Table, InputError> {
    text.parse::<Table>().map_err(|error| InputError {
        problems: vec![Problem::NotToml(path.to_owned(), error.to_string())],
    })
}

fn lookup<'t>(table: &'t Table, path: &str) -> Option<&'t Value> {
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    match (table.get(first)?, rest) {
        (value, "") => Some(value),
        (Value::Table(inner), rest) => lookup(inner, rest),
        _ => None,
    }
}

/// The value as a number, within the field's range.
fn number_of(field: &'static Field, value: &Value) -> Result<f64, Problem> {
    let wrong_type = || Problem::WrongType {
        field,
        value: shown(value),
    };
    match (field.kind, value) {
        (Kind::Number { .. }, Value::Integer(number)) => in_range(field, *number as f64),
        (Kind::Number { .. }, Value::Float(number)) => in_range(field, *number),
        (Kind::Flag, Value::Boolean(flag)) => Ok(f64::from(*flag)),
        (Kind::Choice(words), Value::String(wrote)) => words
            .iter()
            .position(|word| word == wrote)
            .map(|at| at as f64)
            .ok_or_else(wrong_type),
        _ => Err(wrong_type()),
    }
}

/// As somebody wrote it, near enough.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("\"{text}\""),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(flag) => flag.to_string(),
        other => format!("of type {}", other.type_str()),
    }
}

fn in_range(field: &'static Field, value: f64) -> Result<f64, Problem> {
    let Kind::Number { min, max, whole } = field.kind else {
        return Ok(value);
    };
    // A whole number varied by a share of itself is rounded.
    let value = if whole { value.round() } else { value };
    if (min..=max).contains(&value) {
        Ok(value)
    } else {
        Err(Problem::OutOfRange { field, value })
    }
}

/// Gives a field that nobody wrote its default.
fn settle(field: &'static Field, site: &mut Site, problems: &mut Vec<Problem>) {
    if site.held.contains_key(field.path) || problems.iter().any(|problem| is_about(problem, field))
    {
        return;
    }
    let assumed = |value, why: &'static str| Quantity::assumed(field.path, value, field.unit, why);
    let quantity = match field.absent {
        Absent::Required
            if field.path == field::KEYS_TOTAL.path && site.file(&field::TRACE).is_some() =>
        {
            None
        }
        Absent::Required => {
            problems.push(Problem::Missing(field));
            None
        }
        Absent::Unset(_) => None,
        Absent::Value(value, why) => Some(assumed(value, why)),
        Absent::Word(word, why) => {
            let at = match field.kind {
                Kind::Choice(words) => {
                    words.iter().position(|known| *known == word).unwrap_or(0) as f64
                }
                _ => f64::from(word == "true"),
            };
            Some(assumed(at, why))
        }
        Absent::As(other, why) => site.opt(other).map(|other| assumed(other.value(), why)),
        Absent::Preset => of_preset(field, site, problems),
    };
    if let Some(quantity) = quantity {
        site.hold(field, quantity);
    }
}

fn is_about(problem: &Problem, field: &Field) -> bool {
    match problem {
        Problem::Missing(at)
        | Problem::NoHsm(at)
        | Problem::WrongType { field: at, .. }
        | Problem::OutOfRange { field: at, .. }
        | Problem::Contradiction { field: at, .. } => at.path == field.path,
        _ => false,
    }
}
