//! The old installation, read whole: four text files, and what they tell of each other.
//!
//! Called by `migrate`.

use std::path::Path;

use super::cluster::Cache;
use super::files::{self, Folders, exists};
use super::jgroups::Jgroups;
use super::placeholders::SystemProperties;
use super::report::Report;
use super::server_xml::ServerXml;
use super::setenv::{self, Setenv};
use super::settings::Settings;
use crate::config::java_properties;

/// What was read.
pub(super) struct Installation {
    pub(super) settings: Settings,
    pub(super) setenv: Setenv,
    pub(super) xml: ServerXml,
    /// Only where the cache was distributed.
    pub(super) jgroups: Option<Jgroups>,
}

impl Installation {
    /// `given` are system properties that Tomcat has from elsewhere.
    pub(super) fn read(
        folders: &Folders,
        leave_out: &[String],
        given: Option<&Path>,
        report: &mut Report,
    ) -> Result<Self, String> {
        let settings = Settings::read(folders, leave_out, report)?;
        let setenv = read_setenv(folders, report)?;
        let known = system_properties(folders, &setenv, given)?;
        let file = folders.tomcat.join("conf/server.xml");
        let bytes = files::text(&file, "name Tomcat's folder with --tomcat DIR")?;
        let xml = ServerXml::parse(&file, &files::xml_text(&file, &bytes)?, &known)?;
        report.read.push(file.display().to_string());
        let mut old = Self {
            settings,
            setenv,
            xml,
            jgroups: None,
        };
        if let Some(place) = old.cache().distributed {
            let file = folders.conf.join("jgroups.xml");
            let remedy = format!(
                "the nodes are in it, as kms.cache.type is distributed ({place}): put it there"
            );
            let bytes = files::text(&file, &remedy)?;
            old.jgroups = Some(Jgroups::parse(
                &file,
                &files::xml_text(&file, &bytes)?,
                &known,
            )?);
            report.read.push(file.display().to_string());
        }
        Ok(old)
    }

    pub(super) fn cache(&self) -> Cache<'_> {
        const KEY: &str = "kms.cache.type";
        let word = self.settings.text(KEY).unwrap_or_default();
        Cache {
            distributed: word
                .eq_ignore_ascii_case("distributed")
                .then(|| self.settings.place(KEY)),
            nodes: self.jgroups.as_ref(),
        }
    }

    /// Tells what nothing was made of.
    pub(super) fn tell_rest(&self, report: &mut Report) {
        let distributed = self.cache().distributed;
        if let Some(place) = &distributed {
            report.lost(
                format!("{place} kms.cache.type = distributed"),
                "nodes share a cache on Redis or Valkey now (docs/cluster.md); the nodes are named in kms.properties",
            );
        }
        let file = "kms.distributed.cache.config.file";
        if self.settings.get(file).is_some() {
            report.lost(
                format!("{} {file}", self.settings.place(file)),
                "it named a file of the original's cache",
            );
        }
        let left = self.jgroups.iter().flat_map(|jgroups| &jgroups.left);
        for (name, line) in left {
            report.lost(
                format!("jgroups.xml:{line} <{name}>"),
                "nothing here speaks JGroups",
            );
        }
        self.tell_java(distributed.is_some(), report);
    }

    fn tell_java(&self, distributed: bool, report: &mut Report) {
        for option in &self.setenv.options {
            let (place, word) = (format!("setenv.sh:{}", option.line), option.word.expose());
            match option.property() {
                Some((name @ ("jgroups.tcp.address" | "jgroups.tcp.port"), "")) if distributed => {
                    report.decide.push(format!(
                        "{place} -D{name}: it is worked out by the shell, so this node is not named among the nodes in \
                         kms.properties: add it"
                    ));
                }
                Some((name, value)) if name.starts_with("jgroups.") => {
                    let why = if distributed { "named among the nodes in kms.properties" } else { "nothing here speaks JGroups" };
                    report.lost(format!("{place} -D{name} = {value}"), why);
                }
                // Its value may be a password.
                Some((name, _)) => report.lost(format!("{place} -D{name}"), "there is no Java"),
                None if word.starts_with("-Xm") => report.lost(
                    format!("{place} {word}"),
                    "memory is sized at start by kms.cache.entries.max and kms.connections.max; kms check tells how much",
                ),
                None if word.starts_with("-X") => {
                    report.lost(format!("{place} {word}"), "there is no Java");
                }
                None => {
                    let name = word.split(['=', ':']).next().unwrap_or_default();
                    report.lost(format!("{place} {name}"), "there is no Java");
                }
            }
        }
        for variable in self
            .setenv
            .variables
            .iter()
            .filter(|one| one.name != VAULT_TOKEN)
        {
            report.lost(
                format!("setenv.sh:{} {}", variable.line, variable.name),
                "there is no Java and no Tomcat",
            );
        }
        for line in &self.setenv.not_followed {
            report.lost(
                format!("setenv.sh:{line}"),
                "a command, which was not run: look whether it sets anything that matters",
            );
        }
    }
}

/// Vault's own variable for its token.
pub(super) const VAULT_TOKEN: &str = "VAULT_TOKEN";

fn read_setenv(folders: &Folders, report: &mut Report) -> Result<Setenv, String> {
    let file = folders.tomcat.join("bin/setenv.sh");
    if !exists(&file) {
        return Ok(Setenv::default());
    }
    let bytes = files::text(&file, "name Tomcat's folder with --tomcat DIR")?;
    let parsed = setenv::parse(&String::from_utf8_lossy(&bytes))
        .map_err(|why| format!("{}: {why}", file.display()));
    report.read.push(file.display().to_string());
    parsed
}

/// As Tomcat's Java has them: what catalina.properties sets wins over the command line.
fn system_properties(
    folders: &Folders,
    setenv: &Setenv,
    given: Option<&Path>,
) -> Result<SystemProperties, String> {
    let mut known = SystemProperties::default();
    let tomcat = std::path::absolute(&folders.tomcat).unwrap_or_else(|_| folders.tomcat.clone());
    for name in ["catalina.base", "catalina.home"] {
        known.set(name, &tomcat.to_string_lossy());
    }
    for (name, value) in setenv
        .options
        .iter()
        .filter_map(setenv::JavaOption::property)
    {
        known.set(name, value);
    }
    let catalina = folders.tomcat.join("conf/catalina.properties");
    let catalina = exists(&catalina).then_some(catalina.as_path());
    for file in [catalina, given].into_iter().flatten() {
        let text = files::text(
            file,
            "name a file of NAME=VALUE lines with --system-properties FILE",
        )?;
        for (name, value) in java_properties(file, &text).map_err(|error| error.to_string())? {
            known.set(&name, value.expose());
        }
    }
    Ok(known)
}
