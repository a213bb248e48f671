//! The logger of the programs: text or JSON lines to standard error or a file, one write a line.
//!
//! Must never be true: a panic, half a line mixed with another, a line feed of a peer's making inside a line.
//! Called by the `log` macros of every room, installed by `cli`.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use log::kv::{self, Key, VisitSource};
use log::{LevelFilter, Log, Metadata, Record};
use parking_lot::Mutex;

use crate::config::{LogFormat, LogSettings};
pub use crate::wire::calendar::timestamp;

/// Longest line; the rest is cut.
const LINE_BYTES_MAX: usize = 16 * 1024;

enum Sink {
    Stderr,
    File { path: PathBuf, file: File },
}

/// Writes records as lines. The level is `log`'s own ([`set_level`]).
pub struct Logger {
    format: LogFormat,
    sink: Mutex<Sink>,
}

/// Makes the logger of `settings` the program's, for good. Errors: the file cannot be opened, or a logger is there.
pub fn install(settings: &LogSettings) -> io::Result<&'static Logger> {
    let logger: &'static Logger = Box::leak(Box::new(Logger::new(settings)?));
    log::set_logger(logger).map_err(|error| io::Error::other(error.to_string()))?;
    set_level(settings.level);
    Ok(logger)
}

/// Changes the level of the running program.
pub fn set_level(level: LevelFilter) {
    log::set_max_level(level);
}

impl Logger {
    /// A logger that is not installed.
    pub fn new(settings: &LogSettings) -> io::Result<Self> {
        let sink = match &settings.file {
            None => Sink::Stderr,
            Some(path) => Sink::File {
                path: path.clone(),
                file: open(path)?,
            },
        };
        Ok(Self {
            format: settings.format,
            sink: Mutex::new(sink),
        })
    }

    /// Opens the file again by its name, after logrotate moved it. On error the old file stays in use.
    pub fn reopen(&self) -> io::Result<()> {
        if let Sink::File { path, file } = &mut *self.sink.lock() {
            *file = open(path)?;
        }
        Ok(())
    }

    fn write(&self, line: &[u8]) {
        // A full disk must not stop the service: there is nobody to tell.
        _ = match &mut *self.sink.lock() {
            Sink::Stderr => io::stderr().write_all(line),
            Sink::File { file, .. } => file.write_all(line),
        };
    }
}

fn open(path: &Path) -> io::Result<File> {
    let file = File::options()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path);
    file.map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("kms.log.file {}: {error}", path.display()),
        )
    })
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.write(line(self.format, SystemTime::now(), record).as_bytes());
        }
    }

    fn flush(&self) {}
}

/// One line with its line feed.
fn line(format: LogFormat, now: SystemTime, record: &Record<'_>) -> String {
    let time = timestamp(now);
    let mut line = String::with_capacity(256);
    let message = record.args().to_string();
    match format {
        LogFormat::Text => {
            line = format!("{time} {:<5} {} ", record.level(), record.target());
            push_clean(&mut line, &message);
        }
        LogFormat::Json => {
            for (name, value) in [
                ("time", time.as_str()),
                ("level", record.level().as_str()),
                ("target", record.target()),
            ] {
                push_json(&mut line, name, value);
            }
            push_json(&mut line, "message", cut(&message, LINE_BYTES_MAX));
        }
    }
    _ = record.key_values().visit(&mut Pairs {
        format,
        line: &mut line,
    });
    match format {
        LogFormat::Text => line.truncate(cut(&line, LINE_BYTES_MAX).len()),
        LogFormat::Json => line.push('}'),
    }
    line.push('\n');
    line
}

struct Pairs<'a> {
    format: LogFormat,
    line: &'a mut String,
}

impl<'kvs> VisitSource<'kvs> for Pairs<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
        let value = value.to_string();
        if self.line.len() + value.len() > LINE_BYTES_MAX * 2 {
            return Ok(());
        }
        match self.format {
            LogFormat::Json => push_json(self.line, key.as_str(), &value),
            LogFormat::Text => {
                self.line.push(' ');
                push_clean(self.line, key.as_str());
                self.line.push('=');
                if value.contains([' ', '"', '=']) || value.is_empty() {
                    _ = std::fmt::Write::write_fmt(self.line, format_args!("{value:?}"));
                } else {
                    push_clean(self.line, &value);
                }
            }
        }
        Ok(())
    }
}

fn push_json(line: &mut String, name: &str, value: &str) {
    line.push(if line.is_empty() { '{' } else { ',' });
    for (text, end) in [(name, ":"), (value, "")] {
        line.push_str(&serde_json::Value::from(text).to_string());
        line.push_str(end);
    }
}

/// Control characters are escaped, so that one record is one line.
fn push_clean(line: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
}

fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn a_record_is_one_line() {
        let pairs: &[(&str, &str)] = &[("peer", "10.0.0.1"), ("text", "two words")];
        for (format, want) in [
            (
                LogFormat::Text,
                "1970-01-01T00:00:00.000Z WARN  kms::hsm a\\nb peer=10.0.0.1 text=\"two words\"\n",
            ),
            (
                LogFormat::Json,
                "{\"time\":\"1970-01-01T00:00:00.000Z\",\"level\":\"WARN\",\"target\":\"kms::hsm\",\"message\":\"a\\nb\",\"peer\":\"10.0.0.1\",\"text\":\"two words\"}\n",
            ),
        ] {
            let got = line(
                format,
                UNIX_EPOCH,
                &Record::builder()
                    .level(log::Level::Warn)
                    .target("kms::hsm")
                    .key_values(&pairs)
                    .args(format_args!("a\nb"))
                    .build(),
            );
            assert_eq!(got, want);
        }
    }

    #[test]
    fn a_file_is_appended_and_reopened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kms.log");
        let settings = LogSettings {
            level: LevelFilter::Info,
            file: Some(path.clone()),
            format: LogFormat::Text,
        };
        let logger = Logger::new(&settings).unwrap();
        logger.write(b"one\n");
        std::fs::rename(&path, folder.path().join("kms.log.1")).unwrap();
        logger.reopen().unwrap();
        logger.write(b"two\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o137,
            0,
            "no wider than 0640"
        );
        assert!(
            Logger::new(&LogSettings {
                file: Some(folder.path().join("no/kms.log")),
                ..settings
            })
            .is_err()
        );
    }
}
