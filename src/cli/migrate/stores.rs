//! The keystores of an installation: that of the KMS, Tomcat's where it is another, and the private keys in them.
//!
//! Must never be true: a keystore taken that does not open; a password in an error. Called by `migrate`.

mod from_pem;
mod trust;

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::files::{self, Folders};
use super::output::{Output, Store};
use super::report::Report;
use super::server_xml::{Attribute, Connector};
use super::settings::Settings;
use crate::cli::password::first_line;
use crate::config::Assigned;
use crate::keystore::{self, KeyEntry, Keystore};
use crate::secret::SecretString;

pub(super) use trust::tell as tell_trusted;

/// What Tomcat takes when no password is set.
const TOMCATS_PASSWORD: &str = "changeit";

/// A keystore that was opened.
pub(super) struct Opened {
    /// Where it is.
    pub(super) file: PathBuf,
    /// What it is called in the new folder.
    pub(super) name: String,
    pub(super) bytes: Zeroizing<Vec<u8>>,
    pub(super) store: Keystore,
    pub(super) password: SecretString,
}

/// All of them.
pub(super) struct Stores {
    pub(super) main: Opened,
    /// Tomcat's, where it is another.
    pub(super) server: Option<Opened>,
    /// Of private keys that have their own, and where it was set.
    pub(super) key_password: Option<(SecretString, String)>,
    /// Of the server certificate.
    pub(super) server_alias: String,
    /// How that was found.
    pub(super) server_alias_by: String,
    /// Of the certificate for the HSM, where there is one.
    pub(super) client_alias: Option<String>,
}

impl Opened {
    fn open(
        file: PathBuf,
        name: &str,
        password: SecretString,
        key: Option<&SecretString>,
        place: &str,
    ) -> Result<Self, String> {
        let bytes = files::keystore(
            &file,
            &format!("{place} names it: put it there, or beside kms.properties"),
        )?;
        let store = keystore::open(&bytes, &password, key);
        let store =
            store.map_err(|error| format!("{} (named by {place}): {error}", file.display()))?;
        Ok(Self {
            file,
            name: name.to_owned(),
            bytes,
            store,
            password,
        })
    }

    /// The private key of that name, or what is wrong with `place` for naming it.
    fn key(&self, alias: &str, place: &str) -> Result<&KeyEntry, String> {
        self.store.key(alias).ok_or_else(|| {
            let keys: Vec<&str> = self.store.keys.iter().map(|entry| &*entry.alias).collect();
            let keys = if keys.is_empty() { "none".to_owned() } else { keys.join(", ") };
            let near = self.store.did_you_mean(alias);
            let near = near.map_or_else(String::new, |near| format!("; did you mean '{near}'?"));
            format!(
                "{place} = {alias}: {} has no private key of that name{near} Its private keys: {keys}",
                self.file.display()
            )
        })
    }
}

impl Stores {
    /// Opens them all. Attributes that are of use are taken out of the connector.
    pub(super) fn open(
        folders: &Folders,
        settings: &Settings,
        connector: &mut Connector,
        xml: &Path,
        server_alias: Option<&str>,
    ) -> Result<Self, String> {
        let place = |attribute: &Attribute| {
            format!("{}:{} {}", xml.display(), attribute.line, attribute.shown)
        };
        let key_password = secret_of(
            connector,
            folders,
            "certificateKeyPassword",
            "certificateKeyPasswordFile",
        )?
        .map(|(secret, attribute)| (secret, place(&attribute)))
        .or_else(|| {
            let key = "kms.keystore.key.password";
            settings
                .secret(key)
                .map(|secret| (secret.clone(), settings.place(key)))
        });
        let key = key_password.as_ref().map(|(secret, _)| secret);
        let main = main_store(folders, settings, key)?;
        let server = match connector.element.take("certificateKeystoreFile") {
            Some(file) => tomcats_store(folders, connector, &file, &place(&file), &main, key)?,
            None => Some(from_pem::make(folders, connector, xml)?),
        };
        let client_alias = client_alias(settings, &main)?;
        let attribute = connector.element.take("certificateKeyAlias");
        let (server_alias, server_alias_by) = {
            let store = server.as_ref().unwrap_or(&main);
            let named = match (server_alias, &attribute) {
                (Some(told), _) => Some((told.to_owned(), "--server-alias".to_owned())),
                (None, Some(attribute)) => {
                    let value = attribute.value()?;
                    Some((value.trim().to_owned(), place(attribute)))
                }
                (None, None) => None,
            };
            match named {
                Some((alias, by)) => (store.key(&alias, &by).map(|_| alias)?, by),
                None => only_key(store, client_alias.as_deref(), xml, connector.element.line)?,
            }
        };
        let used = key_password.filter(|(secret, _)| {
            *secret != main.password
                || server
                    .as_ref()
                    .is_some_and(|server| *secret != server.password)
        });
        Ok(Self {
            main,
            server,
            key_password: used,
            server_alias,
            server_alias_by,
            client_alias,
        })
    }

