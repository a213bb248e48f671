//! `kms migrate`: an installation of the original, with its Tomcat, as a configuration of this server.
//!
//! Everything is read and judged first; what would not start is not written. Exit codes: 0 done, 1 done and something
//! is to be decided, 2 nothing was written. Must never be true: a change in the old installation; a password printed;
//! a setting that is lost in silence.
#![allow(clippy::print_stdout)]

mod cluster;
mod files;
mod hsm;
mod installation;
mod jgroups;
mod output;
mod placeholders;
mod report;
mod roles;
mod server_xml;
mod service;
mod setenv;
mod settings;
mod stores;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::config;
use crate::node::Credentials;

use files::Folders;
use installation::Installation;
use output::{Output, PROPERTIES};
use report::Report;
use stores::Stores;

use super::fail;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Folder of the old kms.properties, jgroups.xml and keystore, or the one above its conf.
    #[arg(long, value_name = "DIR", default_value = "/usr/share/kms/conf")]
    from: PathBuf,
    /// Tomcat's folder, with conf/server.xml and bin/setenv.sh.
    #[arg(long, value_name = "DIR", default_value = "/usr/share/tomcat")]
    tomcat: PathBuf,
    /// Folder of the new configuration; made if it is not there.
    #[arg(long, value_name = "DIR", default_value = "/etc/kms")]
    to: PathBuf,
    /// Port of the connector of Connected-KMS, if Tomcat has several for TLS.
    #[arg(long)]
    port: Option<u16>,
    /// Alias of the server certificate, if server.xml does not tell.
    #[arg(long, value_name = "ALIAS")]
    server_alias: Option<String>,
    /// A key of the old kms.properties that is not to be carried over, several times for several.
    #[arg(long, value_name = "KEY")]
    leave_out: Vec<String>,
    /// System properties of Tomcat's Java that are set elsewhere than in setenv.sh, as NAME=VALUE lines.
    #[arg(long, value_name = "FILE")]
    system_properties: Option<PathBuf>,
    /// Replace files of the new folder; each is kept with .old after its name.
    #[arg(long)]
    replace: bool,
    /// Tell what would be done, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print JSON for machines.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let report = match migrate(arguments) {
        Ok(report) => report,
        Err(why) => return fail(why),
    };
    if arguments.json {
        println!(
            "{}",
            serde_json::to_string_pretty(&report).unwrap_or_default()
        );
    } else {
        print!("{}", report.text());
    }
    ExitCode::from(u8::from(report.needs_attention()))
}

fn migrate(arguments: &Arguments) -> Result<Report, String> {
    let folders = Folders::find(&arguments.from, &arguments.tomcat)?;
    folders.refuse_inside(&arguments.to)?;
    let mut report = Report {
        dry_run: arguments.dry_run,
        ..Report::default()
    };
    let given = arguments.system_properties.as_deref();
    let mut old = Installation::read(&folders, &arguments.leave_out, given, &mut report)?;
    let mut connector = old.xml.take_tls(arguments.port)?;
    let alias = arguments.server_alias.as_deref();
    let stores = Stores::open(
        &folders,
        &old.settings,
        &mut connector,
        &old.xml.file,
        alias,
    )?;

    let mut output = Output::default();
    head(&folders, &arguments.to, &mut output);
    output.heading("service");
    stores::tell_trusted(&folders, &mut connector, &old.setenv, &stores, &mut report);
    service::write(&mut old.xml, &mut connector, &mut output, &mut report)?;
    stores.write(&old.settings, &mut output, &mut report);
    let is_whole = hsm::write(&old, &stores, &mut output, &mut report);
    cluster::write(&old.cache(), &mut output);
    old.tell_rest(&mut report);
    output.stores = stores.copies();
    if is_whole {
        prove(&output, &stores, &arguments.to, &mut report)?;
    }
    if !arguments.replace {
        output.refuse_existing(&arguments.to)?;
    }
    if arguments.dry_run {
        report.written = output.plan(&arguments.to);
        report.properties = Some(output.properties());
    } else {
        report.written = output.write(&arguments.to)?;
    }
    report.next = next(&arguments.to, is_whole);
    Ok(report)
}

fn head(folders: &Folders, to: &Path, output: &mut Output) {
    output.comment(format!(
        "Connected KMS. Written by kms migrate from {} and {}.",
        folders.conf.display(),
        folders.tomcat.display()
    ));
    output.comment(format!(
        "Every other setting with its default: conf/kms.properties. Check with: kms check --config {}",
        to.join(PROPERTIES).display()
    ));
}

/// As `kms serve` would judge it, before anything is written.
fn prove(output: &Output, stores: &Stores, to: &Path, report: &mut Report) -> Result<(), String> {
    let text = output.properties_with_secrets();
    let refused = |why: &dyn std::fmt::Display| {
        format!("what was read makes no configuration that would start: {why}")
    };
    let loaded = config::parse(&to.join(PROPERTIES), text.as_bytes(), [])
        .map_err(|error| refused(&error))?;
    let server = stores.server.as_ref().map(|server| &server.store);
    let credentials = Credentials::of(&loaded.config, &stores.main.store, server)
        .map_err(|error| refused(&error))?;
    report
        .warnings
        .extend(loaded.warnings.iter().map(ToString::to_string));
    report.warnings.extend_from_slice(credentials.warnings());
    Ok(())
}

fn next(to: &Path, is_whole: bool) -> Vec<String> {
    let (folder, file) = (to.display(), to.join(PROPERTIES).display().to_string());
    let mut steps = vec![format!(
        "chown -R kms:kms {folder}    (the user of conf/kms.service)"
    )];
    if !is_whole {
        steps
            .push("complete what you must decide: without it the server does not start".to_owned());
    }
    steps.push(format!(
        "kms check --config {file} --key NAME    (NAME: a master key in the HSM)"
    ));
    steps.push("systemctl disable --now tomcat && systemctl enable --now kms".to_owned());
    steps.push(
        "the load balancer: pass TLS through as before; its health check may ask http://NODE:8444/readyz, once \
         kms.health.address lets it"
            .to_owned(),
    );
    steps.push(
        "back again: systemctl disable --now kms && systemctl enable --now tomcat; nothing of the old installation was \
         changed"
            .to_owned(),
    );
    steps.push(
        "once the old installation is not needed any more, remove it: passwords are in its files"
            .to_owned(),
    );
    steps
}
