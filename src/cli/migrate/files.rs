//! Files of an installation: bounded, read only, each failure with the option that would put it right.
//!
//! Must never be true: a file of the installation opened for writing. Called by the readers of this room.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use encoding_rs::Encoding;
use zeroize::Zeroizing;

use crate::limits::KEYSTORE_BYTES_MAX;

/// Bytes of a file that is text.
pub(super) const TEXT_BYTES_MAX: usize = 1024 * 1024;
/// Where the original and its Tomcat are installed; a copy elsewhere still names these.
const STANDARD_CONF: &str = "/usr/share/kms/conf";
const STANDARD_TOMCAT: &str = "/usr/share/tomcat";

/// The folders of an installation.
#[derive(Debug)]
pub(super) struct Folders {
    /// That of kms.properties.
    pub(super) conf: PathBuf,
    /// Tomcat's base: conf, bin.
    pub(super) tomcat: PathBuf,
}

impl Folders {
    /// `from` is the folder of kms.properties or the one above its `conf`.
    pub(super) fn find(from: &Path, tomcat: &Path) -> Result<Self, String> {
        let places = [from.to_owned(), from.join("conf")];
        let found = places
            .iter()
            .find(|place| exists(&place.join("kms.properties")));
        let conf = found.ok_or_else(|| {
            format!(
                "neither {} nor {} is there: name the folder that holds kms.properties with --from DIR",
                places[0].join("kms.properties").display(),
                places[1].join("kms.properties").display()
            )
        })?;
        if !exists(&tomcat.join("conf/server.xml")) {
            return Err(format!(
                "{} is not there: name the folder that holds Tomcat's conf and bin with --tomcat DIR",
                tomcat.join("conf/server.xml").display()
            ));
        }
        Ok(Self {
            conf: conf.clone(),
            tomcat: tomcat.to_owned(),
        })
    }

    /// The new folder must not be of the old installation.
    pub(super) fn refuse_inside(&self, to: &Path) -> Result<(), String> {
        let to = real(to);
        for old in [&self.conf, &self.tomcat] {
            if to.starts_with(real(old)) {
                return Err(format!(
                    "--to {} is inside {}, where nothing is to be changed: choose another folder",
                    to.display(),
                    old.display()
                ));
            }
        }
        Ok(())
    }

    /// Where a file that the installation names is. In a copy of an installation the standard places are those of
    /// the copy, and a file that is nowhere else may lie beside kms.properties.
    pub(super) fn locate(&self, named: &str, relative_to: &Path) -> PathBuf {
        let named = named
            .strip_prefix("file://")
            .or(named.strip_prefix("file:"))
            .unwrap_or(named);
        let path = Path::new(named);
        let copies = [(STANDARD_CONF, &self.conf), (STANDARD_TOMCAT, &self.tomcat)];
        let copies = copies.into_iter().filter_map(|(standard, copy)| {
            path.strip_prefix(standard).ok().map(|rest| copy.join(rest))
        });
        let literal = relative_to.join(path);
        let beside = path.file_name().map(|name| self.conf.join(name));
        let mut candidates = copies.chain([literal.clone()]).chain(beside);
        candidates
            .find(|candidate| exists(candidate))
            .unwrap_or(literal)
    }
}

/// `path` without links and dots, as far as it is there.
fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = path
        .ancestors()
        .find_map(|part| Some((part.canonicalize().ok()?, part)));
    match there {
        Some((real, part)) => path
            .strip_prefix(part)
            .map_or(real.clone(), |rest| real.join(rest)),
        None => path,
    }
}

/// Whether anything is there, readable or not.
pub(super) fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// The bytes of a text file. `remedy` is what to do if it cannot be read.
pub(super) fn text(path: &Path, remedy: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    read(path, TEXT_BYTES_MAX).map_err(|error| failed(path, &error, remedy))
}

/// The bytes of a keystore, certificate or key.
pub(super) fn keystore(path: &Path, remedy: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    read(path, KEYSTORE_BYTES_MAX).map_err(|error| failed(path, &error, remedy))
}

