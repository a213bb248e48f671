//! `kms reload`, `kms drain`, `kms cache purge`: orders to the running server over its control socket.
//!
//! Exit code 0: done; 1: not every node of a cluster said that it obeyed; 2: refused, or nobody answers.
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
        /// At all nodes that share a cache, and in that; tells which obeyed.
        #[arg(long)]
        cluster: bool,
        #[command(flatten)]
        at: Arguments,
    },
    /// Have the cache that the nodes share sealed under a new key from now on.
    RenewKey {
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
    match command {
        Cache::Purge {
            key,
            cluster: true,
            at,
        } => purge_everywhere(key.as_deref(), at),
        Cache::Purge {
            key,
            cluster: false,
            at,
        } => {
            let purge = Order::Purge {
                key: key.clone(),
                cluster: false,
            };
            order(at, &purge, |answer| {
                let entries = answer["entries_before"].as_u64().unwrap_or(0);
                match key {
                    Some(key) => format!("dropped what was cached of key '{key}'"),
                    None => format!("dropped {entries} cached keys"),
                }
            })
        }
        Cache::RenewKey { at } => order(at, &Order::RenewKey, |_| {
            "the next sealing key takes over within a second; what the present one sealed is read until its time is over"
                .to_owned()
        }),
    }
}

/// Exit code 1: not every node said that it obeyed.
fn purge_everywhere(key: Option<&str>, at: &Arguments) -> ExitCode {
    let mut all = true;
    let purge = Order::Purge {
        key: key.map(str::to_owned),
        cluster: true,
    };
    let done = order(at, &purge, |answer| {
        let list = |name: &str| -> Vec<&str> {
            let list = answer[name].as_array().into_iter().flatten();
            list.filter_map(Value::as_str).collect()
        };
        let (acknowledged, silent) = (list("acknowledged"), list("silent"));
        let published = answer["published"].as_bool() == Some(true);
        all = published && silent.is_empty();
        let what = match key {
            Some(key) => format!("what was cached of key '{key}' is dropped at this node"),
            None => "all cached keys are dropped at this node".to_owned(),
        };
        let shared = if published {
            "and the shared cache begins anew"
        } else {
            "BUT the engine cannot be told now: the others are told once it can be"
        };
        let mut text = format!("{what}, {shared}");
        if !acknowledged.is_empty() {
            text += "\nobeyed: ";
            text += &acknowledged.join(", ");
        }
        if !silent.is_empty() {
            text += "\nNOT HEARD OF: ";
            text += &silent.join(", ");
        }
        text
    });
    if done == ExitCode::SUCCESS && !all {
        return ExitCode::from(1);
    }
    done
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
        Ok(answer) => {
            let text = text(&answer);
            if at.json {
                println!("{answer:#}");
            } else {
                println!("{text}");
            }
        }
        Err(why) => {
            return fail(format!("the server at {}: {why}", socket.display()));
        }
    }
    ExitCode::SUCCESS
}
