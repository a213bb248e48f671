//! Changes of a keystore: each locks it, reads it whole, changes it in memory and writes it whole.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::super::password::{PasswordArguments, first_line, new_password, prompt};
use super::{Opened, Place, date_warning, lock, open, read};
use crate::keystore::{Edit, Format, Keystore, WriteLock, pem};
use crate::secret::SecretString;

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("source").required(true).args(["cert", "from"])))]
pub(in crate::cli) struct Import {
    /// The entry's name in the keystore.
    #[arg(long, value_parser = new_alias)]
    alias: String,
    /// The certificate, PEM or DER; several files or certificates with --key: in any order.
    #[arg(long, value_name = "FILE")]
    cert: Vec<PathBuf>,
    /// Its private key, PEM: the entry is a key with its chain then, else a certificate to trust. An entry that is a
    /// key keeps it if left out.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Another keystore (.p12, .jks) to take a private key with its chain from, or a trusted certificate.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Its name there, if there are several.
    #[arg(long, requires = "from")]
    from_alias: Option<String>,
    /// Read the other keystore's password from this file; else it is asked for.
    #[arg(long, value_name = "FILE", requires = "from")]
    from_password_file: Option<PathBuf>,
    /// Replace an entry of that name.
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    place: Place,
}

pub(super) fn init(path: &Path, password: &PasswordArguments) -> Result<ExitCode, String> {
    refuse_existing(path)?;
    let password = password.fresh(&path.display().to_string())?;
    write_new(path, &Edit::default(), &password)?;
    println!("{} is an empty PKCS12 keystore now", path.display());
    Ok(ExitCode::SUCCESS)
}

pub(in crate::cli) fn import(arguments: &Import) -> Result<ExitCode, String> {
    put(
        &arguments.place,
        &arguments.alias,
        arguments.replace,
        |edit| {
            let alias = &arguments.alias;
            let refused = |error: &dyn std::fmt::Display| error.to_string();
            if let Some(from) = &arguments.from {
                return take_over(edit, alias, from, arguments);
            }
            let mut certificates = Vec::new();
            for file in &arguments.cert {
                let found = pem::certificates(&read(file)?);
                certificates.extend(found.map_err(|error| format!("{}: {error}", file.display()))?);
            }
            let Some(key) = &arguments.key else {
                if edit.renew(alias, &certificates).map_err(|error| {
                    format!("{error}, or name the certificate's own key with --key")
                })? {
                    return Ok(());
                }
                return match <[_; 1]>::try_from(certificates) {
                    Ok([one]) => edit
                        .put_trusted(alias, one)
                        .map_err(|error| refused(&error)),
                    Err(several) => Err(format!(
                        "{} certificates for one trusted entry: give each its own alias, or --key with a chain",
                        several.len()
                    )),
                };
            };
            let key_der = pem::private_key(&read(key)?);
            let key_der = key_der.map_err(|error| format!("{}: {error}", key.display()))?;
            edit.put_key(alias, key_der, &certificates)
                .map_err(|error| refused(&error))
        },
    )
}

fn take_over(edit: &mut Edit, alias: &str, from: &Path, wants: &Import) -> Result<(), String> {
    let password = match &wants.from_password_file {
        Some(file) => first_line(file)?,
        None => prompt(&format!("Password of {}: ", from.display()))?,
    };
    let other = open(from, &password, None)?;
    let refused = |error: crate::keystore::KeystoreError| error.to_string();
    let certificate = match &wants.from_alias {
        Some(name) => match (other.key(name), other.trusted(name)) {
            (Some(entry), _) => {
                let put = edit.put_key(alias, entry.key.clone_key(), &entry.chain);
                return put.map_err(refused);
            }
            (None, Some(entry)) => &entry.certificate,
            (None, None) => return Err(not_there(from, &other, name)),
        },
        None => match (other.keys.as_slice(), other.trusted.as_slice()) {
            ([only], _) => {
                let put = edit.put_key(alias, only.key.clone_key(), &only.chain);
                return put.map_err(refused);
            }
            ([], [only]) => &only.certificate,
            _ => {
                let names: Vec<&str> = other.aliases().collect();
                return Err(format!(
                    "{} has several entries ({}): choose with --from-alias",
                    from.display(),
                    names.join(", ")
                ));
            }
        },
    };
    if edit.has_key(alias) {
        return Err(format!(
            "'{alias}' is a private key here, and a certificate in {}: choose another --alias, or remove the key first",
            from.display()
        ));
    }
    edit.put_trusted(alias, certificate.clone())
        .map_err(refused)
}