    /// Settings of the keystores.
    pub(super) fn write(&self, settings: &Settings, output: &mut Output, report: &mut Report) {
        output.set("kms.server.alias", &self.server_alias);
        report.changed(
            &self.server_alias_by,
            format!("kms.server.alias = {}", self.server_alias),
        );
        if let Some(server) = &self.server {
            let was = server.file.display().to_string();
            report.changed(
                was,
                format!("kms.server.keystore.file = {}, a copy", server.name),
            );
            output.set("kms.server.keystore.file", &server.name);
            output.secret("kms.server.keystore.password", server.password.clone());
        }
        output.heading("keystore");
        report.changed(
            self.main.file.display().to_string(),
            format!("kms.keystore.file = {}, a copy", self.main.name),
        );
        output.set("kms.keystore.file", &self.main.name);
        let place = settings.place("kms.keystore.password");
        report.changed(
            format!("{place} kms.keystore.password"),
            "kms.keystore.password.file: a file of its own",
        );
        output.secret("kms.keystore.password", self.main.password.clone());
        if let Some((secret, place)) = &self.key_password {
            report.changed(place, "kms.keystore.key.password.file: a file of its own");
            output.secret("kms.keystore.key.password", secret.clone());
        }
        match (&self.client_alias, settings.text("kms.keystore.alias")) {
            (Some(alias), _) => output.set("kms.keystore.alias", alias),
            (None, Some(alias)) => report.lost(
                format!(
                    "{} kms.keystore.alias = {alias}",
                    settings.place("kms.keystore.alias")
                ),
                "the keystore has no such private key, and this back end needs none",
            ),
            (None, None) => {}
        }
        for opened in [Some(&self.main), self.server.as_ref()]
            .into_iter()
            .flatten()
        {
            let (file, store) = (opened.file.display(), &opened.store);
            let entries = store.keys.len() + store.trusted.len();
            report
                .read
                .push(format!("{file} ({}, entries {entries})", store.format));
        }
    }

    /// Both, to be written.
    pub(super) fn copies(&self) -> Vec<Store> {
        let all = [Some(&self.main), self.server.as_ref()]
            .into_iter()
            .flatten();
        let copy = |opened: &Opened| Store {
            name: opened.name.clone(),
            bytes: opened.bytes.clone(),
        };
        all.map(copy).collect()
    }

    /// Where the server certificate is.
    pub(super) fn servers(&self) -> &Opened {
        self.server.as_ref().unwrap_or(&self.main)
    }
}

fn main_store(
    folders: &Folders,
    settings: &Settings,
    key: Option<&SecretString>,
) -> Result<Opened, String> {
    const FILE: &str = "kms.keystore.file";
    const PASSWORD: &str = "kms.keystore.password";
    let (Assigned::Path(named), Assigned::Secret(password)) =
        (settings.needed(FILE)?, settings.needed(PASSWORD)?)
    else {
        return Err(format!("{}: {FILE} is no path", settings.place(FILE)));
    };
    let file = folders.locate(&named.to_string_lossy(), &folders.conf);
    let name = file_name(&file);
    let place = format!("{} {FILE}", settings.place(FILE));
    let opened = Opened::open(file, &name, password.clone(), key, &place);
    opened.map_err(|error| format!("{error} (its password is at {})", settings.place(PASSWORD)))
}

