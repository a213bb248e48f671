//! `kms reload`, `kms drain`, `kms cache purge`: orders to the running server over its control socket.
//!
//! Exit code 0: done; 2: refused, or nobody answers.
#![allow(clippy::print_stdout)]

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Value;

use super::fail;
use crate::admin::{self, Order};
use crate::config;

/// Where the server is.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The properties file, which names the control socket.
    #[arg(long, value_name = "FILE", default_value = "/etc/kms/kms.properties")]
    config: PathBuf,
    /// Ask there instead.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Print JSON for machines.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Drain {
    /// Back to service.
    #[arg(long)]
    cancel: bool,
    #[command(flatten)]
    at: Arguments,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum Cache {
    /// Drop unwrapped keys from the cache: all, or those of one master key.
    Purge {
        /// Name of the master key.
        #[arg(long, value_name = "NAME")]
        key: Option<String>,
        #[command(flatten)]
        at: Arguments,
    },
}

pub(super) fn reload(at: &Arguments) -> ExitCode {
    order(at, &Order::Reload, |answer| {
        let lines = |name: &str| -> Vec<String> {
            let list = answer[name].as_array().into_iter().flatten();
            list.filter_map(|line| line.as_str().map(str::to_owned))
                .collect()
        };
        let mut text: Vec<String> = lines("changes");
        if text.is_empty() {
            text.push("nothing that can be reloaded has changed".to_owned());
        }
        let waits = |line| format!("takes effect at the next start: {line}");
        text.extend(lines("needs_restart").into_iter().map(waits));
        let warns = |line| format!("warning: {line}");
        text.extend(lines("warnings").into_iter().map(warns));
        text.join("\n")
    })
}

pub(super) fn drain(arguments: &Drain) -> ExitCode {
    let cancel = arguments.cancel;
    order(&arguments.at, &Order::Drain { cancel }, |answer| {
        let connections = answer["connections"].as_u64().unwrap_or(0);
        if cancel {
            format!("serving again; connections {connections}")
        } else {
            format!(
                "draining: /readyz is 404, and each answer ends its connection; connections {connections}"
            )
        }
    })
}

pub(super) fn cache(command: &Cache) -> ExitCode {
    let Cache::Purge { key, at } = command;
    order(at, &Order::Purge { key: key.clone() }, |answer| {
        let entries = answer["entries_before"].as_u64().unwrap_or(0);
        match key {
            Some(key) => format!("dropped what was cached of key '{key}'"),
            None => format!("dropped {entries} cached keys"),
        }
    })
}

fn order(at: &Arguments, order: &Order, text: impl FnOnce(&Value) -> String) -> ExitCode {
    let socket = match &at.socket {
        Some(socket) => socket.clone(),
        None => match config::load(&at.config, std::env::vars_os()) {
            Ok(loaded) => loaded.config.control.socket,
            Err(error) => return fail(error),
        },
    };
    match admin::ask(&socket, order) {
        Ok(answer) if at.json => println!("{answer:#}"),
        Ok(answer) => println!("{}", text(&answer)),
        Err(why) => {
            return fail(format!("the server at {}: {why}", socket.display()));
        }
    }
    ExitCode::SUCCESS
}