/// A name that listings show in one line and settings can name.
fn new_alias(text: &str) -> Result<String, String> {
    if text.is_empty() || text.trim() != text || text.contains(char::is_control) {
        let wanted =
            "at least one character is wanted, without line ends, and no space at either end";
        return Err(wanted.to_owned());
    }
    Ok(text.to_owned())
}

/// What is written has no secret keys: a keystore that has some is not for this program to change.
fn refuse_secrets(path: &Path, store: &Keystore) -> Result<(), String> {
    let Some(alias) = store.secrets.first() else {
        return Ok(());
    };
    Err(format!(
        "{0}: '{alias}' is a secret key, which would be lost: change this keystore with keytool, or take it out \
         first with: keytool -delete -alias '{alias}' -keystore {0}",
        path.display()
    ))
}

fn not_there(file: &Path, store: &Keystore, alias: &str) -> String {
    let hint = match store.did_you_mean(alias) {
        Some(near) => format!("; did you mean '{near}'?"),
        None => String::new(),
    };
    format!("{} has no '{alias}'{hint}", file.display())
}

pub(super) fn remove(alias: &str, place: &Place) -> Result<ExitCode, String> {
    let (opened, lock) = place.open_to_change()?;
    let not_there = not_there(&opened.path, &opened.store, alias);
    refuse_secrets(&opened.path, &opened.store)?;
    let format = opened.store.format;
    let mut edit = Edit::of(opened.store);
    if !edit.remove(alias) {
        return Err(not_there);
    }
    let kept = write(&lock, &opened.path, &edit, &opened.password)?;
    println!("removed '{alias}' from {}", opened.path.display());
    tell(&opened.path, format, kept.as_deref());
    Ok(ExitCode::SUCCESS)
}

pub(super) fn convert(
    place: &Place,
    to: &Path,
    to_password: Option<&Path>,
) -> Result<ExitCode, String> {
    refuse_existing(to)?;
    let other = to_password.map(new_password).transpose()?;
    let Opened {
        path,
        store,
        password,
        ..
    } = place.open()?;
    refuse_secrets(&path, &store)?;
    let (format, count) = (store.format, store.keys.len() + store.trusted.len());
    write_new(to, &Edit::of(store), other.as_ref().unwrap_or(&password))?;
    let which = if other.is_some() { "its own" } else { "same" };
    println!(
        "{} ({format}) was written to {} (PKCS12), entries {count}, {which} password",
        path.display(),
        to.display()
    );
    Ok(ExitCode::SUCCESS)
}

/// Opens the keystore at `place`, or makes it, has `change` put the entry `alias` into it, and writes it.
fn put(
    place: &Place,
    alias: &str,
    replace: bool,
    change: impl FnOnce(&mut Edit) -> Result<(), String>,
) -> Result<ExitCode, String> {
    let (opened, lock) = place.open_to_change()?;
    refuse_secrets(&opened.path, &opened.store)?;
    let (format, path) = (opened.store.format, opened.path);
    let mut edit = Edit::of(opened.store);
    let was_there = edit.has(alias);
    if was_there && !replace {
        return Err(format!(
            "{} has an entry '{alias}': --replace takes its place, another --alias leaves it",
            path.display()
        ));
    }
    change(&mut edit)?;
    let kept = write(&lock, &path, &edit, &opened.password)?;
    let what = if was_there { "replaced" } else { "added" };
    println!("{what} '{alias}' in {}", path.display());
    tell(&path, format, kept.as_deref());
    let warning = edit.certificate(alias).and_then(|der| date_warning(der));
    if let Some(warning) = &warning {
        println!("WARNING: its certificate {warning}");
    }
    Ok(ExitCode::from(u8::from(warning.is_some())))
}

fn tell(path: &Path, format: Format, kept: Option<&Path>) {
    if format != Format::Pkcs12 {
        println!(
            "{} was {format} and is PKCS12 now: keytool and this server read both",
            path.display()
        );
    }
    if let Some(kept) = kept {
        println!("the old file is {}", kept.display());
    }
}

fn refuse_existing(path: &Path) -> Result<(), String> {
    if path.exists() {
        return Err(format!("{} exists: choose another name", path.display()));
    }
    Ok(())
}

/// A file that is not there yet; another may have made it while the password was asked for.
fn write_new(path: &Path, edit: &Edit, password: &SecretString) -> Result<(), String> {
    let lock = lock(path)?;
    refuse_existing(path)?;
    write(&lock, path, edit, password).map(drop)
}

fn write(
    lock: &WriteLock,
    path: &Path,
    edit: &Edit,
    password: &SecretString,
) -> Result<Option<PathBuf>, String> {
    let bytes = edit.write(password).map_err(|error| error.to_string())?;
    lock.save(&bytes)
        .map_err(|error| format!("{} cannot be written: {error}", path.display()))
}