/// None where it is the one of the KMS, by name or by content.
fn tomcats_store(
    folders: &Folders,
    connector: &mut Connector,
    named: &Attribute,
    place: &str,
    main: &Opened,
    key: Option<&SecretString>,
) -> Result<Option<Opened>, String> {
    let value = named.value()?;
    let kind = connector.element.take("certificateKeystoreType");
    let kind = kind
        .as_ref()
        .map_or("", Attribute::shown_value)
        .to_ascii_uppercase();
    if !["", "JKS", "JCEKS", "PKCS12"].contains(&&*kind) {
        return Err(format!(
            "{place}: a keystore of the type {kind} is not read: export the server's key and chain as PKCS12, and name \
             that in a copy of server.xml"
        ));
    }
    let password = secret_of(
        connector,
        folders,
        "certificateKeystorePassword",
        "certificateKeystorePasswordFile",
    )?;
    let file = folders.locate(value.trim(), &folders.tomcat);
    let same = matches!((file.canonicalize(), main.file.canonicalize()), (Ok(one), Ok(other)) if one == other);
    if same || files::keystore(&file, "").is_ok_and(|bytes| bytes == main.bytes) {
        return Ok(None);
    }
    let (password, by) = match password {
        Some((password, attribute)) => (password, attribute.shown),
        None => (
            SecretString::new(TOMCATS_PASSWORD.to_owned()),
            "Tomcat's default: no keystorePass is set".to_owned(),
        ),
    };
    let name = match file_name(&file) {
        name if name == main.name => format!("server-{name}"),
        name => name,
    };
    let opened = Opened::open(file, &name, password, key, place);
    opened
        .map(Some)
        .map_err(|error| format!("{error} (its password: {by})"))
}

/// A password, or the first line of the file that holds it.
fn secret_of(
    connector: &mut Connector,
    folders: &Folders,
    plain: &str,
    in_file: &str,
) -> Result<Option<(SecretString, Attribute)>, String> {
    let (plain, in_file) = (
        connector.element.take(plain),
        connector.element.take(in_file),
    );
    if let Some(attribute) = plain {
        let secret = SecretString::new(attribute.value()?.to_owned());
        return Ok(Some((secret, attribute)));
    }
    let Some(attribute) = in_file else {
        return Ok(None);
    };
    let file = folders.locate(attribute.value()?.trim(), &folders.tomcat);
    let secret = first_line(&file).map_err(|error| format!("{}: {error}", attribute.shown))?;
    Ok(Some((secret, attribute)))
}

/// None: no back end asks for one.
fn client_alias(settings: &Settings, main: &Opened) -> Result<Option<String>, String> {
    const KEY: &str = "kms.keystore.alias";
    let named = settings.text(KEY);
    let place = format!("{} {KEY}", settings.place(KEY));
    match (settings.protocol(), named) {
        ("kmip1", named) => {
            let alias = named.unwrap_or("kmsClient");
            main.key(alias, &place).map(|_| Some(alias.to_owned()))
        }
        // It may be named and not be there: the guide has it optional then.
        (_, named) => Ok(named
            .filter(|alias| main.store.key(alias).is_some())
            .map(str::to_owned)),
    }
}

/// Without keyAlias: the only private key, or the only one that is not the client's.
fn only_key(
    store: &Opened,
    client: Option<&str>,
    xml: &Path,
    line: u32,
) -> Result<(String, String), String> {
    let place = format!("{}:{line}: <Connector> has no keyAlias", xml.display());
    let others = store.store.keys.iter().filter(|entry| {
        store.store.keys.len() == 1
            || client.is_none_or(|client| !entry.alias.eq_ignore_ascii_case(client))
    });
    let others: Vec<&str> = others.map(|entry| &*entry.alias).collect();
    match others.as_slice() {
        [only] => Ok((
            (*only).to_owned(),
            format!("{place}, and it is the only key that can be meant"),
        )),
        [] => Err(format!(
            "{place}, and {} has no private key for the server",
            store.file.display()
        )),
        several => Err(format!(
            "{place}, and {} has several private keys ({}): choose the server's with --server-alias ALIAS",
            store.file.display(),
            several.join(", ")
        )),
    }
}

fn file_name(file: &Path) -> String {
    let name = file
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| "keystore".to_owned())
}
