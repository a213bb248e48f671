//! The command line: one file a command, arguments in, exit code out.
//!
//! Must never be true: a secret as an argument (they show in process lists); a failure without a
//! remedy. Called by `main`.

/// As the standard library's, but a reader that has left (`kms keystore list | head`) is no panic. Before the modules, so
/// that all of them have this one.
macro_rules! print {
    ($($told:tt)*) => { $crate::cli::say(format_args!($($told)*)) };
}
macro_rules! println {
    ($($told:tt)*) => { $crate::cli::say(format_args!("{}\n", format_args!($($told)*))) };
}

mod audit;
mod cert;
mod check;
mod control;
mod demo;
mod keyfile;
mod keystore;
pub mod log;
mod migrate;
mod password;
pub mod pki;
mod serve;
mod status;

use std::fmt::{self, Display};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Below the help.
const EXIT_CODES: &str = "\
Exit codes: 0 all well; 1 `kms check` has warnings; 2 an error, told on standard error.
Environment: KMS_HSM_SERVER_URL wins over kms.hsm.server.url in the file, and so on for every key.";

/// Key server: unwraps data keys over mutual TLS with an HSM, and caches them in locked memory.
#[derive(Debug, Parser)]
#[command(name = "kms", version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve as configured until SIGTERM or Ctrl-C.
    Serve {
        /// The properties file.
        #[arg(long, value_name = "FILE", default_value = "/etc/kms/kms.properties")]
        config: PathBuf,
    },
    /// Check configuration, keystore, host and HSM, and show what would be in force.
    Check(check::Arguments),
    /// Ask a running server how it is, and what it could serve without the HSM.
    Status(status::Arguments),
    /// Have the running server read its configuration and keystores again, without a dropped connection.
    Reload(control::Arguments),
    /// Have the running server send its clients elsewhere before it is stopped.
    Drain(control::Drain),
    /// Unwrapped keys that the running server holds.
    #[command(subcommand)]
    Cache(control::Cache),
    /// Check an audit log.
    #[command(subcommand)]
    Audit(audit::Command),
    /// Make, import, show and judge certificates.
    #[command(subcommand)]
    Cert(Box<cert::Command>),
    /// Show and change keystores: list, init, import, remove, convert, diff.
    #[command(subcommand)]
    Keystore(Box<keystore::Command>),
    /// Make a configuration of an installation of the original: kms.properties, Tomcat's server.xml and setenv.sh,
    /// jgroups.xml and the keystores.
    Migrate(Box<migrate::Arguments>),
    /// Try everything in one command: certificates, embedded back end, server, one unwrap.
    Demo(demo::Arguments),
    /// Back up or restore the key file of the embedded back end.
    Keyfile(keyfile::Arguments),
}

/// Runs the command that the arguments name.
pub fn run() -> ExitCode {
    match Arguments::parse().command {
        Command::Serve { config } => serve::run(&config),
        Command::Check(arguments) => check::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Reload(at) => control::reload(&at),
        Command::Drain(arguments) => control::drain(&arguments),
        Command::Cache(command) => control::cache(&command),
        Command::Audit(command) => audit::run(&command),
        Command::Cert(command) => cert::run(&command),
        Command::Keystore(command) => keystore::run(&command),
        Command::Migrate(arguments) => migrate::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Keyfile(arguments) => keyfile::run(&arguments),
    }
}

/// Says what failed, on standard error, and is the exit code for it.
fn fail(why: impl Display) -> ExitCode {
    // Where nobody listens, the exit code is left.
    let _ = writeln!(io::stderr(), "kms: {why}");
    ExitCode::from(2)
}

/// Writes to standard output, and ends the program if that cannot be: quietly, if it is because nobody reads.
fn say(told: fmt::Arguments<'_>) {
    let mut out = io::stdout().lock();
    let Err(error) = out.write_fmt(told).and_then(|()| out.flush()) else {
        return;
    };
    let code = if error.kind() == io::ErrorKind::BrokenPipe {
        // What a shell makes of a program that SIGPIPE ended.
        141
    } else {
        let _ = fail(format_args!("standard output cannot be written: {error}"));
        2
    };
    std::process::exit(code);
}