fn failed(path: &Path, error: &io::Error, remedy: &str) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::PermissionDenied => "run this as root, or as a user who may read it",
        _ => remedy,
    };
    format!("{} cannot be read: {error}; {remedy}", path.display())
}

fn read(path: &Path, bytes_max: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    // A pipe would be waited for.
    let meta = std::fs::metadata(path)?;
    if !meta.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let size = usize::try_from(meta.len()).unwrap_or(usize::MAX);
    let mut bytes = Zeroizing::new(Vec::with_capacity(size.min(bytes_max) + 1));
    File::open(path)?
        .take(bytes_max as u64 + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max {
        return Err(io::Error::other(format!(
            "it has more than {bytes_max} bytes"
        )));
    }
    Ok(bytes)
}

/// XML as text: UTF-8, or what its byte order mark or its first line says.
pub(super) fn xml_text(path: &Path, bytes: &[u8]) -> Result<Zeroizing<String>, String> {
    let bad = |what: &str| format!("{}: {what}: save it as UTF-8", path.display());
    let (encoding, bytes) = if let Some((encoding, mark)) = Encoding::for_bom(bytes) {
        (encoding, bytes.get(mark..).unwrap_or_default())
    } else {
        let head = String::from_utf8_lossy(bytes.get(..200).unwrap_or(bytes));
        let declared = head
            .strip_prefix("<?xml")
            .and_then(|rest| rest.split("?>").next());
        let label = declared.and_then(|declared| {
            let rest = declared
                .split("encoding")
                .nth(1)?
                .trim_start()
                .strip_prefix('=')?;
            rest.trim_start().split(['"', '\'']).nth(1)
        });
        let encoding = match label {
            None => encoding_rs::UTF_8,
            Some(label) => Encoding::for_label(label.as_bytes())
                .ok_or_else(|| bad(&format!("the encoding {label:?} is not known")))?,
        };
        (encoding, bytes)
    };
    let text = encoding.decode_without_bom_handling_and_without_replacement(bytes);
    let text = text.ok_or_else(|| bad(&format!("it is not {}", encoding.name())))?;
    Ok(Zeroizing::new(text.into_owned()))
}

/// Parses XML without DTD and entities of its own, of bounded size.
pub(super) fn xml<'a>(path: &Path, text: &'a str) -> Result<roxmltree::Document<'a>, String> {
    const NODES_MAX: u32 = 100_000;
    let options = roxmltree::ParsingOptions {
        allow_dtd: false,
        nodes_limit: NODES_MAX,
        ..roxmltree::ParsingOptions::default()
    };
    roxmltree::Document::parse_with_options(text, options).map_err(|error| {
        use roxmltree::Error;
        let file = path.display();
        let line = error.pos().row;
        match error {
            Error::DtdDetected => format!(
                "{file}: it has a document type (<!DOCTYPE), which is not read: write what its entities stand for in \
                 their places, in a copy of the folder, and name that"
            ),
            Error::NodesLimitReached => format!("{file}: more than {NODES_MAX} elements: is it the right file?"),
            Error::UnclosedRootNode | Error::NoRootNode => {
                format!("{file}: it ends before its outermost element does: copy it again")
            }
            // Parts of a password may be in their names.
            Error::UnknownEntityReference(..) | Error::MalformedEntityReference(_) => {
                format!("{file}:{line}: it is no well-formed XML: write & as &amp;")
            }
            error => format!("{file}:{line}: it is no well-formed XML: {error}"),
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn xml_is_read_in_its_encoding_or_refused() {
        let path = Path::new("server.xml");
        let latin = b"<?xml version='1.0' encoding='ISO-8859-1'?><a b='\xe4'/>";
        let utf16: Vec<u8> = "\u{feff}<a b='ä'/>"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        for (name, bytes) in [
            ("UTF-8", "<a b='ä'/>".as_bytes()),
            ("UTF-8 with a mark", "\u{feff}<a b='ä'/>".as_bytes()),
            ("declared", latin),
            ("UTF-16", &utf16),
        ] {
            let text = xml_text(path, bytes).unwrap();
            let document = xml(path, &text).unwrap();
            assert_eq!(document.root_element().attribute("b"), Some("ä"), "{name}");
        }
        for (name, bytes, want) in [
            ("not UTF-8", &b"<a b='\xe4'/>"[..], "it is not UTF-8"),
            (
                "unknown encoding",
                b"<?xml encoding=\"x-y\"?><a/>",
                "\"x-y\" is not known",
            ),
        ] {
            let error = xml_text(path, bytes).unwrap_err();
            assert!(error.contains(want), "{name}: {error}");
        }
    }

    #[test]
    fn hostile_xml_is_refused_without_harm() {
        let path = Path::new("server.xml");
        let many = format!("<a>{}</a>", "<b/>".repeat(100_001));
        let deep = "<a>".repeat(90_000);
        for (name, text, want) in [
            (
                "entities",
                "<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>",
                "document type",
            ),
            ("too many elements", &many, "more than 100000"),
            ("deep and cut off", &deep, "it ends before"),
            (
                "ampersand in a password",
                "<a\n p='secret&word;'/>",
                "server.xml:2: it is no well-formed XML: write &",
            ),
            ("cut off", "<a>\n<b c='d'", "server.xml: it ends before"),
            ("two of a name", "<a>\n<b c='1' c='2'/></a>", "server.xml:2"),
            ("empty", "", "it ends before"),
        ] {
            let error = xml(path, text).unwrap_err();
            assert!(error.contains(want), "{name}: {error}");
            assert!(
                !error.contains("word") && !error.contains("secret"),
                "{name}: {error}"
            );
        }
    }

    #[test]
    fn failures_name_what_helps() {
        for (kind, want) in [
            (io::ErrorKind::PermissionDenied, "run this as root"),
            (io::ErrorKind::NotFound, "name it"),
        ] {
            let error = failed(Path::new("/x/server.xml"), &kind.into(), "name it");
            assert!(error.starts_with("/x/server.xml cannot be read: ") && error.contains(want));
        }
    }

    #[test]
    fn files_are_found_in_a_copy_of_the_installation() {
        let dir = tempfile::tempdir().unwrap();
        let [conf, tomcat] = ["copy/conf", "tomcat"].map(|name| dir.path().join(name));
        for (folder, name) in [
            (&conf, "kms.properties"),
            (&conf, "store.jks"),
            (&tomcat, "conf/server.xml"),
        ] {
            let file = folder.join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "").unwrap();
        }
        let folders = Folders::find(&dir.path().join("copy"), &tomcat).unwrap();
        assert_eq!(folders.conf, conf);
        let real = conf.join("store.jks").to_str().unwrap().to_owned();
        for (name, named, want) in [
            ("where it says", &*real, conf.join("store.jks")),
            (
                "the standard place",
                "/usr/share/kms/conf/store.jks",
                conf.join("store.jks"),
            ),
            (
                "Tomcat's",
                "/usr/share/tomcat/conf/server.xml",
                tomcat.join("conf/server.xml"),
            ),
            (
                "relative",
                "conf/server.xml",
                tomcat.join("conf/server.xml"),
            ),
            (
                "as a URL",
                &format!("file://{real}"),
                conf.join("store.jks"),
            ),
            (
                "gone, but beside",
                "/nowhere/store.jks",
                conf.join("store.jks"),
            ),
            ("gone", "/nowhere/other.jks", "/nowhere/other.jks".into()),
        ] {
            assert_eq!(folders.locate(named, &tomcat), want, "{name}");
        }
        for (from, tomcat, want) in [
            ("nowhere", "tomcat", "--from DIR"),
            ("copy", "nowhere", "--tomcat DIR"),
        ] {
            let [from, tomcat] = [from, tomcat].map(|name| dir.path().join(name));
            assert!(Folders::find(&from, &tomcat).unwrap_err().contains(want));
        }
    }
}
